"""Checks of `pit.dag/1`: joins, ranks, runs that change while they run, and what was learned."""

from __future__ import annotations

from typing import Any

from .contents import TS
from .dag_runs import completed, opened, ready, started
from .suite import Checks, Subject, fits, holds

CHECKS = Checks()
LATER = "2026-01-01T00:00:00.250Z"  # a quarter of a second after TS

# a → b, and c beside them.
FORK: list[dict[str, Any]] = [
    {"id": "a", "estimate_ms": 10},
    {"id": "b", "after": [["a", "hard"]], "estimate_ms": 20},
    {"id": "c", "estimate_ms": 5},
]


async def states(subject: Subject) -> dict[str, str]:
    """The state of every step."""
    found = await subject.ask("state", run="r-1")
    return {step["id"]: step["state"] for step in found["steps"]}


async def changed(subject: Subject, method: str, name: str, **args: object) -> Any:
    """What a change answers, which is the same when it is asked for again."""
    call = {"run": "r-1", "id": name, "ts": TS, **args}
    first = await subject.ask(method, **call)
    again = await subject.ask(method, **call)
    fits(again, {"index": first["index"]}, "the reply to the same change again")
    return first


@CHECKS.add("`join`: how many of its dependencies a step waits for: `all` (default), `any` (one)")
async def a_join_waits_for_as_many_as_it_says(subject: Subject) -> None:
    after = [[step, "hard"] for step in "abc"]
    joins: list[dict[str, Any]] = [
        {"id": "one", "join": "any"},
        {"id": "two", "join": 2},
        {"id": "three"},
    ]
    steps: list[dict[str, Any]] = [{"id": step} for step in "abc"]
    steps += [{**join, "after": after} for join in joins]
    await opened(subject, steps)
    fits(sorted(ready(await completed(subject, "a"))), ["one"], "what is ready by the first")
    await subject.ask("skip", run="r-1", step="b", reason="not wanted", ts=TS)
    found = await states(subject)
    fits(found, {"one": "ready", "two": "pending", "three": "skipped"}, "the states")
    fits(ready(await completed(subject, "c")), ["two"], "what is ready by the last")


@CHECKS.add("a join that cannot be met")
async def a_join_of_more_than_there_are_is_refused(subject: Subject) -> None:
    steps = [{"id": "a"}, {"id": "b", "after": [["a", "hard"]], "join": 2}]
    args = {"run": "r-1", "melody": "m", "version": "1", "digest": "d", "document": {}}
    error = await subject.refused("bad-request", "open", inputs={}, steps=steps, ts=TS, **args)
    holds("b" in (error.where or ""), "where to name the step b", error.where)


@CHECKS.add("the step's estimate plus the largest, over the steps that wait for it")
async def ranks_count_transfers_and_what_comes_last(subject: Subject) -> None:
    after = [["a", "hard", 100], ["b", "hard", 1]]
    steps = [
        {"id": "a", "estimate_ms": 1},
        {"id": "b", "estimate_ms": 50},
        {"id": "c", "estimate_ms": 7, "after": after},
    ]
    fits(await opened(subject, steps), {"ready": [["a", 108], ["b", 58]]})


@CHECKS.add("The plan of an open run grows: by steps that wait for each other")
async def a_run_grows(subject: Subject) -> None:
    await opened(subject, FORK)
    more = [{"id": "d", "after": [["a", "hard"]], "estimate_ms": 100}]
    reply = await changed(subject, "grow", "g-1", steps=more, after={"b": [["d", "soft"]]})
    fits(reply, {"left": 4, "ready": []})
    fits((await subject.ask("state", run="r-1"))["ready"], [["a", 130], ["c", 5]], "what is ready")
    fits(await completed(subject, "a"), {"ready": [["d", 120]]})
    fits(ready(await completed(subject, "d")), ["b"], "what is ready by d")


@CHECKS.add("with other arguments, or in another method, it is a `conflict`")
async def a_change_has_its_name_for_ever(subject: Subject) -> None:
    await opened(subject, FORK)
    await changed(subject, "grow", "g-1", steps=[{"id": "d"}])
    args = {"run": "r-1", "id": "g-1", "ts": TS}
    await subject.refused("conflict", "grow", steps=[{"id": "e"}], **args)
    await subject.refused("conflict", "redo", steps=["a"], **args)


@CHECKS.add("Every fault of a change is told at once")
async def a_growth_that_cannot_be_changes_nothing(subject: Subject) -> None:
    await opened(subject, FORK)
    steps = [
        {"id": "a"},
        {"id": "d", "after": [["nowhere", "hard"]]},
        {"id": "e", "after": [["f", "hard"]]},
        {"id": "f", "after": [["e", "hard"]]},
    ]
    error = await subject.refused("bad-request", "grow", run="r-1", id="g", steps=steps, ts=TS)
    for word in ("a", "nowhere", "e", "f"):
        holds(word in (error.where or ""), f"where to name {word}", error.where)
    fits((await subject.ask("state", run="r-1"))["last"], 1, "the last index")


@CHECKS.add("`round` says which; beyond them `refused`")
async def a_loop_is_bounded(subject: Subject) -> None:
    await opened(subject, FORK)
    loop = {"name": "again", "most": 2}
    for number in (1, 2):
        steps = [{"id": f"round-{number}"}]
        reply = await changed(subject, "grow", f"g-{number}", steps=steps, loop=loop)
        fits(reply, {"round": number})
    args = {"run": "r-1", "id": "g-3", "ts": TS, "loop": loop}
    await subject.refused("refused", "grow", steps=[{"id": "round-3"}], **args)


@CHECKS.add(
    "The steps of `drop`, or all that have not started (`pending` or `ready`), are replaced"
)
async def a_run_is_rerouted(subject: Subject) -> None:
    await opened(subject, FORK)
    await started(subject, "a")
    other = [{"id": "d", "after": [["a", "hard"]], "estimate_ms": 1}]
    args = {"run": "r-1", "id": "x-0", "ts": TS}
    await subject.refused("conflict", "reroute", drop=["a"], steps=other, **args)
    reply = await changed(subject, "reroute", "x-1", drop=["b"], steps=other)
    fits(reply, {"left": 3})
    found = await states(subject)
    fits(found, {"a": "running", "b": "skipped", "c": "ready", "d": "pending"}, "the states")


@CHECKS.add("Steps that had ended run again, and with them what was made from them")
async def what_is_broken_is_done_again_with_what_came_of_it(subject: Subject) -> None:
    await opened(subject, FORK)
    for step in "abc":
        await completed(subject, step)
    reply = await changed(subject, "redo", "x-1", steps=["a"])
    fits(reply, {"left": 2, "ready": [["a", 30]]})
    fits(await states(subject), {"a": "ready", "b": "pending", "c": "succeeded"}, "the states")
    fits(ready(await completed(subject, "a", attempt=2)), ["b"], "what is ready by a")


@CHECKS.add("The run is as it was after record `to`, and goes on from there")
async def a_run_is_rolled_back_and_its_branch_stays(subject: Subject) -> None:
    await opened(subject, FORK)
    first = await completed(subject, "a")
    await completed(subject, "b")
    await completed(subject, "c")
    await subject.ask("finish", run="r-1", outcome="succeeded", ts=TS)
    reply = await changed(subject, "rollback", "x-1", to=first["index"])
    fits(reply, {"to": first["index"], "index": 9})
    fits(reply["run"], {"state": "open", "ready": [["b", 20], ["c", 5]]}, "the run")
    await subject.restart()
    fits(await states(subject), {"a": "succeeded", "b": "ready", "c": "ready"}, "the states")
    records = (await subject.ask("journal", run="r-1"))["records"]
    kinds = [record["kind"] for record in records]
    fits(kinds[-2:], ["finished", "rolledback"], "the end of the journal")
    args = {"run": "r-1", "id": "x-2", "ts": TS}
    await subject.refused("bad-request", "rollback", to=99, **args)


@CHECKS.add("What can be done about steps that are broken: it changes nothing and decides nothing.")
async def a_recovery_is_planned(subject: Subject) -> None:
    await opened(subject, FORK)
    await completed(subject, "a")
    last = (await completed(subject, "b"))["index"]
    inverses = [{"of": "made", "player": "undo", "gives": ["image"]}]
    found = await subject.ask("plan", run="r-1", broken=["a"], inverses=inverses)
    fits(found["again"], {"steps": ["a", "b"], "path_ms": 30}, "what runs again")
    fits(found["broken"], [{"step": "a", "state": "succeeded"}], "what is broken")
    fits(found["rollback"], {"to": 1}, "the rollback")
    fits(found["lost"], [["a", "out"]], "what is lost")
    fits((await subject.ask("state", run="r-1"))["last"], last, "the last index")
    await subject.refused("not-found", "plan", run="r-1", broken=["nobody"])


@CHECKS.add("how long it took from `started` to its end by their `ts`, and whether it succeeded")
async def durations_and_failures_are_learned(subject: Subject) -> None:
    await opened(subject, [{"id": step, "kind": "text.count/1"} for step in "ab"])
    nothing: dict[str, object] = {}
    for step, method, more in (("a", "complete", "outputs"), ("b", "fail", "error")):
        record = {"kind": "started", "ts": TS, "step": step, "attempt": 1}
        records = [{**record, "data": {"player": "ann"}}]
        await subject.ask("append", run="r-1", records=records)
        await subject.ask(method, run="r-1", step=step, attempt=1, ts=LATER, **{more: nothing})
    found = await subject.ask("learned", kind="text.count/1")
    wanted = {"player": "ann", "kind": "text.count/1", "succeeded": 1, "failed": 1}
    fits(found, {"pairs": [{**wanted, "mean_ms": 250.0}], "more": False})
    holds(found["pairs"][0]["failure_ppm"] > 0, "failure_ppm to be more than 0", found["pairs"])
    fits(await subject.ask("learned", player="nobody"), {"pairs": []})
