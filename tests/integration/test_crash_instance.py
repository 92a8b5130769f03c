"""A model process that dies at work: noticed within a second, and another one does the work."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime

from command_harness import PLAYERS, Symphony

NOTICED_S = 1.0


def test_a_dead_instance_is_noticed_within_a_second(symphony: Symphony) -> None:
    step = {"id": "a", "inputs": {"plan": ["hang", "ok"]}, "timeout_s": 30.0}
    given = ("--extensions", PLAYERS, "--json", "-")
    process = symphony.start("run", symphony.melody(step), *given)
    assert process.stdout is not None
    events = (json.loads(line) for line in process.stdout)
    started = next(event for event in events if event["event"] == "step.started")
    os.kill(started["pid"], signal.SIGKILL)
    killed = datetime.now(UTC)
    failed = next(event for event in events if event["event"] == "step.failed")
    assert (datetime.fromisoformat(failed["ts"]) - killed).total_seconds() < NOTICED_S
    assert failed["error"]["class"]
    again = next(event for event in events if event["event"] == "step.started")
    assert again["instance"] != started["instance"]
    assert next(event for event in events if event["event"] == "run.finished")["outcome"] == (
        "succeeded"
    )
    assert process.wait(timeout=30) == 0
