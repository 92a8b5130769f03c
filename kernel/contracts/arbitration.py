"""The suite of `pit.arbitration/1`: grants, queues, budgets, and that no crash changes them."""

from __future__ import annotations

import asyncio
from typing import Any

from .contents import TS
from .suite import Checks, Subject, Suite, fits, holds

CHECKS = Checks()
SUITE = Suite("pit.arbitration/1", "bus/contracts/pit.arbitration-1.md", CHECKS)
BUDGET = {"name": "b", "per": "run", "resource": "money", "limit": 100}


async def configured(subject: Subject, capacity: int = 2, **more: object) -> Any:
    """One resource, slots."""
    resources = {"slots": {"capacity": capacity}}
    return await subject.ask("configure", resources=resources, **more)


def wanted(name: str, slots: int = 1, **more: object) -> dict[str, object]:
    """The arguments of a request."""
    return {"id": name, "run": f"run-{name}", "needs": {"slots": slots}, "ts": TS, **more}


async def granted(subject: Subject, name: str, slots: int = 1, **more: object) -> str:
    """The grant of a request that need not wait."""
    reply = await subject.ask("request", **wanted(name, slots, **more))
    fits(reply, {"needs": {"slots": slots}})
    grant: str = reply["grant"]
    return grant


async def released(subject: Subject, name: str, grant: str) -> None:
    """The grant is given back."""
    await subject.ask("release", id=name, grant=grant, outcome="ok", ts=TS)


async def queued(subject: Subject, *names: str) -> None:
    """Returns once exactly these wait, in this order."""
    while True:
        queue = await subject.ask("queue")
        if [row["id"] for row in queue["waiting"]] == list(names):
            return


async def held(subject: Subject) -> list[str]:
    """The grants that are out, sorted."""
    return sorted(row["grant"] for row in (await subject.ask("queue"))["held"])


async def spent(subject: Subject) -> int:
    """Of the only budget, which counts for all."""
    amount: int = (await subject.ask("budgets"))["budgets"][0]["spent"]
    return amount


@CHECKS.add("Answered when it is granted")
async def what_fits_is_granted_and_what_does_not_waits(subject: Subject) -> None:
    await configured(subject)
    first = await granted(subject, "a", 2)
    second = asyncio.create_task(subject.ask("request", **wanted("b")))
    await queued(subject, "b")
    await released(subject, "c", first)
    fits(await held(subject), [(await second)["grant"]], "what is held")


@CHECKS.add("`wait: false`: `overloaded`")
async def who_does_not_want_to_wait_is_told(subject: Subject) -> None:
    await configured(subject)
    await granted(subject, "a", 2)
    error = await subject.refused("overloaded", "request", **wanted("b", wait=False))
    holds(error.retry_after_ms is not None, "a time to try again", error)
    fits(await subject.ask("queue"), {"waiting": []})


@CHECKS.add("to cancel the call is to leave the queue")
async def who_gives_up_leaves_the_queue(subject: Subject) -> None:
    await configured(subject)
    first = await granted(subject, "a", 2)
    impatient = asyncio.create_task(subject.ask("request", **wanted("b", 2)))
    await queued(subject, "b")
    impatient.cancel()
    await queued(subject)
    await released(subject, "c", first)
    fits(await held(subject), [], "what is held")


@CHECKS.add("`bad-request` at once, for they could never be met")
async def what_could_never_be_met_is_refused_at_once(subject: Subject) -> None:
    await configured(subject)
    await subject.refused("bad-request", "request", **wanted("a", 3))
    other = {**wanted("b"), "needs": {"unicorns": 1}}
    await subject.refused("bad-request", "request", **other)


@CHECKS.add(
    "with the same arguments (`ts` and `wait` apart) gives the same reply and has one effect"
)
async def an_id_has_one_effect(subject: Subject) -> None:
    await configured(subject)
    first = await granted(subject, "a")
    fits(await granted(subject, "a"), first, "the grant of the same request")
    await subject.refused("conflict", "request", **wanted("a", 2))
    fits(await held(subject), [first], "what is held")
    for _ in range(2):
        await released(subject, "r", first)
    await subject.refused("conflict", "release", id="s", grant=first, outcome="ok", ts=TS)
    await subject.refused("not-found", "release", id="t", grant="g999", outcome="ok", ts=TS)


@CHECKS.add("is sent only after the record is on disk (group commit)")
async def what_was_granted_survives_a_kill(subject: Subject) -> None:
    await configured(subject, budgets=[BUDGET])
    grants = sorted([await granted(subject, "a"), await granted(subject, "b")])
    amounts = {"money": 60}
    await subject.ask("charge", id="c", run="run-a", amounts=amounts, ts=TS)
    await subject.restart()
    fits(await held(subject), grants, "what is held")
    fits([await granted(subject, "a"), await granted(subject, "b")], grants, "the same requests")
    await subject.ask("charge", id="c", run="run-a", amounts=amounts, ts=TS)
    told = await subject.ask("budgets", run="run-a")
    fits(told["budgets"], [{"name": "b", "spent": 60, "limit": 100}])


@CHECKS.add("Tenant of weight 0: `refused`.")
async def weight_nought_is_nothing(subject: Subject) -> None:
    await configured(subject, tenants={"none": {"weight": 0}, "some": {"weight": 1}})
    await subject.refused("refused", "request", **wanted("a", tenant="none"))
    await granted(subject, "b", tenant="some")


@CHECKS.add("Within a tenant the highest **class**")
async def the_higher_priority_comes_first(subject: Subject) -> None:
    await configured(subject, capacity=1)
    first = await granted(subject, "a")
    low = asyncio.create_task(subject.ask("request", **wanted("low", priority=10)))
    await queued(subject, "low")
    high = asyncio.create_task(subject.ask("request", **wanted("high", priority=90)))
    await queued(subject, "high", "low")
    await released(subject, "r1", first)
    grant = (await high)["grant"]
    fits(await held(subject), [grant], "what is held")
    await released(subject, "r2", grant)
    await low


@CHECKS.add("of the tenants that have somebody waiting, the one with the smallest dominant share")
async def tenants_share_by_weight(subject: Subject) -> None:
    await configured(subject, capacity=1, tenants={"x": {"weight": 1}, "y": {"weight": 1}})
    first = await granted(subject, "a", tenant="x")
    again = asyncio.create_task(subject.ask("request", **wanted("b", tenant="x")))
    await queued(subject, "b")
    other = asyncio.create_task(subject.ask("request", **wanted("c", tenant="y")))
    await queued(subject, "c", "b")
    await released(subject, "r1", first)
    await released(subject, "r2", (await other)["grant"])
    await again


@CHECKS.add("all `size` requests of a gang (of one tenant) are granted in one decision or none.")
async def a_gang_is_granted_whole(subject: Subject) -> None:
    await configured(subject)
    gang = {"id": "gang", "size": 2}
    one = asyncio.create_task(subject.ask("request", **wanted("a", gang=gang)))
    while [row["id"] for row in (await subject.ask("queue"))["waiting"]] != ["a"]:
        pass
    fits(await held(subject), [], "what is held")
    two = await subject.ask("request", **wanted("b", gang=gang))
    fits(await held(subject), sorted([two["grant"], (await one)["grant"]]), "what is held")


@CHECKS.add("What was spent is never refused: it is spent.")
async def a_spent_budget_stops_what_comes(subject: Subject) -> None:
    await configured(subject, budgets=[BUDGET])
    states = []
    for name, money in (("c1", 79), ("c2", 1), ("c3", 30)):
        args = {"id": name, "run": "run-a", "amounts": {"money": money}, "ts": TS}
        states.append((await subject.ask("charge", **args))["budgets"][0]["state"])
    fits(states, ["ok", "warning", "spent"], "the states")
    error = await subject.refused("refused", "request", **wanted("a"))
    fits(error.where, "b", "the error's where")
    await granted(subject, "b")


@CHECKS.add("every grant that it does not hold is released")
async def a_caller_that_started_anew_says_what_it_holds(subject: Subject) -> None:
    await configured(subject)
    kept, lost = await granted(subject, "a"), await granted(subject, "b")
    reply = await subject.ask("resync", held=[kept, "g999"], ts=TS)
    fits(reply, {"released": [lost], "unknown": ["g999"]})
    fits(await held(subject), [kept], "what is held")


@CHECKS.add("what was left of its estimate is spent from now on")
async def what_nobody_knows_of_is_taken_as_spent(subject: Subject) -> None:
    await configured(subject, capacity=3, budgets=[{**BUDGET, "per": "all"}])
    estimate = {"money": 10}
    lost, own, kept = [
        await granted(subject, name, estimate=estimate) for name in ("theirs/a", "mine/b", "mine/c")
    ]
    charge = {"run": "run-theirs/a", "grant": lost, "ts": TS}
    await subject.ask("charge", id="c1", amounts={"money": 4}, **charge)
    for _ in range(2):
        await subject.restart()
        reply = await subject.ask("resync", held=[kept], own=["mine/"], ts=TS)
        fits(await spent(subject), 10, "what was spent: 4, and 6 that may have been")
    fits(reply, {"released": [], "unknown": []})
    fits(await held(subject), [kept], f"what is held once {own} was released")
    for _ in range(2):
        await subject.ask("charge", id="c2", amounts={"money": 1}, **charge)
        fits(await spent(subject), 5, "what was spent, now that it was told")
    await subject.ask("resync", held=[], ts=TS)
    fits(await spent(subject), 15, "what was spent, and what the last one may have")


@CHECKS.add("what the decision saw")
async def every_grant_is_explained(subject: Subject) -> None:
    await configured(subject)
    grant = await granted(subject, "a")
    told = await subject.ask("explain", grant=grant)
    fits(told, {"grant": grant, "id": "a", "run": "run-a", "needs": {"slots": 1}})
    holds(told["reason"] and told["strategy"], "a reason and a strategy", told)
    await subject.restart()
    fits(await subject.ask("explain", id="a"), {"grant": grant, "reason": told["reason"]})
    await subject.refused("not-found", "explain", grant="g999")


@CHECKS.add("Every fault at once (`bad-request`, `where` lists them)")
async def a_wrong_configuration_changes_nothing(subject: Subject) -> None:
    await configured(subject)
    error = await subject.refused(
        "bad-request",
        "configure",
        resources={"slots": {"capacity": 1}},
        tenants={"t": {"weight": 1, "reserve": {"unicorns": 1}}},
        budgets=[{**BUDGET, "resource": "slots"}],
    )
    for name in ("unicorns", "budgets"):
        holds(name in (error.where or ""), f"a `where` that names {name}", error.where)
    await granted(subject, "a", 2)
