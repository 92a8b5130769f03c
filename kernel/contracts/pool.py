"""The suite of `pit.pool/1`: leases, what the kernel is asked for, and what a restart ends."""

from __future__ import annotations

import asyncio
from typing import Any

from symphony.bus.errors import BusError
from symphony.bus.localcalls import Request

from .contents import TS
from .suite import Checks, Subject, Suite, fits, holds

CHECKS = Checks()
SUITE = Suite("pit.pool/1", "bus/contracts/pit.pool-1.md", CHECKS)
KIND = {"kind": "k", "player": "p", "memory_mib": 10, "load_ms": 1000}


class Kernel:
    """Serves `kernel.instances/1` with instances that are no more than names."""

    def __init__(self, subject: Subject) -> None:
        self.spawned: dict[str, str] = {}  # by the spawn's id
        self.unloaded: list[str] = []
        subject.serve("kernel.instances/1", self._serve)

    async def _serve(self, request: Request) -> object:
        match request.method:
            case "spawn" if request.args["kind"] == "broken":
                raise BusError("failed", "no such program")
            case "spawn":
                name = f"player-{len(self.spawned) + 1}"
                return {"instance": self.spawned.setdefault(request.args["id"], name)}
            case "unload":
                self.unloaded.append(request.args["instance"])
        return {}


async def ready(subject: Subject, **limits: int) -> Kernel:
    """A pool that knows its kinds, and that there is nothing yet."""
    kernel = Kernel(subject)
    kinds = [KIND, {**KIND, "kind": "broken"}]
    await subject.ask("configure", limits=limits, kinds=kinds)
    fits(await subject.ask("resync", instances=[], leases=[], ts=TS), {"kill": [], "lost": []})
    return kernel


def wanted(name: str, **more: object) -> dict[str, object]:
    """The arguments of an acquire."""
    return {"id": name, "kind": "k", "run": "r", "tenant": "t", "ts": TS, **more}


async def acquired(subject: Subject, name: str, **more: object) -> Any:
    """The lease and its instance."""
    return await subject.ask("acquire", **wanted(name, **more))


async def released(subject: Subject, name: str, lease: str, outcome: str = "ok") -> Any:
    """The lease is given back."""
    return await subject.ask("release", id=name, lease=lease, outcome=outcome, ts=TS)


async def until(subject: Subject, method: str, key: str, value: object) -> None:
    """Asks until a figure is as wanted: what another call waits for happens in between."""
    while (await subject.ask(method))[key] != value:
        pass


@CHECKS.add("If there is none, one is spawned")
async def an_instance_is_spawned_and_found_warm_again(subject: Subject) -> None:
    kernel = await ready(subject)
    first = await acquired(subject, "a")
    fits(first, {"instance": "player-1"})
    await released(subject, "b", first["lease"])
    fits(await acquired(subject, "c"), {"instance": "player-1", "warm": True})
    fits(len(kernel.spawned), 1, "the spawns")


@CHECKS.add("It is leased to one call at a time unless its kind allows `share`")
async def an_instance_has_one_lease_at_a_time(subject: Subject) -> None:
    await ready(subject)
    leases = [await acquired(subject, name) for name in ("a", "b", "c")]
    instances = {lease["instance"] for lease in leases}
    fits(len(instances), 3, "the instances of three leases")


@CHECKS.add("never to two tenants in its life")
async def an_instance_belongs_to_one_tenant(subject: Subject) -> None:
    await ready(subject)
    first = await acquired(subject, "a")
    await released(subject, "b", first["lease"])
    other = await acquired(subject, "c", tenant="u")
    holds(other["instance"] != first["instance"], "another instance", other)


@CHECKS.add("After `failed` or `lost` the instance drains.")
async def what_failed_is_never_leased_again(subject: Subject) -> None:
    await ready(subject)
    first = await acquired(subject, "a")
    await released(subject, "b", first["lease"], "failed")
    second = await acquired(subject, "c")
    holds(second["instance"] != first["instance"], "another instance", second)


@CHECKS.add("the same request again, while the first waits, waits with it")
async def an_id_has_one_effect(subject: Subject) -> None:
    kernel = await ready(subject)
    first = await acquired(subject, "a")
    again = await acquired(subject, "a")
    fits(again, {"lease": first["lease"], "instance": first["instance"]})
    await subject.refused("conflict", "acquire", **wanted("a", tenant="u"))
    for _ in range(2):
        await released(subject, "b", first["lease"])
    args = {"lease": first["lease"], "outcome": "ok", "ts": TS}
    await subject.refused("conflict", "release", id="c", **args)
    await subject.refused("not-found", "release", **{**args, "id": "d", "lease": "no-such"})
    fits(len(kernel.spawned), 1, "the spawns")


@CHECKS.add("`wait: false`: only a free instance will do, else `overloaded`")
async def who_does_not_want_to_wait_is_told(subject: Subject) -> None:
    await ready(subject, instances=1)
    await acquired(subject, "a")
    error = await subject.refused("overloaded", "acquire", **wanted("b", wait=False))
    holds(error.retry_after_ms is not None, "a time to try again", error)


@CHECKS.add("and is answered in the order of arrival")
async def who_waits_is_served_in_turn_unless_it_left(subject: Subject) -> None:
    await ready(subject, instances=1)
    first = await acquired(subject, "a")
    impatient = asyncio.create_task(acquired(subject, "b"))
    await until(subject, "stats", "waiting", 1)
    patient = asyncio.create_task(acquired(subject, "c"))
    await until(subject, "stats", "waiting", 2)
    impatient.cancel()
    await until(subject, "stats", "waiting", 1)
    await released(subject, "d", first["lease"])
    fits(await patient, {"instance": first["instance"]})


@CHECKS.add("`unavailable`: the kind could not be spawned (the kernel's error in `message`)")
async def what_cannot_be_spawned_is_told(subject: Subject) -> None:
    await ready(subject)
    error = await subject.refused("unavailable", "acquire", **wanted("a", kind="broken"))
    holds("no such program" in error.message, "the kernel's error in the message", error.message)
    await subject.refused("not-found", "acquire", **wanted("b", kind="unheard-of"))


@CHECKS.add("`died` frees its lease at once")
async def the_lease_of_a_dead_instance_is_over(subject: Subject) -> None:
    await ready(subject, instances=1)
    first = await acquired(subject, "a")
    waiting = asyncio.create_task(acquired(subject, "b"))
    await until(subject, "stats", "waiting", 1)
    await subject.ask("event", instance=first["instance"], kind="died")
    second = await waiting
    holds(second["instance"] != first["instance"], "another instance", second)


@CHECKS.add("Until the first `resync` of its life the pool neither spawns nor grants")
async def leases_of_both_sides_outlive_a_kill(subject: Subject) -> None:
    await ready(subject)
    kept, lost = await acquired(subject, "a"), await acquired(subject, "b")
    await subject.restart()
    Kernel(subject)
    waiting = asyncio.create_task(acquired(subject, "c"))
    await until(subject, "stats", "waiting", 1)
    instances = [
        {"instance": lease["instance"], "kind": "k", "tenant": "t", "state": "active"}
        for lease in (kept, lost)
    ]
    reply = await subject.ask("resync", instances=instances, leases=[kept["lease"]], ts=TS)
    fits(reply, {"lost": [lost["lease"]], "kill": [lost["instance"]]})
    third = await waiting
    holds(third["instance"] not in (kept["instance"], lost["instance"]), "a third one", third)
    fits(await acquired(subject, "a"), {"lease": kept["lease"]})


@CHECKS.add("what this call cost by the kind's `cost`, for the kernel to charge")
async def a_release_tells_what_was_spent(subject: Subject) -> None:
    kernel = Kernel(subject)
    cost = {"call": 5, "second": 100, "million_tokens": 2_000_000}
    kinds = [{**KIND, "cost": cost}]
    await subject.ask("configure", limits={}, kinds=kinds)
    await subject.ask("resync", instances=[], leases=[], ts=TS)
    lease = (await acquired(subject, "a"))["lease"]
    args = {"outcome": "ok", "busy_ms": 1500, "tokens": 10, "ts": TS}
    reply = await subject.ask("release", id="b", lease=lease, **args)
    fits(reply, {"spend": {"money": 5 + 150 + 20, "tokens": 10}})
    fits(len(kernel.spawned), 1, "the spawns")
