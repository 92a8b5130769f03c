"""Instances that answer heartbeats and do no useful work, or do it slowly, are drained, and whoever
comes next gets another one."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

from command_harness import PLAYERS, Symphony, of
from interface_checks import check_answer, check_errors

MOOD = {"capability": "test.mood/1"}


def chain(symphony: Symphony, moods: Sequence[str | int]) -> Any:
    """A Melody of steps one after another: a mood each, or a wait of so many milliseconds."""
    steps: list[dict[str, Any]] = []
    for number, mood in enumerate(moods):
        what = {"capability": "time.wait/1", "inputs": {"ms": mood}}
        step = what if isinstance(mood, int) else {**MOOD, "inputs": {"mood": mood}}
        after = {"after": [steps[-1]["id"]]} if steps else {}
        steps.append({"id": f"s{number}", **step, **after})
    return symphony.melody(*steps)


def instances(events: Sequence[dict[str, Any]]) -> list[str]:
    """Who played each step of the moody player."""
    return [event["instance"] for event in of(events, "step.started", player="moody")]


def unloaded(symphony: Symphony, instance: str) -> list[str]:
    """Why the Pool Manager had it ended."""
    lines = (symphony.home / "logs" / "kernel.log").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    found = [row for row in rows if row.get("event") == "unloading"]
    return [row["reason"] for row in found if row["instance"] == instance]


def test_one_whose_probes_fail_is_drained_and_the_next_call_goes_to_another(
    symphony: Symphony,
) -> None:
    code, events = symphony.play(chain(symphony, ["well", "ill", 2500, "well", "well"]))
    assert code == 0, events
    well, ill, next_, last = instances(events)
    assert well == ill, "it is warm, so it is taken"
    assert next_ != ill
    assert last == next_
    assert unloaded(symphony, ill) == ["it failed its probes"]


def test_one_that_has_become_slow_is_drained_and_the_next_call_goes_to_another(
    symphony: Symphony,
) -> None:
    code, events = symphony.play(chain(symphony, ["well"] * 9 + ["slow"] * 3 + ["well"]))
    assert code == 0, events
    *before, last = instances(events)
    assert len(set(before)) == 1
    assert last != before[0]
    (why,) = unloaded(symphony, before[0])
    assert "slow" in why


def test_by_hand(symphony: Symphony) -> None:
    melody = chain(symphony, ["well", 4000, "well"])
    run = symphony.start("run", melody, "--extensions", PLAYERS, "--json", "-")
    assert run.stdout is not None
    events = []
    while not of(events, "step.finished", step="s0"):
        events.append(json.loads(run.stdout.readline()))
    rest: list[str] = []
    reader = threading.Thread(target=lambda: rest.extend(run.stdout or ()))
    reader.start()
    (first,) = instances(events)
    drained = check_answer("drained", symphony.kernel("pool", "drain", "moody", "--json"))
    assert drained["instances"] == [first]
    check_errors(symphony.kernel("pool", "drain", "nobody"), 4, "see `symphony-kernel pool`")
    assert run.wait() == 0
    reader.join()
    events += [json.loads(line) for line in rest]
    assert instances(events)[1] != first
