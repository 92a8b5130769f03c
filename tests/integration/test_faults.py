"""Players that die, hang or lie, and Pit members that die, in real runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
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


def test_a_player_that_breaks_the_bus_protocol_is_killed(symphony: Symphony) -> None:
    """Its connection is cut; the process that still runs behind it goes with it, at once."""
    step = {"id": "a", "capability": "test.break/1", "timeout_s": 60, "retry": {"attempts": 1}}
    code, events = symphony.play(symphony.melody(step))
    assert code == 1
    (failed,) = of(events, "step.failed")
    assert failed["error"]["class"] == "crashed"
    assert failed["exit"] == "it sent what the bus protocol forbids"
    assert not psutil.pid_exists(of(events, "step.started")[0]["pid"])


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


@pytest.mark.parametrize("member", ["dag", "artifacts", "pool", "arbitration", "stale"])
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


def test_a_player_that_says_bye_after_its_result_leaves_nothing(symphony: Symphony) -> None:
    leave = {"capability": "test.leave/1"}
    melody = symphony.melody(
        {"id": "a", **leave},
        {"id": "b", **leave, "after": ["a"]},
        {"id": "c", **leave, "after": ["b"]},
        {"id": "d", "inputs": {"plan": ["hang"]}, "after": ["b"]},
    )
    process = symphony.start("run", melody, "--extensions", PLAYERS, "--json", "events.jsonl")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("c: succeeded"):
            break
    told = (symphony.folder / "events.jsonl").read_text().splitlines()
    started = of([json.loads(line) for line in told], "step.started", player="leaver")
    assert [event["attempt"] for event in started] == [1, 1, 1]
    assert len({event["instance"] for event in started}) == 3
    for event in started:  # while the run goes on, not only at its end
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(event["pid"]).wait(timeout=20)
    watched = [symphony.home / "instances" / event["instance"] for event in started]
    assert gone_in_time(watched)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert list((symphony.home / "instances").iterdir()) == []
    assert list((symphony.home / "trash").iterdir()) == []


IDLER = """
import threading

from symphony.bus.context import Log
from symphony.bus.ticket import Ticket
from symphony.bus.worker import _Worker
from main import ext, os


class Idler(_Worker):
    def _activate(self, activated):
        super()._activate(activated)
        raise SystemExit


try:
    Idler(ext, Ticket.load(os.environ)).run(Log())
except SystemExit:
    threading.Event().wait()
"""


def test_a_player_that_says_bye_while_it_is_idle_is_ended(symphony: Symphony) -> None:
    shutil.copytree(PLAYERS / "leaver", symphony.folder / "leaver")
    manifest = symphony.folder / "leaver" / "extension.toml"
    manifest.write_text(manifest.read_text().replace("main.py", "idler.py"))
    symphony.write("leaver/idler.py", IDLER)
    symphony.serve()
    done = symphony.ext("attach", "leaver", "--background", "--json")
    assert done.returncode == 0, done.stderr
    attached = json.loads(done.stdout)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(attached["pid"]).wait(timeout=20)
    assert gone_in_time([symphony.home / "instances" / attached["instance"]])


def gone_in_time(paths: list[Path]) -> bool:
    """A process is gone a moment before its folder is."""
    until = time.monotonic() + 20
    while any(path.exists() for path in paths):
        if time.monotonic() > until:
            return False
        os.sched_yield()
    return True
