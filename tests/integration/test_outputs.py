"""Where a run's results, events and report go, also when it ends early or its reader goes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from command_harness import PLAYERS, Symphony, of
from interface_checks import check_errors

OK = {"id": "a", "inputs": {"plan": ["ok"]}}
GIVEN = ("--extensions", PLAYERS, "--headless")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def suite_of(content: str | Path) -> ET.Element:
    text = content.read_text() if isinstance(content, Path) else content
    suite = ET.fromstring(text).find("testsuite")  # noqa: S314 - ours
    assert suite is not None
    return suite


def outcomes(suite: ET.Element) -> dict[str | None, list[tuple[str, str | None]]]:
    return {
        case.get("name"): [(child.tag, child.get("message")) for child in case]
        for case in suite.findall("testcase")
    }


# The report.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_a_report(symphony: Symphony, number: signal.Signals) -> None:
    melody = symphony.melody(
        {"id": "done", "inputs": {"plan": ["ok"]}},
        {"id": "hangs", "inputs": {"plan": ["hang", "ok"]}, "after": ["done"]},
        {"id": "waits", "inputs": {"plan": ["ok"]}, "after": ["hangs"]},
    )
    process = symphony.start("run", melody, *GIVEN, "--junit", "report.xml")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("hangs: running"):
            break
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    suite = suite_of(symphony.folder / "report.xml")
    assert (suite.get("tests"), suite.get("errors"), suite.get("skipped")) == ("3", "1", "1")
    found = outcomes(suite)
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert found["done"] == []
    assert found["hangs"] == [("error", f"the run was {word}; it is resumable")]
    assert found["waits"] == [("skipped", f"the run was {word}; it is resumable")]
    run = said.partition("--resume ")[2].split()[0]
    done = symphony.kernel("run", "--resume", run, *GIVEN, "--junit", "report.xml")
    assert done.returncode == 0, done.stderr
    assert outcomes(suite_of(symphony.folder / "report.xml")) == {
        "done": [],
        "hangs": [],
        "waits": [],
    }


def test_a_run_that_ends_by_an_error_leaves_a_report(symphony: Symphony) -> None:
    done = symphony.kernel(
        "run", symphony.melody(OK), *GIVEN, "--json", "/dev/full", "--junit", "report.xml"
    )
    check_errors(done, 6, "/dev/full")
    ((kind, reason),) = outcomes(suite_of(symphony.folder / "report.xml"))["a"]
    assert kind in ("skipped", "error")
    assert reason is not None
    assert "the events cannot be written" in reason


def test_the_report_onto_a_pipe(symphony: Symphony) -> None:
    pipe = symphony.folder / "report"
    os.mkfifo(pipe)
    process = symphony.start("run", symphony.melody(OK), *GIVEN, "--junit", pipe)
    suite = suite_of(pipe.read_text())  # waits until the report is written
    assert process.wait(30) == 0
    assert suite.get("tests") == "1"
    assert pipe.is_fifo()


# Events.


def test_events_onto_a_pipe_wait_for_its_reader(symphony: Symphony) -> None:
    pipe = symphony.folder / "events"
    os.mkfifo(pipe)
    process = symphony.start("run", symphony.melody(OK), *GIVEN, "--json", pipe)
    assert process.stderr is not None
    assert process.stderr.readline() == f"waiting for a reader of the pipe {pipe}\n"
    events = [json.loads(line) for line in pipe.read_text().splitlines()]
    assert process.wait(30) == 0
    assert events[-1]["event"] == "run.finished"


def test_events_onto_a_pipe_that_nobody_reads(symphony: Symphony) -> None:
    os.mkfifo(symphony.folder / "events")
    done = symphony.kernel("run", symphony.melody(OK), *GIVEN, "--json", "events")
    said = check_errors(done, 6, "nobody has read the pipe")
    assert "run test-" not in said


def test_ctrl_c_ends_the_wait_for_a_reader(symphony: Symphony) -> None:
    os.mkfifo(symphony.folder / "events")
    process = symphony.start("run", symphony.melody(OK), *GIVEN, "--json", "events")
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "Traceback" not in process.stderr.read()


def test_a_flood_of_progress_does_not_flood_the_events(symphony: Symphony) -> None:
    code, events = symphony.play(symphony.melody({"id": "a", "inputs": {"plan": ["flood"]}}))
    assert code == 0
    told = of(events, "step.progress", step="a")
    assert 1 < len(told) < 300
    assert told[-1]["done"] == 3000
    assert events.index(told[-1]) < events.index(of(events, "step.finished")[0])


def unread(
    symphony: Symphony, words: list[str], stderr: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """A command whose standard output nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        return subprocess.run(
            [sys.executable, "-m", "symphony.kernel.cli.kernel", *words],
            cwd=symphony.folder,
            env=symphony.environment,
            stdout=closed,
            stderr=stderr,
            text=True,
            check=False,
        )


@pytest.mark.parametrize(
    "words",
    [
        ["runs", "list"],
        ["runs", "list", "--json"],
        ["artifacts", "get", "text"],
        ["--help"],
        ["schema", "events"],
        ["run", "test.melody.json", "--extensions", str(PLAYERS)],
    ],
    ids=str,
)
def test_who_reads_only_the_beginning_gets_no_traceback(
    symphony: Symphony, words: list[str]
) -> None:
    symphony.melody(OK)
    if words[0] == "artifacts":
        assert symphony.play(symphony.melody({**OK, "id": "b"}))[0] == 0
        words = ["artifacts", "get", "answer"]
    done = unread(symphony, words)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_nobody_reads_and_the_run_ends_as_it_ends(symphony: Symphony) -> None:
    melody = symphony.melody({**OK, "inputs": {"plan": ["raise"]}, "retry": {"attempts": 1}})
    words = ["run", str(melody), "--extensions", str(PLAYERS)]
    assert unread(symphony, words).returncode == 1
    assert unread(symphony, words, stderr=subprocess.STDOUT).returncode == 1
    shown = json.loads(symphony.kernel("runs", "list", "--json").stdout)["runs"]
    assert [run["state"] for run in shown] == ["failed", "failed"]


# Results.


def test_values_are_delivered_under_the_outputs_name(symphony: Symphony) -> None:
    melody = symphony.melody(OK, outputs={"greeting": "$steps.a.answer", "mark": "$steps.a.score"})
    code, events = symphony.play(melody, "--out", "result")
    assert code == 0
    out = symphony.folder / "result"
    assert (out / "greeting.txt").read_text() == "ok"
    assert json.loads((out / "mark.json").read_text()) == 0.9
    artifacts = of(events, "run.finished")[0]["artifacts"]
    assert artifacts["greeting"]["path"] == str(out / "greeting.txt")
    assert artifacts["mark"]["path"] == str(out / "mark.json")
    assert {path.name for path in out.iterdir()} == {"greeting.txt", "mark.json"}


@pytest.mark.parametrize("where", ["", "artifacts", "results/of/mine"])
def test_results_never_go_into_the_home(symphony: Symphony, where: str) -> None:
    out = symphony.home / where
    done = symphony.kernel("run", symphony.melody(OK), *GIVEN, "--out", out)
    said = check_errors(done, 2, str(out), "--out")
    assert "run test-" not in said
    assert not (symphony.home / "results").exists()


def test_results_into_a_link_to_the_home(symphony: Symphony) -> None:
    (symphony.folder / "link").symlink_to(symphony.home)
    done = symphony.kernel("run", symphony.melody(OK), *GIVEN, "--out", "link/mine")
    check_errors(done, 2, "--out")


def test_a_folder_without_a_name(symphony: Symphony) -> None:
    done = symphony.kernel("run", symphony.melody(OK), *GIVEN, "--out", "")
    check_errors(done, 2, "no name", "--out")


# Inputs.


def taking(symphony: Symphony, kind: str) -> Path:
    step = {"id": "a", "capability": "test.shout/1", "inputs": {"source": "$inputs.text"}}
    if kind == "folder":
        step = {**OK, "condition": "inputs.text != null"}
    return symphony.melody(step, inputs={"text": {"type": kind}})


@pytest.mark.parametrize("path", ["/proc/kmsg", "/dev/zero", "/dev/kmsg", "/proc/uptime", "pipe"])
def test_devices_are_no_input(symphony: Symphony, path: str) -> None:
    os.mkfifo(symphony.folder / "pipe")
    done = symphony.kernel("run", taking(symphony, "file"), *GIVEN, "--input", f"text={path}")
    said = check_errors(done, 2, path, "--input text")
    assert "run test-" not in said


def test_a_folder_with_a_pipe_or_a_loop_is_no_input(symphony: Symphony) -> None:
    symphony.write("in/deep/file", "fine")
    os.mkfifo(symphony.folder / "in" / "deep" / "pipe")
    (symphony.folder / "in" / "deep" / "loop").symlink_to(symphony.folder / "in")
    (symphony.folder / "in" / "gone").symlink_to("nowhere")
    done = symphony.kernel("run", taking(symphony, "folder"), *GIVEN, "--input", "text=in")
    said = check_errors(done, 2, "in/deep/pipe", "in/deep/loop", "in/gone")
    assert said.count("error: ") == 3


def test_an_empty_file_is_an_input(symphony: Symphony) -> None:
    symphony.write("in.txt", "")
    done = symphony.kernel("run", taking(symphony, "file"), *GIVEN, "--input", "text=in.txt")
    assert done.returncode == 0, done.stderr


# Undo of a delivery.


def delivering(symphony: Symphony) -> Path:
    enhance: dict[str, Any] = {
        "id": "enhance",
        "capability": "prompt.enhance/1",
        "inputs": {"brief": "$inputs.brief"},
    }
    deliver: dict[str, Any] = {
        "id": "deliver",
        "capability": "output.deliver/1",
        "inputs": {"enhanced_prompt": "$steps.enhance.enhanced_prompt"},
    }
    data = {
        "melody": {"name": "test", "version": "1.0.0"},
        "inputs": {"brief": {"type": "file"}},
        "steps": [enhance, deliver],
    }
    return symphony.write("deliver.melody.json", json.dumps(data))


def test_a_delivery_is_taken_back(symphony: Symphony) -> None:
    melody = delivering(symphony)
    out = symphony.folder / "result"
    former = {}
    for brief in ("# A shop\n\nUsers can list books.", "# A bank\n\nUsers can open an account."):
        former = snapshot(out)
        symphony.write("brief.md", brief)
        done = symphony.kernel("run", melody, "--input", "brief=brief.md", "--out", out)
        assert done.returncode == 0, done.stderr
    assert former["enhanced_prompt.txt"] != snapshot(out)["enhanced_prompt.txt"]
    symphony.serve()
    undo = ("call", "output.deliver/1", "--method", "undo")
    done = symphony.ext(*undo, "--out", out)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"result": {"enhanced_prompt.txt": "restored"}}
    assert snapshot(out) == former
    assert json.loads(symphony.ext(*undo, "--out", out).stdout)["result"] == {
        "enhanced_prompt.txt": "removed"
    }
    check_errors(symphony.ext(*undo, "--out", out), 4, "nothing to undo")


def test_undo_says_what_it_needs(symphony: Symphony) -> None:
    symphony.serve("--extensions", PLAYERS)
    undo = ("call", "output.deliver/1", "--method", "undo")
    check_errors(symphony.ext(*undo), 2, "--out")
    check_errors(symphony.ext(*undo, "--out", "nowhere"), 2, "nowhere")
    check_errors(symphony.ext(*undo, "--out", symphony.home), 2, "home")
    check_errors(symphony.ext(*undo, "--out", ""), 2, "--out")
    (symphony.folder / "here").mkdir()
    plan = ("--json", '{"plan": ["ok"]}', "--player", "trouble")
    check_errors(symphony.ext("call", "test.act/1", *plan, "--out", "here"), 2, "--out")
    unknown = ("call", "test.act/1", "--method", "fly", "--player", "trouble")
    check_errors(symphony.ext(*unknown), 2, "fly")


# What a failed run says.


def test_a_failed_run_names_the_class_the_log_and_the_command(symphony: Symphony) -> None:
    step = {"id": "a", "inputs": {"plan": ["raise"]}, "retry": {"attempts": 1}}
    done = symphony.kernel("run", symphony.melody(step), *GIVEN)
    said = check_errors(done, 1)
    assert "a: failed (ValueError: told to raise)" in said
    found = re.search(r"help: see `(symphony-kernel runs show \S+)` and the log (\S+)", said)
    assert found is not None, said
    assert '"traceback"' in Path(found[2]).read_text().replace("traceback=", '"traceback"')
    shown = symphony.kernel(*found[1].split()[1:])
    assert f"ValueError: told to raise; see the log {found[2]}" in shown.stdout
    assert "symphony-kernel status" not in said
    assert "degraded" not in said


def test_a_gate_that_cannot_be_decided_is_the_melodys_fault(symphony: Symphony) -> None:
    step = {
        "id": "a",
        "inputs": {"plan": ["ok"]},
        "gate": {"expression": "1 / int(inputs.none) > 0"},
        "fallbacks": ["understudy"],
        "retry": {"attempts": 3, "backoff_s": 0},
    }
    melody = symphony.melody(step, inputs={"none": {"type": "integer", "default": 0}})
    code, events = symphony.play(melody)
    assert code == 1
    assert len(of(events, "step.started")) == 1
    (failed,) = of(events, "step.failed")
    assert failed["error"]["fault"] == "caller"
    assert failed["error"]["class"] == "gate-undecidable"
    (decision,) = of(events, "decision", action="fail")
    assert "Melody must be corrected" in decision["reason"]
