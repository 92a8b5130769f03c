"""Processes whose main thread hangs: a provider's, and the hub's own."""

from pathlib import Path

from .ground import Ground, play
from .hubprocess import HubProcess

QUICK = {"heartbeat_ms": 200, "liveness": 5}


def test_a_call_that_ignores_its_cancellation_is_reported(datapath: str, tmp_path: Path) -> None:
    async def test(ground: Ground) -> None:
        provider, caller = await ground.provider("p"), await ground.caller("c")
        assert await caller.call("1", method="hang", ttl_ms=500) == {"begun": "1"}
        assert await caller.hear() == {"id": "1", "error": "deadline"}
        await ground.told("overdue", "p")  # and the kernel ends it
        assert ("silent", "p") not in ground.notices  # it went on beating
        await provider.end()
        await ground.provider("p2")
        assert await caller.call("2") == {"id": "2", "result": "2"}

    play(datapath, tmp_path, test, **QUICK)


def test_a_process_without_its_interpreter_is_silent(datapath: str, tmp_path: Path) -> None:
    async def test(ground: Ground) -> None:
        await ground.provider("p")
        caller = await ground.caller("c")
        assert await caller.call("1", method="seize") == {"begun": "1"}
        await ground.told("silent", "p")
        assert await caller.hear() == {"id": "1", "error": "crashed"}
        await ground.provider("p2")
        assert await caller.call("2") == {"id": "2", "result": "2"}

    play(datapath, tmp_path, test, **QUICK)


def test_calls_pass_a_hub_whose_main_thread_hangs(datapath: str, tmp_path: Path) -> None:
    """The native datapath needs the interpreter for nothing, so there the whole process may hang;
    the reference one needs it, but not the main thread."""

    async def test(ground: Ground) -> None:
        hub = await HubProcess.start(ground, datapath)
        await hub.peer("provider")
        caller = await hub.peer("caller")
        assert await caller.hear() == {"joined": True}
        await hub.told("registered provider")
        assert await caller.call("0") == {"id": "0", "result": "0"}  # the flow is there
        assert await hub.ask("seize" if datapath == "native" else "hang") == "now"
        for number in range(1, 200):
            id_ = str(number)
            assert await caller.call(id_) == {"id": id_, "result": id_}
        assert (await hub.counters())["restarts"] == 0  # it goes on

    play(datapath, tmp_path, test)
