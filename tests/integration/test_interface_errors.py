"""Errors: `error: WHAT (WHERE)` and `help: REMEDY`, never a traceback, and the same as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_harness import PLAYERS, Symphony
from interface_checks import check_error_json, check_errors

OK = {"id": "a", "inputs": {"plan": ["ok"]}}
BAD_MELODY = """\
[melody]
name = "Not Good"
version = "1.0.0"

[[steps]]
id = "a"
capability = "no.such/1"

[[steps]]
id = "a"
capability = "test.act/1"
after = ["b"]

[[steps]]
id = "b"
capability = "test.act/1"
inputs = { plan = [], bogus = 1 }
after = ["a"]
"""


def test_a_bad_melody_tells_every_fault_with_its_line(symphony: Symphony) -> None:
    melody = symphony.write("bad.melody.toml", BAD_MELODY)
    done = symphony.kernel("run", melody, "--extensions", PLAYERS, "--json", "-")
    said = check_errors(done, 2, "no.such/1", "Not Good", "plan", "bogus", "twice")
    assert said.count("error: ") >= 5
    assert f"({melody}:2)" in said
    error = check_error_json(done)
    assert error["code"] == "bad-request"
    assert error["fault"] == "caller"
    assert len(error["problems"]) == said.count("error: ")
    assert symphony.kernel("runs", "list", "--json").stdout == '{"runs":[]}\n'


def test_a_melody_of_broken_toml(symphony: Symphony) -> None:
    melody = symphony.write("broken.melody.toml", "[melody]\nname = [\n")
    check_errors(symphony.kernel("run", melody), 2, "not valid TOML", f"{melody}:")


def test_a_cycle_is_named(symphony: Symphony) -> None:
    melody = symphony.melody({**OK, "after": ["b"]}, {**OK, "id": "b", "after": ["a"]})
    check_errors(symphony.kernel("run", melody, "--extensions", PLAYERS), 2, "circle")


def test_a_bad_manifest_tells_every_fault_with_its_line(symphony: Symphony) -> None:
    manifest = symphony.write("bad/extension.toml", '[extension]\nname = "X"\nbogus = 1\n')
    done = symphony.ext("check", "bad", "--json")
    said = check_errors(done, 2, "extension.toml:2", "bogus", "provides", "version", "entry")
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    assert len(answer["problems"]) == said.count("error: ") >= 5
    assert answer["error"]["code"] == "bad-request"
    check_errors(symphony.kernel("run", symphony.melody(OK), "--extensions", manifest.parent), 2)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", "missing.melody.toml"], 2),
        (["run"], 2),
        (["run", "missing.melody.toml", "--resume", "x"], 2),
        (["run", "--resume", "no-such-run"], 4),
        (["run", "--resume", "No Name"], 4),
        (["runs", "show", "no-such-run"], 4),
        (["runs", "list", "--limit", "0"], 2),
        (["artifacts", "get", "no-such-artifact", "--out", "copy"], 4),
        (["artifacts", "get", "blake3:00", "--out", "copy"], 4),
        (["artifacts", "show", "blake3:" + "0" * 64], 4),
        (["schema", "no-such-schema"], 2),
        (["status"], 5),
        (["stop"], 5),
        (["no-such-command"], 2),
        (["serve", "--no-such-option"], 2),
        (["serve", "--sandbox", "loose"], 2),
    ],
    ids=str,
)
def test_one_clear_error_as_text_and_json(symphony: Symphony, words: list[str], code: int) -> None:
    check_errors(symphony.kernel(*words), code)
    done = symphony.kernel(*words, "--json", *(["-"] if words[0] == "run" else []))
    check_errors(done, code)
    check_error_json(done)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["check", "no-such-folder"], 2),
        (["attach", "no-such-folder"], 2),
        (["attach", str(PLAYERS / "files")], 5),
        (["call", "test.act/1"], 5),
        (["call", "test.act/1", "--json", "[]"], 2),
        (["call", "test.act/1", "--json", "{"], 2),
        (["create", "Not Good"], 2),
        (["create", "good", "--in", "/proc"], 6),
        (["no-such-command"], 2),
    ],
    ids=str,
)
def test_one_clear_error_of_the_other_command(
    symphony: Symphony, words: list[str], code: int
) -> None:
    check_errors(symphony.ext(*words), code)


def test_an_unknown_input_and_a_missing_file(symphony: Symphony) -> None:
    step = {"id": "a", "capability": "test.shout/1", "inputs": {"source": "$inputs.text"}}
    melody = symphony.melody(step, inputs={"text": {"type": "file"}})
    run = ("run", melody, "--extensions", PLAYERS)
    check_errors(symphony.kernel(*run), 2, "text")
    check_errors(symphony.kernel(*run, "--input", "text=none.txt"), 2, "none.txt")
    symphony.write("in.txt", "hello")
    unknown = symphony.kernel(*run, "--input", "text=in.txt", "--input", "other=1")
    check_errors(unknown, 2, "other")


@pytest.mark.parametrize(
    ("option", "path"),
    [
        ("--json", "file/events.jsonl"),
        ("--json", "/proc/events.jsonl"),
        ("--junit", "file/report.xml"),
        ("--junit", "/proc/report.xml"),
        ("--junit", "folder"),
        ("--out", "file/result"),
        ("--out", "/proc/result"),
        ("--out", "file"),
    ],
)
def test_unwritable_output_is_refused_before_anything_is_started(
    symphony: Symphony, option: str, path: str
) -> None:
    symphony.write("file", "content")
    (symphony.folder / "folder").mkdir()
    melody = symphony.melody(OK)
    done = symphony.kernel("run", melody, "--extensions", PLAYERS, option, path)
    said = check_errors(done, 6, path)
    assert said.count("error: ") == 1
    assert "run test-" not in said, "no run was opened"
    assert (symphony.folder / "file").read_text() == "content"


def test_a_folder_that_may_not_be_written(symphony: Symphony) -> None:
    closed = symphony.folder / "closed"
    closed.mkdir(mode=0o500)
    melody = symphony.melody(OK)
    arguments = ["run", str(melody), "--extensions", str(PLAYERS), "--out", "closed"]
    command = [sys.executable, "-m", "symphony.kernel.cli.kernel", *arguments]
    if os.geteuid() == 0:  # root without its right to write everywhere is like anybody
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]
    done = subprocess.run(
        command,
        cwd=symphony.folder,
        env=symphony.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    check_errors(done, 6, "closed", "not writable")


def test_events_onto_a_full_disk_leave_a_run_to_go_on_with(symphony: Symphony) -> None:
    melody = symphony.melody(OK)
    done = symphony.kernel("run", melody, "--extensions", PLAYERS, "--json", "/dev/full")
    last = check_errors(done, 6, "/dev/full").splitlines()[-1]
    run = last.partition("symphony-kernel run --resume ")[2].split()[0]
    again = symphony.kernel("run", "--resume", run, "--extensions", PLAYERS)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("words", [["runs", "list", "--json"], ["schema", "events"], ["--help"]])
def test_an_answer_onto_a_full_disk(symphony: Symphony, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "symphony.kernel.cli.kernel", *words],
            env=symphony.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 6
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_reader_of_events_who_goes_away(symphony: Symphony) -> None:
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}}, {**OK, "id": "b"})
    process = symphony.start("run", melody, "--extensions", PLAYERS, "--json", "-")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait() == 6
    assert "error: the events cannot be written" in said
    assert "symphony-kernel run --resume" in said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
