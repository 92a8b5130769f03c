"""Homes that are full, closed or damaged, streams that are closed, players that write escapes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_harness import Symphony, of
from interface_checks import check_error_json, check_errors

MANIFEST = """
[extension]
name = "odd"
version = "1.0.0"
description = "Fills its outbox, writes escapes, or reports no numbers."
entry = { python = "main.py" }

[[provides]]
capability = "test.odd/1"

[provides.inputs]
what = { type = "text" }

[provides.outputs]
answer = { type = "text" }
"""
PLAYER = r"""
import math, os
from symphony.bus.extension import Extension

ext = Extension()

@ext.provides("test.odd/1")
def odd(ctx, what: str) -> dict:
    if what in ("raise", "exit"):
        try:
            with (ctx.outbox / "large").open("wb", buffering=0) as file:
                for _ in range(24):
                    block = memoryview(bytes(1 << 20))
                    while block:
                        block = block[file.write(block):]
        except OSError:
            if what == "exit":
                os._exit(1)
            raise
    elif what == "escape":
        ctx.progress(1, 2, "\x1b[2J\nerror: forged (progress)")
        raise ValueError("\x1b[2J\x9b1m\r\nerror: forged (by a player)\nhelp: none")
    elif what == "numbers":
        for done in (math.nan, math.inf, 1):
            ctx.progress(done, 2)
    return {"answer": what}

ext.run()
"""
GIVEN = ("--extensions", "odd", "--json", "events.jsonl")


@pytest.fixture
def home(symphony: Symphony) -> Iterator[Symphony]:
    """A home on a small file system of its own."""
    mount("size=16m,mode=0700", symphony.home)
    try:
        yield symphony
    finally:
        subprocess.run(["umount", "--lazy", str(symphony.home)], check=True)


def mount(options: str, place: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "symphony-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root's right to")


def odd(symphony: Symphony, what: str) -> Path:
    symphony.write("odd/extension.toml", MANIFEST)
    symphony.write("odd/main.py", PLAYER)
    step = {"id": "a", "capability": "test.odd/1", "inputs": {"what": what}}
    return symphony.melody({**step, "retry": {"attempts": 2, "backoff_s": 0}})


def told(symphony: Symphony) -> list[dict[str, Any]]:
    lines = (symphony.folder / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("what", ["raise", "exit"])
def test_a_player_that_fails_of_a_full_disk_is_not_to_blame(home: Symphony, what: str) -> None:
    done = home.kernel("run", odd(home, what), *GIVEN)
    said = check_errors(done, 6, "disk is full", "--resume")
    assert "Logging error" not in said
    assert not of(told(home), "step.failed")
    (run,) = json.loads(home.kernel("runs", "list", "--json").stdout)["runs"]
    assert run["state"] == "open"
    subprocess.run(["mount", "-o", "remount,size=256m", str(home.home)], check=True)
    again = home.kernel("run", "--resume", run["run"], *GIVEN)
    assert again.returncode == 0, again.stderr


def test_a_member_that_cannot_even_be_started_is_told(symphony: Symphony) -> None:
    instances = symphony.home / "instances"
    instances.mkdir(mode=0o700)
    symphony.home.chmod(0o700)
    mount("ro,mode=0700", instances)
    try:
        done = symphony.kernel("runs", "list", "--json", timeout=30)
    finally:
        subprocess.run(["umount", "--lazy", str(instances)], check=True)
    check_errors(done, 6, "cannot be started: Read-only file system", str(instances))
    check_error_json(done)


def test_a_home_that_is_no_text_is_refused(symphony: Symphony) -> None:
    command = [sys.executable, "-m", "symphony.kernel.cli.kernel", "runs", "list", "--home"]
    done = subprocess.run(
        [*map(os.fsencode, command), os.fsencode(symphony.folder) + b"/\xff"],
        env=symphony.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    check_errors(done, 2, "not valid UTF-8")


@pytest.mark.parametrize(
    ("place", "content", "title"),
    [
        ("dag/format", b"99\n", "DAG Tracker"),
        ("artifacts/index.redb", b"junk" * 4096, "Artifact Store"),
    ],
)
def test_a_store_that_cannot_be_opened_is_told_once(
    symphony: Symphony, place: str, content: bytes, title: str
) -> None:
    for command in ("runs", "artifacts"):
        assert symphony.kernel(command, "list").returncode == 0
    (symphony.home / place).write_bytes(content)
    command = "runs" if title == "DAG Tracker" else "artifacts"
    done = symphony.kernel(command, "list", "--json")
    said = check_errors(done, 6, f"the {title} cannot open its store: ")
    error = check_error_json(done)
    assert error["fault"] == "environment"
    assert said.count("error: ") == 1
    assert said.count("help: ") == 1


def test_a_damaged_ticket_of_the_console(symphony: Symphony) -> None:
    symphony.serve()
    ticket = place(symphony)
    whole = ticket.read_bytes()
    ticket.write_bytes(b"garbage")
    done = symphony.kernel("status", "--json")
    check_errors(done, 6, str(ticket), "kill ")
    assert check_error_json(done)["fault"] == "environment"
    ticket.write_bytes(whole)
    assert symphony.kernel("stop").returncode == 0


def place(symphony: Symphony) -> Path:
    from symphony.kernel.places import Places

    return Places.find(symphony.home, symphony.environment).console


def test_a_pipe_in_place_of_the_lock(symphony: Symphony) -> None:
    symphony.home.chmod(0o700)
    os.mkfifo(symphony.home / "kernel.lock")
    for command in (("status",), ("runs", "list")):
        done = symphony.kernel(*command, timeout=30)
        check_errors(done, 5 if command == ("status",) else 6, str(symphony.home))
    (symphony.home / "kernel.lock").unlink()


def test_a_pipe_in_place_of_the_last_figures_of_budgets(symphony: Symphony) -> None:
    symphony.home.chmod(0o700)
    os.mkfifo(symphony.home / "budgets.last")
    assert symphony.kernel("runs", "list", timeout=30).returncode == 0


def test_what_would_be_lost_on_a_closed_stream_is_an_error(symphony: Symphony) -> None:
    odd(symphony, "fine")
    run = "symphony-kernel run test.melody.json --extensions odd"
    for command in (f"{run} --json -", "symphony-kernel schema --json"):
        check_errors(symphony.shell(f"{command} >&-"), 6, "standard output")
    assert symphony.shell(f"{run} >&-").returncode == 0
    get = "symphony-kernel artifacts get answer"
    assert symphony.shell(get).stdout == "fine"
    check_errors(symphony.shell(f"{get} >&-"), 6, "standard output")
    check_errors(symphony.shell(f"{get} >/dev/full"), 6, "standard output")


def test_escapes_of_a_player_do_not_reach_the_terminal(symphony: Symphony) -> None:
    done = symphony.kernel("run", odd(symphony, "escape"), *GIVEN)
    check_errors(done, 1)
    assert "\\x1b[2J" in done.stderr
    shown = symphony.kernel("runs", "show", told(symphony)[0]["run"])
    for text in (done.stdout, done.stderr, shown.stdout):
        assert not any((ord(c) < 0x20 and c != "\n") or 0x7F <= ord(c) < 0xA0 for c in text)
        assert not any(
            line.startswith(("error: forged", "help: none")) for line in text.split("\n")
        )


def test_progress_is_a_number(symphony: Symphony) -> None:
    done = symphony.kernel("run", odd(symphony, "numbers"), *GIVEN)
    assert done.returncode == 0, done.stderr
    assert [event["done"] for event in of(told(symphony), "step.progress")] == [1]
