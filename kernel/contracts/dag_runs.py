"""Checks of `pit.dag/1`: the truth of a run, from its opening to its end and across kills."""

from __future__ import annotations

from typing import Any

from .contents import TS
from .suite import Checks, Subject, fits, holds

CHECKS = Checks()

# a → b → d and a → c → d; b may fail without taking d along.
DIAMOND: list[dict[str, Any]] = [
    {"id": "a", "estimate_ms": 10},
    {"id": "b", "after": [["a", "hard"]], "estimate_ms": 20},
    {"id": "c", "after": [["a", "hard"]], "estimate_ms": 50},
    {"id": "d", "after": [["b", "soft"], ["c", "hard"]], "estimate_ms": 5},
]


async def opened(
    subject: Subject, steps: list[dict[str, Any]] | None = None, **other: object
) -> Any:
    """What `open` answers."""
    args: dict[str, object] = {
        "run": "r-1",
        "melody": "m",
        "version": "1.0.0",
        "digest": "d-1",
        "document": {"any": ["value", 1, None]},
        "inputs": {"x": 1},
        "steps": DIAMOND if steps is None else steps,
        "ts": TS,
    }
    return await subject.ask("open", **{**args, **other})


async def started(subject: Subject, step: str, attempt: int = 1) -> None:
    """The step runs."""
    record = {"kind": "started", "ts": TS, "step": step, "attempt": attempt}
    await subject.ask("append", run="r-1", records=[record])


async def completed(subject: Subject, step: str, attempt: int = 1) -> Any:
    """What `complete` answers of a step that is started for it."""
    await started(subject, step, attempt)
    outputs = {"out": step}
    return await subject.ask(
        "complete", run="r-1", step=step, attempt=attempt, outputs=outputs, ts=TS
    )


def ready(reply: Any) -> list[str]:
    """The steps that a reply says are ready, in its order."""
    return [step for step, _ in reply["ready"]]


@CHECKS.add("`ready` lists are `[[step, rank], …]`, highest rank first")
async def open_tells_what_is_ready_by_rank(subject: Subject) -> None:
    fits(await opened(subject), {"index": 1, "ready": [["a", 65]], "steps": 4})
    reply = await completed(subject, "a")
    fits(reply, {"ready": [["c", 55], ["b", 25]], "left": 3})


@CHECKS.add("the same open again gives the same reply.")
async def open_may_be_repeated(subject: Subject) -> None:
    first = await opened(subject)
    fits(await opened(subject), first)
    again = {"melody": "m", "version": "1.0.0", "document": {}, "steps": DIAMOND, "ts": TS}
    other = {"run": "r-1", "digest": "d-2", "inputs": {"x": 1}}
    await subject.refused("conflict", "open", **again, **other)


@CHECKS.add("`bad-request` with every cycle, unknown step, duplicate id")
async def a_plan_that_cannot_be_is_refused_whole(subject: Subject) -> None:
    steps = [
        {"id": "one", "after": [["two", "hard"]]},
        {"id": "two", "after": [["one", "hard"]]},
        {"id": "same"},
        {"id": "same"},
        {"id": "lost", "after": [["nowhere", "hard"]]},
    ]
    args = {"melody": "m", "version": "1", "digest": "d", "document": {}, "inputs": {}}
    error = await subject.refused("bad-request", "open", run="r-1", steps=steps, ts=TS, **args)
    for name in ("one", "two", "same", "nowhere"):
        holds(name in (error.where or ""), f"a `where` that names {name}", error.where)
    await subject.refused("not-found", "state", run="r-1")


@CHECKS.add("`hard` (satisfied by success alone)")
async def a_step_is_ready_once_all_that_it_waits_for_has_ended(subject: Subject) -> None:
    await opened(subject)
    await completed(subject, "a")
    fits(ready(await completed(subject, "b")), [], "what is ready by b")
    fits(ready(await completed(subject, "c")), ["d"], "what is ready by c")
    fits(await completed(subject, "d"), {"ready": [], "left": 0})


@CHECKS.add("`started` (step must be ready; it becomes running)")
async def what_is_not_ready_does_not_start(subject: Subject) -> None:
    await opened(subject)
    record = {"kind": "started", "ts": TS, "step": "d", "attempt": 1}
    await subject.refused("conflict", "append", run="r-1", records=[record])
    good = {"kind": "started", "ts": TS, "step": "a", "attempt": 1}
    await subject.refused("conflict", "append", run="r-1", records=[good, record])
    journal = await subject.ask("journal", run="r-1")
    fits([entry["kind"] for entry in journal["records"]], ["opened"], "the journal")


@CHECKS.add("Completing a step again with the same outputs gives the first reply again")
async def complete_may_be_repeated(subject: Subject) -> None:
    await opened(subject)
    first = await completed(subject, "a")
    args = {"run": "r-1", "step": "a", "attempt": 1, "ts": TS}
    again = await subject.ask("complete", outputs={"out": "a"}, **args)
    fits(again, {"index": first["index"]})
    fits(ready(again), ready(first), "what is ready")
    await subject.refused("conflict", "complete", outputs={"out": "other"}, **args)


@CHECKS.add(
    "the tracker skips it at once and everything that is lost with it, one `skipped` record"
)
async def what_failed_takes_along_what_needs_it(subject: Subject) -> None:
    await opened(subject)
    await completed(subject, "a")
    await started(subject, "c")
    args = {"run": "r-1", "step": "c", "attempt": 1, "ts": TS}
    reply = await subject.ask("fail", error={"class": "E", "message": "no"}, **args)
    fits([entry["step"] for entry in reply["cascade"]], ["d"], "what was skipped")
    fits(reply, {"left": 1})


@CHECKS.add("`soft` (order: satisfied by any end, absence is worked around)")
async def what_only_follows_a_failed_step_goes_on(subject: Subject) -> None:
    await opened(subject)
    await completed(subject, "a")
    await completed(subject, "c")
    reply = await subject.ask("skip", run="r-1", step="b", reason="not wanted", ts=TS)
    fits(reply, {"cascade": [], "left": 1})
    fits(ready(reply), ["d"], "what is ready")


@CHECKS.add("numbered 1, 2, 3 … without gaps: the *index*")
async def the_journal_tells_everything_in_order(subject: Subject) -> None:
    await opened(subject)
    await completed(subject, "a")
    noted = {"kind": "noted", "ts": TS, "data": {"deep": [1, {"x": None}]}}
    fits(await subject.ask("append", run="r-1", records=[noted]), {"first": 4, "last": 4})
    records = (await subject.ask("journal", run="r-1"))["records"]
    kinds = [(entry["index"], entry["kind"]) for entry in records]
    fits(kinds, [(1, "opened"), (2, "started"), (3, "completed"), (4, "noted")], "the journal")
    fits(records[3], {**noted, "index": 4})
    part = await subject.ask("journal", run="r-1", after=1, limit=2)
    fits([entry["index"] for entry in part["records"]], [2, 3], "the indexes")


@CHECKS.add("A reply to a *durable* method is sent only after the record is on disk")
async def what_was_acknowledged_survives_a_kill(subject: Subject) -> None:
    await opened(subject)
    await completed(subject, "a")
    before = (await subject.ask("journal", run="r-1"))["records"]
    await subject.restart()
    fits((await subject.ask("journal", run="r-1"))["records"], before, "the journal")
    fits(await completed(subject, "b"), {"index": 5, "left": 2})


@CHECKS.add(
    "Appends `resumed`; steps that were running are ready again; `from`: the last index before"
)
async def a_run_is_resumed_where_it_was(subject: Subject) -> None:
    await opened(subject)
    await completed(subject, "a")
    await started(subject, "c")
    await subject.restart()
    reply = await subject.ask("resume", run="r-1", ts=TS)
    fits(reply, {"from": 4, "index": 5})
    steps = {step["id"]: step["state"] for step in reply["run"]["steps"]}
    fits(steps, {"a": "succeeded", "b": "ready", "c": "ready", "d": "pending"}, "the states")
    fits(reply["run"], {"document": {"any": ["value", 1, None]}, "inputs": {"x": 1}})
    fits(ready(await completed(subject, "c", attempt=2)), [], "what is ready by c")


@CHECKS.add("is set aside in `RUN.journal.torn` when the file is opened, cut")
async def a_kill_in_the_middle_leaves_whole_records(subject: Subject) -> None:
    await opened(subject)
    await started(subject, "a")
    args = {"run": "r-1", "step": "a", "attempt": 1, "outputs": {"out": "x" * 100_000}, "ts": TS}
    for after_s in (0.0, 0.001, 0.003):
        await subject.killed(after_s, "complete", **args)
        records = (await subject.ask("journal", run="r-1"))["records"]
        indexes = [entry["index"] for entry in records]
        fits(indexes, list(range(1, len(records) + 1)), "the indexes")
    fits(await subject.ask("complete", **args), {"index": 3, "left": 3})


@CHECKS.add("Once; again with the same outcome: the same reply.")
async def a_run_is_finished_once(subject: Subject) -> None:
    await opened(subject, steps=[{"id": "a"}])
    await completed(subject, "a")
    for _ in range(2):
        reply = await subject.ask("finish", run="r-1", outcome="succeeded", ts=TS)
        fits(reply, {"index": 4})
    await subject.refused("conflict", "finish", run="r-1", outcome="failed", ts=TS)
    noted = {"kind": "noted", "ts": TS}
    await subject.refused("conflict", "append", run="r-1", records=[noted])


@CHECKS.add("`{limit?: 100, before?: run}` → `{runs:")
async def runs_are_listed_newest_first(subject: Subject) -> None:
    for number in range(3):
        await opened(subject, run=f"r-{number}")
    found = await subject.ask("runs")
    fits([run["run"] for run in found["runs"]], ["r-2", "r-1", "r-0"], "the runs")
    fits(found["runs"][0], {"melody": "m", "version": "1.0.0", "steps": 4, "ended": 0})
    page = await subject.ask("runs", limit=1, before="r-2")
    fits([run["run"] for run in page["runs"]], ["r-1"], "the runs")
    await subject.refused("not-found", "state", run="r-9")
