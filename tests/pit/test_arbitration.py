"""Arbitration as a process on a real hub: waiting, leaving, crashes of either side."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from members import TS, Arbitration
from pit_stage import Play, Stage
from rust_examples import until

from symphony.bus.aio import AsyncClient
from symphony.bus.errors import BusError
from symphony.bus.hub import Grants


def test_a_request_that_waits_is_answered_after_a_release(play: Play, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        arbiter = Arbitration(stage, tmp_path)
        await arbiter.start()
        assert (await arbiter.configure(1))["digest"]
        first = await arbiter.request("a")
        assert first["needs"] == {"slots": 1}
        second = arbiter.waiting("b")
        await arbiter.queued("b")
        assert not second.done()
        assert await arbiter.release("c", first["grant"]) == {}
        granted = await second
        assert granted["grant"] != first["grant"]
        assert await arbiter.held() == {granted["grant"]: "run of b"}
        error = await arbiter.refused("request", id="d", run="r", needs={"slots": 2}, ts="x")
        assert error.code == "bad-request"
        await arbiter.leave()

    play(test)


def test_whoever_is_cancelled_leaves_the_queue(play: Play, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        arbiter = Arbitration(stage, tmp_path)
        await arbiter.start()
        await arbiter.configure(1)
        first = await arbiter.request("a")
        given_up, patient = arbiter.waiting("b"), arbiter.waiting("c")
        await arbiter.queued("b", "c")
        given_up.cancel()
        await arbiter.queued("c")
        args = {"id": "d", "run": "r", "needs": {"slots": 1}, "ts": TS}
        with pytest.raises(BusError) as caught:
            await stage.hub.call(arbiter.capability, "request", args, ttl_ms=50)
        assert caught.value.code == "deadline"
        await arbiter.queued("c")
        await arbiter.release("e", first["grant"])
        assert await arbiter.held() == {(await patient)["grant"]: "run of c"}
        assert stage.seen.events.empty()  # nobody counts as hanging

    play(test)


@pytest.mark.parametrize("end", ["leaves", "is forgotten"])
def test_whoever_is_gone_leaves_the_queue(play: Play, tmp_path: Path, end: str) -> None:
    async def test(stage: Stage) -> None:
        arbiter = Arbitration(stage, tmp_path)
        await arbiter.start()
        await arbiter.configure(1)
        first = await arbiter.request("a")
        grants = Grants(calls=frozenset({arbiter.capability}))
        ticket = stage.hub.add_peer("caller", f"ipc://{stage.folder}/caller.sock", grants)
        caller = await AsyncClient.connect(ticket)
        await stage.seen.expect("registered", "caller")
        args = {"id": "b", "run": "r", "needs": {"slots": 1}, "ts": TS}
        call = asyncio.create_task(caller.call(arbiter.capability, "request", args))
        await arbiter.queued("b")
        if end == "leaves":
            await caller.close()
            await stage.seen.expect("left", "caller")
        else:
            stage.hub.remove_peer("caller")
        await arbiter.queued()
        await asyncio.gather(call, return_exceptions=True)
        await caller.close()
        await arbiter.release("c", first["grant"])
        assert await arbiter.held() == {}

    play(test, heartbeat_ms=100)


def test_a_grant_outlives_a_kill_and_is_not_given_twice(play: Play, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        arbiter = Arbitration(stage, tmp_path)
        await arbiter.start()
        await arbiter.configure(1)
        first = await arbiter.request("a")
        second = arbiter.waiting("b")
        await arbiter.queued("b")
        await arbiter.kill()
        with pytest.raises(BusError) as caught:
            await second
        assert caught.value.code == "crashed"
        await arbiter.start()
        assert await arbiter.held() == {first["grant"]: "run of a"}
        repeated = await arbiter.request("a")
        assert {**repeated, "waited_ms": 0} == {**first, "waited_ms": 0}
        second = arbiter.waiting("b")
        await arbiter.queued("b")
        for _ in range(2):
            await arbiter.release("c", first["grant"])
        granted = await second
        assert await arbiter.held() == {granted["grant"]: "run of b"}
        grant = first["grant"]
        error = await arbiter.refused("release", id="d", grant=grant, outcome="ok", ts=TS)
        assert error.code == "conflict"

    play(test)


def test_every_grant_that_was_told_is_there_after_kills(play: Play, tmp_path: Path) -> None:
    """Killed while many requests are on their way: what was answered is there, and counts once."""

    async def test(stage: Stage) -> None:
        arbiter = Arbitration(stage, tmp_path)
        await arbiter.start()
        await arbiter.configure(1_000)
        told: dict[str, str] = {}

        async def request(name: str) -> None:
            told[name] = (await arbiter.request(name))["grant"]

        names = [f"q{number}" for number in range(300)]
        for round_ in range(3):
            requests = [asyncio.create_task(request(name)) for name in names if name not in told]
            least = min(len(names), 40 * (round_ + 1))
            await until(lambda least=least: len(told) >= least)
            await arbiter.kill()
            outcomes = await asyncio.gather(*requests, return_exceptions=True)
            lost = {outcome.code for outcome in outcomes if isinstance(outcome, BusError)}
            assert lost <= {"crashed", "unavailable"}
            await arbiter.start()
            held = await arbiter.held()
            assert {name: held[grant] for name, grant in told.items()} == {
                name: f"run of {name}" for name in told
            }
        await asyncio.gather(*(request(name) for name in names))
        held = await arbiter.held()
        assert sorted(held.values()) == sorted(f"run of {name}" for name in names)
        assert sorted(told.values()) == sorted(held)

    play(test)


def test_a_request_waits_on_when_the_hub_starts_anew(play: Play, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        arbiter = Arbitration(stage, tmp_path)
        await arbiter.start()
        await arbiter.configure(1)
        first = await arbiter.request("a")
        second = arbiter.waiting("b")
        await arbiter.queued("b")
        stage.hub._line.datapath._crash()
        await until(lambda: stage.hub.counters()["restarts"] > 0)
        await arbiter.queued("b")
        await arbiter.release("c", first["grant"])
        granted = await second
        assert await arbiter.held() == {granted["grant"]: "run of b"}
        stats = await arbiter.call("stats")
        assert stats["grants"] == 2, stats

    play(test)


def test_an_unload_does_not_wait_for_those_who_wait(play: Play, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        arbiter = Arbitration(stage, tmp_path)
        await arbiter.start()
        await arbiter.configure(1)
        await arbiter.request("a")
        second = arbiter.waiting("b")
        await arbiter.queued("b")
        async with asyncio.timeout(4):  # of a grace of five seconds
            await arbiter.leave()
        with pytest.raises(BusError) as caught:
            await second
        assert caught.value.code == "crashed"

    play(test)
