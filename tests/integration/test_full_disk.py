"""A store on a disk that becomes full in the middle of a run: the run stays, and goes on later."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_harness import PLAYERS, Symphony
from interface_checks import check_errors

SIZE = "8m"


@pytest.fixture(params=["dag", "artifacts"])
def small(request: pytest.FixtureRequest, symphony: Symphony) -> Iterator[Path]:
    """The store of one Pit member, on a small file system of its own."""
    store = symphony.home / str(request.param)
    store.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "symphony-test", str(store)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root's right to")
    try:
        yield store
    finally:
        subprocess.run(["umount", "--lazy", str(store)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the space there is."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return ballast


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
