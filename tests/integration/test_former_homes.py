"""Homes that former versions wrote open, and their runs go on; those of later ones are refused."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from command_harness import PLAYERS, Symphony
from interface_checks import check_answer, check_errors

HOME = Path(__file__).parent / "homes" / "home-0.1.0.tar.gz"
DONE, OPEN = "test-20261123-a7f3c1", "test-20261123-02971f"


@pytest.fixture
def former(symphony: Symphony) -> Symphony:
    with tarfile.open(HOME) as archive:
        archive.extractall(symphony.home, filter="data")
    assert (symphony.home / "dag" / "format").read_text() == "symphony-dag 1\n"
    assert (symphony.home / "artifacts" / "format").read_text() == "symphony-artifacts 1\n"
    return symphony


def test_everything_in_it_is_there_and_sound(former: Symphony) -> None:
    runs = {run["run"]: run["state"] for run in former.answer("runs", "list")["runs"]}
    assert runs == {DONE: "succeeded", OPEN: "open"}
    shown = former.answer("runs", "show", DONE)
    text = shown["artifacts"]["x"]["reference"]
    assert former.kernel("artifacts", "get", text).stdout == "written by 0.1.0"
    folder = shown["artifacts"]["z"]["reference"]
    assert former.kernel("artifacts", "get", folder, "--out", "pages").returncode == 0
    page = former.folder / "pages" / "deep" / "0.txt"
    assert page.read_text() == "written by 0.1.0"
    sound = check_answer("sound", former.kernel("verify", "--json"))
    assert sound["runs"] == 2
    lineage = former.answer("artifacts", "lineage", shown["artifacts"]["y"]["reference"])
    assert text in {node["ref"] for node in lineage["nodes"]}


def test_its_open_run_goes_on(former: Symphony) -> None:
    again = ("run", "--resume", OPEN, "--extensions", PLAYERS, "--json", "-")
    done = former.kernel(*again)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {e["step"] for e in events if e["event"] == "step.finished"} == {"c"}


def test_a_backup_of_it_is_one_of_this_version(former: Symphony) -> None:
    assert former.kernel("backup", "monday").returncode == 0
    new = former.folder / "new home"
    assert former.kernel("restore", "monday", "--home", new).returncode == 0
    assert former.kernel("verify", "--home", new).returncode == 0


ASKED = {
    "dag": ("runs", "list"),
    "artifacts": ("artifacts", "list"),
    "stale": ("stale", "report"),
    "arbitration": ("budget",),
    "pool": ("pool",),
}


@pytest.mark.parametrize("store", ASKED)
def test_a_store_of_a_later_version_says_what_to_do(symphony: Symphony, store: str) -> None:
    assert symphony.kernel(*ASKED[store]).returncode == 0
    path = symphony.home / store / "format"
    name = path.read_text().split()[0]
    path.write_text(f"{name} 99\n")
    check_errors(symphony.kernel(*ASKED[store]), 6, "99", "version")
    assert path.read_text() == f"{name} 99\n"
