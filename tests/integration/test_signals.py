"""SIGINT and SIGTERM at every stage of a command: its exit code and a last line, nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from command_harness import PLAYERS, Symphony

# The command as its entry point starts it; it gets the signal when it imports a module, or when
# it calls a function for the first time.
AT_IMPORT = """
import os, sys
from symphony.kernel.cli.entry import kernel

stage, number = sys.argv[1:3]
sys.argv[1:3] = []

class Finder:
    def find_spec(name, path=None, target=None):
        if name == stage:
            os.kill(os.getpid(), int(number))

sys.meta_path.insert(0, Finder)
kernel()
"""
AT_CALL = """
import importlib, os, sys
from symphony.kernel.cli.entry import kernel

stage, number = sys.argv[1:3]
sys.argv[1:3] = []
module, kind, name = stage.split(":")
owner = getattr(importlib.import_module(module), kind)
inner = getattr(owner, name)

def first(*given):
    setattr(owner, name, inner)
    os.kill(os.getpid(), int(number))
    return inner(*given)

setattr(owner, name, first)
kernel()
"""
SIGNALS = [(signal.SIGINT, 130, "interrupted: "), (signal.SIGTERM, 143, "terminated: ")]
STAGES = (
    "symphony.kernel.places:Places:create",
    "symphony.kernel.pit.watch:Watch:start",
    "symphony.kernel.console:Console:open",
)
RUN = ("run", "test.melody.json", "--extensions", PLAYERS)


def signalled(
    symphony: Symphony, how: str, stage: str, number: signal.Signals, *arguments: object
) -> subprocess.CompletedProcess[str]:
    symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})
    done = subprocess.run(
        [sys.executable, "-c", how, stage, str(int(number)), *map(str, arguments)],
        cwd=symphony.folder,
        env=symphony.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "destroyed" not in done.stderr
    return done


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
@pytest.mark.parametrize(
    "stage", ["typer", "msgspec", "asyncio", "symphony.kernel.plays", "symphony.bus.hub"]
)
def test_while_it_reads_its_modules(
    symphony: Symphony, stage: str, number: signal.Signals, code: int, word: str
) -> None:
    done = signalled(symphony, AT_IMPORT, stage, number, *RUN)
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1].startswith(word)


@pytest.mark.parametrize(("number", "code", "word"), SIGNALS)
@pytest.mark.parametrize(
    ("command", "stage"),
    [
        (command, stage)
        for command in (RUN, ("serve",), ("runs", "list"))
        for stage in STAGES[: 2 if command[0] == "runs" else 3]  # a question has no console
    ],
)
def test_while_it_starts(
    symphony: Symphony,
    command: tuple[str, ...],
    stage: str,
    number: signal.Signals,
    code: int,
    word: str,
) -> None:
    done = signalled(symphony, AT_CALL, stage, number, *command)
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(("ended by a signal", word) if command[0] == "serve" else word)
    after = symphony.kernel("run", *RUN[1:])
    assert after.returncode == 0, after.stderr


def test_what_is_done_stays_done_when_it_comes_late(symphony: Symphony) -> None:
    stage = "symphony.kernel.kernel:Kernel:close"
    done = signalled(symphony, AT_CALL, stage, signal.SIGTERM, *RUN)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(symphony.kernel("runs", "list", "--json").stdout)["runs"]
    assert run["state"] == "succeeded"
