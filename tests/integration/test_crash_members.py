"""Each member of the Pit, killed under load on a disk that may lose its power.

The long form is `scripts/crash`: a hundred kills of each.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
MEMBERS = ["dag", "artifacts", "arbitration", "pool", "stale"]
KILLS = 10

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cc") is None, reason="the disk is built by a C compiler"),
]


def crash(*options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPTS / "crashing.py", *options, "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)


def only_line(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    (line,) = done.stdout.splitlines()
    report: dict[str, Any] = json.loads(line)
    return report


@pytest.mark.parametrize("member", MEMBERS)
def test_nothing_acknowledged_is_lost_or_done_twice(member: str, tmp_path: Path) -> None:
    seed = os.environ.get("SYMPHONY_SEED", "1")
    kept = tmp_path / "crashes.jsonl"
    asked = ("--member", member, "--kills", str(KILLS), "--seed", seed, "--keep", kept)
    done = crash(*asked)
    report = only_line(done)
    assert (done.returncode, report["faults"]) == (0, [])
    assert report["kills"] == sum(report["harms"].values()) == KILLS
    assert sum(report["acknowledged"].values()) > 5 * KILLS
    assert report["refused"] == (member != "artifacts"), "rot of what was acknowledged"
    assert 0 < report["recovery_ms"] <= report["recovery_max_ms"]
    again = crash(*asked)
    assert (again.returncode, again.stdout) == (0, "")
    assert f"{member}: killed before" in again.stderr


@pytest.mark.parametrize("member", MEMBERS)
def test_on_a_disk_that_lies_the_losses_are_found(member: str) -> None:
    """The proof can fail: here no sync does anything."""
    done = crash("--member", member, "--kills", "6", "--seed", "3", "--without-sync")
    assert done.returncode == 1
    assert only_line(done)["faults"]


def test_no_kills_are_bad_usage() -> None:
    done = crash("--kills", "0")
    assert (done.returncode, done.stdout) == (2, "")
