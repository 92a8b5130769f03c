"""The bus ends under a run: whoever plays in a strict sandbox comes back to it, and goes on."""

from __future__ import annotations

import asyncio
import json

import pytest
from command_harness import PLAYERS, Symphony

from symphony.bus.native import available
from symphony.kernel.answers import DatapathName
from symphony.kernel.events import RunEvent, StepFinished, StepProgress, StepStarted
from symphony.kernel.kernel import Kernel, Settings
from symphony.kernel.melody import load_melody
from symphony.kernel.places import Places
from symphony.kernel.plays import Finished, Play, PlayOptions, new_run_id
from symphony.sandboxes.policy import Level

needs_native = pytest.mark.skipif(not available(), reason="the wheel symphony-native is missing")


@pytest.mark.parametrize("datapath", ["reference", pytest.param("native", marks=needs_native)])
@pytest.mark.parametrize("word", ["ok", "flood"])
def test_a_run_goes_on_when_the_bus_ends_and_no_step_is_repeated(
    symphony: Symphony, word: str, datapath: DatapathName
) -> None:
    steps = ["a", "b", "c"]
    path = symphony.melody(
        {"id": "a", "inputs": {"plan": [word]}},
        {"id": "b", "inputs": {"plan": [word]}, "after": ["a"]},
        {"id": "c", "inputs": {"plan": [word]}, "after": ["b"]},
    )
    places = Places.find(symphony.home, symphony.environment)
    events: list[RunEvent] = []

    async def main() -> Finished:
        kernel = Kernel(
            Settings(places, Level.STRICT, (PLAYERS / "trouble",), datapath="reference")
        )
        crashed: set[str] = set()

        def watch(event: RunEvent) -> None:
            events.append(event)
            if isinstance(event, StepProgress) and event.step not in crashed:
                crashed.add(event.step)
                kernel.hub._line.datapath._crash()  # type: ignore[attr-defined]

        await kernel.start()
        try:
            melody = load_melody(path, kernel.kit)
            player = Play(kernel, new_run_id(melody.name), watch)
            result = await player.open(melody, {}, PlayOptions(symphony.folder, Level.STRICT))
            assert crashed == set(steps)
            assert kernel.hub.counters()["restarts"] == len(steps)
        finally:
            await kernel.close()
        return result

    result = asyncio.run(main())
    assert result.outcome == "succeeded"
    assert [event.step for event in events if isinstance(event, StepStarted)] == steps
    assert [event.step for event in events if isinstance(event, StepFinished)] == steps
    (log,) = places.logs.glob("trouble-*.log")  # one process played them all
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "acting"] == steps
