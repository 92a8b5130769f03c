"""A disk that becomes full in the middle of a run, which stays and goes on later; a home that is
full or read-only: what to do is said, and where."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_harness import PLAYERS, Symphony
from interface_checks import check_errors
from smalldisk import fill, mounted

SIZE = "8m"


@pytest.fixture(params=["dag", "artifacts"])
def small(request: pytest.FixtureRequest, symphony: Symphony) -> Iterator[Path]:
    """The store of one Pit member, on a small file system of its own."""
    store = symphony.home / str(request.param)
    store.mkdir(mode=0o700)
    with mounted(store, SIZE):
        yield store


def test_a_run_on_a_full_disk_stays_open_and_goes_on_with_space(
    symphony: Symphony, small: Path
) -> None:
    # The first attempt lasts three seconds, in which the disk is filled. The second answers more
    # than fits in what is left of the journal's last page.
    melody = symphony.melody(
        {"id": "a", "inputs": {"plan": ["ok"]}},
        {"id": "b", "inputs": {"plan": ["hang", "x" * 20_000]}, "timeout_s": 3.0, "after": ["a"]},
        {"id": "c", "inputs": {"plan": ["ok"]}, "after": ["b"]},
    )
    given = ("--extensions", PLAYERS, "--json", "events.jsonl", "--junit", "report.xml")
    process = symphony.start("run", melody, *given)
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith("b: running"):
            break
    ballast = fill(small)
    out, rest = process.communicate(timeout=60)
    done = subprocess.CompletedProcess([], process.returncode, out, said + rest)
    check_errors(done, 6, "--resume")
    report = (symphony.folder / "report.xml").read_text()
    assert '<testcase name="a"' in report
    assert '<testcase name="c"' in report

    ballast.unlink()
    (run,) = json.loads(symphony.kernel("runs", "list", "--json").stdout)["runs"]
    assert run["state"] == "open"
    again = symphony.kernel("run", "--resume", run["run"], *given)
    assert again.returncode == 0, again.stderr
    told = [
        json.loads(line) for line in (symphony.folder / "events.jsonl").read_text().splitlines()
    ]
    finished = [event["step"] for event in told if event["event"] == "step.finished"]
    assert sorted(finished) == ["a", "b", "c"]
    numbers = [event["seq"] for event in told]
    assert numbers == sorted(set(numbers))


@pytest.fixture
def disk(symphony: Symphony) -> Iterator[Path]:
    """The home, on a file system of its own, in which a kernel has worked."""
    with mounted(symphony.home, SIZE):
        assert symphony.kernel("runs", "list").returncode == 0
        yield symphony.home


def test_a_full_home_is_named_with_the_file_that_cannot_be_written(
    symphony: Symphony, disk: Path
) -> None:
    fill(disk)
    for command in (("runs", "list"), ("verify",)):
        said = check_errors(symphony.kernel(*command), 6, "No space left", "free space")
        assert f"({disk / 'kernel.lock'})" in said


def test_a_home_that_is_mounted_read_only_is_to_be_copied(symphony: Symphony, disk: Path) -> None:
    remount = ["mount", "-o", "remount,ro", str(disk)]
    subprocess.run(remount, check=True)
    for command in (("artifacts", "list"), ("verify",)):
        check_errors(symphony.kernel(*command), 6, "Read-only", f"cp -a {disk} COPY", "--home COPY")
    copy = symphony.folder / "copy"
    subprocess.run(["cp", "-a", str(disk), str(copy)], check=True)
    assert symphony.kernel("verify", "--home", copy).returncode == 0
