"""The benchmarks: each case measures for real, says it in the agreed form, and ends cleanly."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"bus": ["--quick"], "start": ["--rounds", "1"], "steps": ["--rounds", "1"]}


def command(name: str, *options: str) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / f"bench_{name}.py"), *QUICK[name], *options]


def bench(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(name, *options), capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "case", "unit", "against"),
    [
        ("bus", "ipc/64/1", "rt/s", "c-hub"),
        ("bus", "chain/1024/100", "rt/s", "c-hub"),
        ("bus", "chain-async/64/100", "rt/s", "c-hub"),
        pytest.param("bus", "chain-rust/64/1", "rt/s", "c-hub", marks=pytest.mark.slow),
        ("start", "resume", "ms", "python"),
        ("steps", "chain/200", "steps/s", "fsync-loop"),
    ],
)
@pytest.mark.timeout(600)  # the Rust ends may have to be built
def test_a_case_is_measured_and_told_in_one_line(
    name: str, case: str, unit: str, against: str
) -> None:
    done = bench(name, "--only", case, "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert list(told) == ["bench", "case", "unit", "value", "against", "ratio"]
    assert (told["bench"], told["case"]) == (name, case)
    assert (told["unit"], told["against"]) == (unit, against)
    assert told["value"] > 0
    assert told["ratio"] > 0
    assert f"[1/1] {case}" in done.stderr


@pytest.mark.parametrize(("name", "cases"), [("bus", 24), ("start", 3), ("steps", 2)])
def test_cases_are_listed_and_chosen(name: str, cases: int) -> None:
    names = bench(name, "--list").stdout.splitlines()
    assert len(names) == len(set(names)) == cases
    assert bench(name, "--list", "--only", names[0]).stdout.splitlines() == [names[0]]


def test_a_choice_without_a_case_names_the_cases() -> None:
    done = bench("bus", "--only", "icp/*")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no case matches icp/*\nhelp: cases: ipc/64/100 ")


@pytest.mark.parametrize("name", QUICK)
def test_the_help_gives_examples(name: str) -> None:
    assert f"  scripts/bench {name} --json" in bench(name, "--help").stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_all_and_keeps_what_was_measured(number: int, code: int) -> None:
    pipe = subprocess.PIPE
    asked = command("bus", "--only", "ipc/*", "--json")
    with subprocess.Popen(asked, stdout=pipe, stderr=pipe, text=True) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        started = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(number)
        _, said = running.communicate()
    assert (running.returncode, json.loads(first)["case"]) == (code, "ipc/64/100")
    assert "Traceback" not in said
    _, left = psutil.wait_procs(started, timeout=10)  # one that the kernel ends takes a moment
    assert not left
