"""Players that die, hang or lie, and Pit members that die, in real runs."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_harness import PLAYERS, Symphony, of

ONCE = {"attempts": 2, "backoff_s": 0}


def one_step(symphony: Symphony, *plan: str, **more: Any) -> Path:
    return symphony.melody({"id": "a", "inputs": {"plan": list(plan)}, "retry": ONCE, **more})


def test_a_player_killed_mid_step_is_retried_in_a_fresh_sandbox(symphony: Symphony) -> None:
    code, events = symphony.play(one_step(symphony, "crash", "ok"))
    assert code == 0
    first, second = of(events, "step.started")
    assert first["instance"] != second["instance"]
    assert first["pid"] != second["pid"]
    (failed,) = of(events, "step.failed")
    assert failed["error"]["class"] == "crashed"
    assert failed["error"]["fault"] == "provider"
    assert failed["exit"]


def test_a_player_that_hangs_is_killed_at_its_deadline(symphony: Symphony) -> None:
    code, events = symphony.play(one_step(symphony, "hang", "ok", timeout_s=0.5))
    assert code == 0
    (failed,) = of(events, "step.failed")
    assert failed["error"]["class"] == "deadline"
    assert not psutil.pid_exists(of(events, "step.started")[0]["pid"])


def test_a_stopped_player_is_killed_at_its_deadline(symphony: Symphony) -> None:
    code, events = symphony.play(one_step(symphony, "stop", "ok", timeout_s=0.5))
    assert code == 0
    assert of(events, "step.failed")[0]["error"]["class"] == "deadline"


@pytest.mark.parametrize("word", ["wrong", "nothing"])
def test_a_wrong_output_is_refused_at_the_gate_with_the_field_named(
    symphony: Symphony, word: str
) -> None:
    code, events = symphony.play(one_step(symphony, word))
    assert code == 1
    gate = of(events, "gate")[0]
    assert gate["passed"] is False
    assert "answer" in gate["reason"]
    failed = of(events, "step.failed")[0]
    assert failed["error"]["class"] == "wrong-output"
    assert "answer" in failed["error"]["message"]
    assert not of(events, "step.finished")


def test_a_tree_deeper_than_any_recursion_is_removed(symphony: Symphony) -> None:
    code, _ = symphony.play(one_step(symphony, "deep"))
    assert code == 0
    for folder in ("instances", "trash", "spool"):
        assert list((symphony.home / folder).iterdir()) == []
    assert symphony.play(one_step(symphony, "ok"))[0] == 0


def test_a_result_too_large_to_travel_inline_fails_the_attempt_alone(symphony: Symphony) -> None:
    code, events = symphony.play(one_step(symphony, "large", "ok"))
    assert code == 0
    (failed,) = of(events, "step.failed")
    assert failed["error"]["class"] == "wrong-output"
    assert "answer" in failed["error"]["message"]


def test_the_shortest_timeout_is_one(symphony: Symphony) -> None:
    code, events = symphony.play(one_step(symphony, "hang", timeout_s=0.0001))
    assert {event["error"]["class"] for event in of(events, "step.failed")} == {"deadline"}
    assert code == 1


def test_an_exception_names_its_class(symphony: Symphony) -> None:
    code, events = symphony.play(one_step(symphony, "raise"))
    assert code == 1
    assert [event["attempt"] for event in of(events, "step.failed")] == [1, 2]
    assert of(events, "step.failed")[0]["error"]["class"] == "ValueError"
    assert of(events, "step.failed")[0]["error"]["message"] == "told to raise"


def test_what_a_player_refuses_is_not_asked_again(symphony: Symphony) -> None:
    code, events = symphony.play(one_step(symphony, "refuse", "ok"))
    assert code == 1
    assert len(of(events, "step.started")) == 1


def test_failures_of_one_step_leave_the_others_alone(symphony: Symphony) -> None:
    code, events = symphony.play(
        symphony.melody(
            {"id": "bad", "inputs": {"plan": ["crash", "crash", "ok"]}},
            *({"id": f"good-{n}", "inputs": {"plan": ["ok"]}} for n in range(4)),
        )
    )
    assert code == 0
    assert len(of(events, "step.finished")) == 5
    assert {e["step"] for e in of(events, "step.failed")} == {"bad"}


@pytest.mark.parametrize("member", ["dag", "artifacts"])
def test_a_pit_member_killed_mid_run_comes_back_and_nothing_is_lost(
    symphony: Symphony, member: str
) -> None:
    steps = [{"id": f"s{n}", "inputs": {"plan": ["ok"]}} for n in range(30)]
    for n, step in enumerate(steps[1:]):
        step["after"] = [f"s{n}"]
    melody = symphony.melody(*steps)
    process = symphony.start("run", melody, "--extensions", PLAYERS, "--json", "events.jsonl")
    events = symphony.folder / "events.jsonl"
    assert process.stderr is not None
    for line in process.stderr:
        if re.match(r"s5: succeeded", line):
            break
    (pid,) = [
        found.pid
        for found in psutil.process_iter(["cmdline"])
        if str(symphony.home / member) in (found.info["cmdline"] or [])
    ]
    os.kill(pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    told = [line for line in events.read_text().splitlines() if '"step.finished"' in line]
    assert len(told) == 30
    numbers = [int(re.search(r'"seq":(\d+)', line).group(1)) for line in told]  # type: ignore[union-attr]
    assert numbers == sorted(set(numbers))
