"""SIGKILL and SIGSTOP of caller, callee and both in the middle of a call."""

from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

from .ground import ECHO, Ground, Peer, play

QUICK = {"heartbeat_ms": 200, "liveness": 5}  # silent after one second


async def in_the_middle(ground: Ground) -> tuple[Peer, Peer]:
    """A provider and a caller whose call has begun."""
    provider, caller = await ground.provider("p"), await ground.caller("c")
    assert await caller.call("1", method="hold") == {"begun": "1"}
    return provider, caller


async def goes_on(ground: Ground) -> None:
    """The hub serves newcomers as if nothing had been, and holds nothing of what was."""
    await ground.provider("p2")
    caller = await ground.caller("c2")
    assert await caller.call("after") == {"id": "after", "result": "after"}
    assert ground.open_calls() == 0
    assert ground.ledger()["after"] == 1
    assert ground.hub.counters()["restarts"] == 0


class TestKilled:
    def test_callee(self, datapath: str, tmp_path: Path) -> None:
        async def test(ground: Ground) -> None:
            provider, caller = await in_the_middle(ground)
            provider.send(SIGKILL)
            await ground.died(provider)
            assert await caller.hear() == {"id": "1", "error": "crashed"}
            assert await caller.call("2") == {"id": "2", "error": "unavailable"}
            await goes_on(ground)
            assert await caller.call("3") == {"id": "3", "result": "3"}

        play(datapath, tmp_path, test)

    def test_caller(self, datapath: str, tmp_path: Path) -> None:
        async def test(ground: Ground) -> None:
            _, caller = await in_the_middle(ground)
            caller.send(SIGKILL)
            await ground.died(caller)
            await ground.noted("1 cancelled")
            assert await ground.hub.call(ECHO, None, {"id": "2"}) == "2"  # the provider is free
            assert ground.open_calls() == 0

        play(datapath, tmp_path, test)

    def test_both(self, datapath: str, tmp_path: Path) -> None:
        async def test(ground: Ground) -> None:
            provider, caller = await in_the_middle(ground)
            caller.send(SIGKILL)
            provider.send(SIGKILL)
            await ground.died(caller, provider)
            await goes_on(ground)

        play(datapath, tmp_path, test)


class TestStopped:
    def test_callee(self, datapath: str, tmp_path: Path) -> None:
        async def test(ground: Ground) -> None:
            provider, caller = await in_the_middle(ground)
            provider.send(SIGSTOP)
            await ground.told("silent", "p")
            assert await caller.hear() == {"id": "1", "error": "crashed"}
            await goes_on(ground)
            provider.send(SIGCONT)  # nobody knows it any more, and so it ends by itself
            assert await provider.process.wait() == 1

        play(datapath, tmp_path, test, **QUICK)

    def test_caller(self, datapath: str, tmp_path: Path) -> None:
        async def test(ground: Ground) -> None:
            _, caller = await in_the_middle(ground)
            caller.send(SIGSTOP)
            await ground.told("silent", "c")
            await ground.noted("1 cancelled")
            assert await ground.hub.call(ECHO, None, {"id": "2"}) == "2"
            assert ground.open_calls() == 0
            caller.send(SIGCONT)
            assert await caller.hear() == {"id": "1", "error": "unavailable"}

        play(datapath, tmp_path, test, **QUICK)

    def test_both(self, datapath: str, tmp_path: Path) -> None:
        async def test(ground: Ground) -> None:
            provider, caller = await in_the_middle(ground)
            caller.send(SIGSTOP)
            provider.send(SIGSTOP)
            await ground.told("silent", "p")
            await ground.told("silent", "c")
            await goes_on(ground)

        play(datapath, tmp_path, test, **QUICK)

    def test_for_less_than_the_window_costs_nothing_but_time(
        self, datapath: str, tmp_path: Path
    ) -> None:
        async def test(ground: Ground) -> None:
            provider, caller = await ground.provider("p"), await ground.caller("c")
            for number in range(20):
                id_ = str(number)
                stopped = (provider, caller)[number % 2]
                stopped.send(SIGSTOP)
                await caller.say(id=id_)
                stopped.send(SIGCONT)
                assert await caller.hear() == {"id": id_, "result": id_}
            assert set(ground.ledger().values()) == {1}
            assert ground.notices == [("registered", "p"), ("registered", "c")]

        play(datapath, tmp_path, test)
