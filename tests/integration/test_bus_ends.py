"""The bus itself fails under a whole kernel: started anew, or, if that does not help, the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from command_harness import PLAYERS, Symphony, wait_for_end_of

from symphony.bus.hub import Hub
from symphony.bus.line import MAX_RESTARTS
from symphony.bus.reference import ReferenceDatapath
from symphony.kernel.cli import play as playing
from symphony.kernel.errors import ExitCode, SymphonyError
from symphony.kernel.kernel import Kernel, Settings
from symphony.kernel.places import Places

PATIENCE_S = 20.0


class Crashing(ReferenceDatapath):
    """A datapath whose bug can be called up."""

    living: Crashing

    def __init__(self) -> None:
        super().__init__()
        Crashing.living = self


@pytest.fixture
def settings(symphony: Symphony, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("symphony.bus.datapaths.choose", lambda _name: Crashing())
    places = Places.find(symphony.home, symphony.environment)
    return Settings(places, extensions=(PLAYERS / "trouble",), datapath="reference")


async def until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


async def crash(hub: Hub) -> None:
    """The datapath fails and is replaced."""
    before = hub.counters()["restarts"]
    Crashing.living._crash()
    await until(lambda: hub.counters()["restarts"] > before, "no new start")


def test_a_kernel_outlives_a_failure_of_its_bus(settings: Settings) -> None:
    async def scenario() -> None:
        kernel = Kernel(settings)
        await kernel.start()
        try:
            assert (await kernel.dag.call("runs", {"limit": 1}))["runs"] == []
            await crash(kernel.hub)
            assert (await kernel.dag.call("runs", {"limit": 1}))["runs"] == []
            assert kernel.status().restarts == 1
            assert kernel.failure is None
        finally:
            await kernel.close()

    asyncio.run(scenario())


def test_a_run_whose_bus_ends_for_good_says_so_and_can_be_resumed(
    symphony: Symphony, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels: list[Kernel] = []

    class Kept(Kernel):
        def __init__(self, settings: Settings) -> None:
            super().__init__(settings)
            kernels.append(self)

    monkeypatch.setattr(playing, "Kernel", Kept)
    monkeypatch.setattr("symphony.kernel.cli.common._home", [symphony.home])  # for the report
    events = symphony.folder / "events.jsonl"
    melody = symphony.melody(
        {"id": "a", "inputs": {"plan": ["ok"]}},
        {
            "id": "b",
            "after": ["a"],
            "inputs": {"plan": ["hang", "ok"]},
            "timeout_s": 600,
        },
    )
    request = playing.RunRequest(
        melody=melody,
        resume=None,
        inputs=[],
        options=playing.PlayOptions(),
        events=str(events),
        junit=None,
        headless=True,
        home=("--home", str(symphony.home)),
        extensions=("--extensions", str(PLAYERS)),
    )

    async def scenario() -> None:
        run = asyncio.create_task(playing.play(settings, request))
        await until(lambda: events.exists() and '"b","done":1' in events.read_text(), "b began")
        hub = kernels[0].hub
        for _ in range(MAX_RESTARTS):
            await crash(hub)
        Crashing.living._crash()
        await run

    with pytest.raises(SymphonyError) as ended:
        asyncio.run(scenario())
    assert ended.value.code == ExitCode.INTERNAL
    assert "could not be started anew" in ended.value.message
    assert "run --resume" in str(ended.value.help)
    assert wait_for_end_of(symphony.home)
    run = events.read_text().split('"run":"')[1].split('"')[0]
    done = symphony.kernel("run", "--resume", run, "--extensions", PLAYERS, "--headless")
    assert done.returncode == 0, done.stderr
