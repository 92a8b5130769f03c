"""The Pool Manager as a process on a real hub, with a kernel that serves `kernel.instances/1`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from members import Kernel, Pool
from pit_stage import Play, Stage
from rust_examples import until

from symphony.bus.errors import BusError


async def ready(stage: Stage, store: Path, **limits: int) -> tuple[Pool, Kernel]:
    """A pool that knows what there is: nothing."""
    kernel, pool = Kernel(stage), Pool(stage, store)
    await pool.start()
    await pool.configure("k", "broken", **limits)
    assert await pool.resync() == {"kill": [], "lost": []}
    return pool, kernel


def test_an_acquire_has_an_instance_spawned_and_the_next_finds_it_warm(
    play: Play, tmp_path: Path
) -> None:
    async def test(stage: Stage) -> None:
        pool, kernel = await ready(stage, tmp_path)
        first = await pool.acquire("a")
        assert first["instance"] == "player-1"
        assert first["warm"] is (first["waited_ms"] == 0)  # this kernel may be that quick
        assert kernel.callers == {pool.program}
        ((method, args),) = kernel.asked
        assert (method, args["kind"], args["tenant"]) == ("spawn", "k", "t")
        await pool.release("b", first["lease"])
        second = await pool.acquire("c")
        assert (second["instance"], second["warm"]) == ("player-1", True)
        assert kernel.instances == ["player-1"]
        await pool.leave()

    play(test)


def test_what_the_kernel_cannot_spawn_is_told_to_whoever_waits(play: Play, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        pool, kernel = await ready(stage, tmp_path)
        with pytest.raises(BusError, match="no such program") as caught:
            await pool.acquire("a", "broken")
        assert caught.value.code == "unavailable"
        assert kernel.times("spawn") == 1

    play(test)


def test_a_pool_that_may_not_ask_the_kernel_says_so(play: Play, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        kernel, pool = Kernel(stage), Pool(stage, tmp_path)
        pool.calls = None
        await pool.start()
        await pool.configure("k")
        await pool.resync()
        with pytest.raises(BusError) as caught:
            await pool.acquire("a")
        assert caught.value.code == "unavailable"
        assert kernel.asked == []

    play(test)


def test_a_waiting_acquire_is_answered_after_a_release_unless_it_left(
    play: Play, tmp_path: Path
) -> None:
    async def test(stage: Stage) -> None:
        pool, kernel = await ready(stage, tmp_path, instances=1)
        first = await pool.acquire("a")
        given_up, patient = pool.acquire("b"), pool.acquire("c")
        await pool.until("stats", lambda stats: stats["waiting"] == 2)
        given_up.cancel()
        await pool.until("stats", lambda stats: stats["waiting"] == 1)
        await pool.release("d", first["lease"])
        lease = await patient
        assert lease["instance"] == "player-1"
        stats = await pool.call("stats")
        assert (stats["cancelled"], stats["leases"]) == (1, 1)
        assert kernel.times("spawn") == 1

    play(test)


def test_a_lease_outlives_a_kill_and_is_not_given_twice(play: Play, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        pool, kernel = await ready(stage, tmp_path, instances=1)
        first = await pool.acquire("a")
        waiting = pool.acquire("b")
        await pool.until("stats", lambda stats: stats["waiting"] == 1)
        await pool.kill()
        with pytest.raises(BusError) as caught:
            await waiting
        assert caught.value.code == "crashed"
        await pool.start()
        answer = await pool.resync(("player-1", "active"), leases=(first["lease"],))
        assert answer == {"kill": [], "lost": []}
        repeated = await pool.acquire("a")
        assert (repeated["lease"], repeated["instance"]) == (first["lease"], "player-1")
        waiting = pool.acquire("b")
        await pool.until("stats", lambda stats: stats["waiting"] == 1)
        assert (await pool.call("stats"))["leases"] == 1
        await pool.release("c", first["lease"])
        lease = await waiting
        assert lease["instance"] == "player-1"
        assert lease["lease"] != first["lease"]
        assert kernel.instances == ["player-1"]

    play(test)


@pytest.mark.parametrize("answered", [False, True], ids=["while it spawns", "once it is spawned"])
def test_a_question_to_the_kernel_is_answered_once_when_the_hub_starts_anew(
    play: Play, tmp_path: Path, answered: bool
) -> None:
    async def test(stage: Stage) -> None:
        pool, kernel = await ready(stage, tmp_path)
        kernel.open.clear()
        acquired = pool.acquire("a")
        await kernel.begun.wait()
        if answered:
            kernel.open.set()
        stage.hub._line.datapath._crash()
        await until(lambda: stage.hub.counters()["restarts"] > 0)
        kernel.open.set()
        assert (await acquired)["instance"] == "player-1"
        assert kernel.times("spawn") == 1
        stats = await pool.call("stats")
        assert (stats["spawns"], stats["spawn_failures"], stats["leases"]) == (1, 0, 1)

    play(test)


def test_a_kill_while_it_spawns_leaves_no_instance_behind(play: Play, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        pool, kernel = await ready(stage, tmp_path)
        kernel.open.clear()
        acquired = pool.acquire("a")
        await kernel.begun.wait()
        await pool.kill()
        with pytest.raises(BusError):
            await acquired
        await pool.start()
        await pool.resync(("orphan", "warm"))
        kernel.open.set()
        lease = await pool.acquire("a")
        assert lease["instance"] == "orphan"
        stats = await pool.call("stats")
        assert (stats["instances"], stats["leases"]) == (1, 1)

    play(test)


def test_every_lease_that_was_told_is_there_after_kills(play: Play, tmp_path: Path) -> None:
    """Killed while many acquires are on their way; the kernel tells each time what it has."""

    async def test(stage: Stage) -> None:
        pool, kernel = await ready(stage, tmp_path, instances=64)
        told: dict[str, tuple[str, str]] = {}

        async def acquire(name: str) -> None:
            lease = await pool.acquire(name)
            told[name] = (lease["lease"], lease["instance"])

        names = [f"q{number}" for number in range(60)]
        for least in (10, 30):
            calls = [asyncio.create_task(acquire(name)) for name in names if name not in told]
            await until(lambda least=least: len(told) >= least)
            await pool.kill()
            await asyncio.gather(*calls, return_exceptions=True)
            await pool.start()
            leases, leased = dict(told.values()).keys(), {*dict(told.values()).values()}
            known = await pool.resync(
                *((name, "active" if name in leased else "warm") for name in kernel.instances),
                leases=tuple(leases),
            )
            assert leases.isdisjoint(known["lost"])
        await asyncio.gather(*(acquire(name) for name in names))
        assert (await pool.call("stats"))["leases"] == len(names)
        assert len({lease for lease, _ in told.values()}) == len(names)
        instances = {instance for _, instance in told.values()}
        assert len(instances) == len(names)
        assert instances <= {*kernel.instances}

    play(test)
