"""The benchmarks: each case measures for real, says it in the agreed form, and ends cleanly."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
QUICK = {
    "bus": ["--quick", "--datapath", "reference", "--no-peers"],
    "start": ["--rounds", "1"],
    "steps": ["--rounds", "1"],
    "dag": ["--quick"],
    "arbitration": ["--quick"],
    "pool": ["--quick"],
    "schedule": [],
    "artifacts": ["--quick"],
}
KEYS = ["bench", "case", "unit", "value", "against", "ratio"]


def command(name: str, *options: str | Path) -> list[str]:
    return [sys.executable, str(SCRIPTS / f"bench_{name}.py"), *QUICK[name], *map(str, options)]


def bench(name: str, *options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(name, *options), capture_output=True, text=True, check=False)


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


SLOW = [pytest.mark.slow, pytest.mark.timeout(900)]  # the Rust programs may have to be built


@pytest.mark.parametrize(
    ("name", "case", "unit", "against"),
    [
        ("bus", "ipc/64/1", "rt/s", "c-hub"),
        ("bus", "tcp/1024/1000", "rt/s", "c-hub"),
        ("bus", "chain/1024/100", "rt/s", "c-hub"),
        ("bus", "chain-async/64/100", "rt/s", "c-hub"),
        ("bus", "chain-tcp/64/1", "rt/s", "c-hub"),
        pytest.param("bus", "chain-rust/64/1", "rt/s", "c-hub", marks=SLOW),
        pytest.param("bus", "scale/100/1", "µs", "no-peers", marks=SLOW),
        ("start", "resume", "ms", "python"),
        ("steps", "chain/200", "steps/s", "fsync-loop"),
        pytest.param("dag", "durable", "steps/s", "fsync-loop", marks=SLOW),
        pytest.param("pool", "cold-starts", "cold starts", "no-prediction", marks=SLOW),
    ],
)
def test_a_case_is_measured_and_told(name: str, case: str, unit: str, against: str) -> None:
    done = bench(name, "--only", case, "--json")
    told, *details = lines(done)
    assert list(told) == KEYS
    assert (told["bench"], told["case"]) == (name, case)
    assert (told["unit"], told["against"]) == (unit, against)
    assert min(float(str(told["value"])), float(str(told["ratio"]))) > 0
    assert all(str(detail["case"]).startswith(f"{case}/") for detail in details)
    assert f"[1/1] {case}" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "case", "unit"),
    [
        ("arbitration", "decide", "decisions/s"),
        ("dag", "complete/20000", "µs"),
        ("pool", "acquire-warm", "µs"),
    ],
)
def test_what_stands_beside_a_bar_is_measured_and_told(name: str, case: str, unit: str) -> None:
    told, *details = lines(bench(name, "--only", case, "--json"))
    assert (told["bench"], told["case"], told["unit"]) == (name, case, unit)
    assert float(str(told["value"])) > 0
    assert all(str(detail["case"]).startswith(f"{case}/") for detail in details)


def test_a_hub_is_measured_whole_and_beside_one_as_busy() -> None:
    told = lines(bench("bus", "--only", "busy/ipc/64/100", "--json"))
    assert {(line["case"], line["unit"], line["against"]) for line in told} == {
        (f"busy/ipc/64/100{detail}", unit, against)
        for detail, unit in (
            ("", "rt/s"), ("/p50", "µs"), ("/p99", "µs"), ("/cpu", "µs/rt"), ("/rss", "MiB"),
        )
        for against in ("c-hub", "c-hub-busy")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("bus", 126),
        ("start", 3),
        ("steps", 2),
        ("dag", 5),
        ("schedule", 12),
        ("arbitration", 1),
        ("pool", 2),
        ("artifacts", 4),
    ],
)
def test_cases_are_listed_and_chosen(name: str, cases: int) -> None:
    names = bench(name, "--list").stdout.splitlines()
    assert len(names) == len(set(names)) == cases
    assert bench(name, "--list", "--only", names[0]).stdout.splitlines() == [names[0]]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_artifact_store_is_measured_beside_whoever_is_installed() -> None:
    done = bench("artifacts", "--only", "put/1KiB", "--json")
    told = {(line["case"], line.get("against")): line["value"] for line in lines(done)}
    installed = [name for name in ("git", "restic", "borg") if shutil.which(name)]
    for peer in ("blake3-write", "cp", *installed):
        for case in ("put/1KiB", "put/1KiB/stored"):
            assert float(str(told[case, peer])) > 0
    for peer in {"git", "restic", "borg"} - set(installed):
        assert f"{peer} is not installed and left out" in done.stderr


def test_a_choice_without_a_case_names_the_cases() -> None:
    done = bench("bus", "--only", "icp/*")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no case matches icp/*\nhelp: cases: ipc/64/100 ")


@pytest.mark.parametrize("name", QUICK)
def test_the_help_gives_examples(name: str) -> None:
    assert f"  scripts/bench {name} --json" in bench(name, "--help").stdout


def test_what_was_kept_is_not_measured_again(tmp_path: Path) -> None:
    kept = tmp_path / "bus.jsonl"
    earlier = '{"bench": "bus", "case": "ipc/64/1", "unit": "rt/s", "value": 7.0}\n'
    kept.write_text(earlier + '{"bench": "bus", "case": "ipc/1024/1", "un')  # cut short
    only = ("--only", "ipc/64/1", "--only", "ipc/1024/1")
    table = bench("bus", *only, "--keep", kept, "--markdown").stdout.splitlines()
    assert table[:3] == [
        "| case | unit | value | against | ratio |",
        "| --- | --- | ---: | --- | ---: |",
        "| ipc/64/1 | rt/s | 7 |  |  |",
    ]
    assert len([row for row in table if row.startswith("| ipc/1024/1 | rt/s ")]) == 1
    again = bench("bus", *only, "--keep", kept, "--markdown").stdout.splitlines()
    assert again == table


@pytest.mark.parametrize("text", ["of another kind", "of another kind\n", '{"title": "mine"}\n'])
def test_a_file_that_holds_no_results_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text(text)
    done = bench("bus", "--keep", tmp_path / "notes")
    assert done.returncode == 2
    assert "error: not a file of results" in done.stderr
    assert (tmp_path / "notes").read_text() == text


def test_a_case_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    for program in ("python3", "gcc"):
        (tmp_path / program).symlink_to("/bin/false")
    asked = command("bus", "--only", "ipc/64/*", "--json")
    environment = os.environ | {"PATH": str(tmp_path)}
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("error: gcc failed") == 3


def test_a_peer_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(SCRIPTS)!r})
from pathlib import Path
import benchpeers
benchpeers.PLACE = Path({str(tmp_path)!r}) / ".bench-env"
print(benchpeers.ready("nats"))
"""
    environment = os.environ | {"PIP_NO_INDEX": "1"}
    asked = [sys.executable, "-c", code]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
    assert "No matching distribution found for nats-py" in done.stdout


@pytest.mark.skipif(not (ROOT / ".bench-env" / "nats").exists(), reason="no peers were set up here")
def test_a_peer_is_measured_beside_ours() -> None:
    asked = [
        one for one in command("bus", "--only", "chain/64/100", "--json") if one != "--no-peers"
    ]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    rates = {line["against"] for line in lines(done) if line["case"] == "chain/64/100"}
    assert {"c-hub", "nats"} <= rates


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_an_interrupt_ends_all_and_keeps_what_was_measured(number: int, code: int) -> None:
    pipe = subprocess.PIPE
    asked = command("bus", "--only", "ipc/64/100", "--only", "chain/*", "--json")
    with subprocess.Popen(asked, stdout=pipe, stderr=pipe, text=True) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        started: list[psutil.Process] = []
        while len(started) < 3:  # the hub and both ends
            started = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(number)
        _, said = running.communicate()
    assert (running.returncode, json.loads(first)["case"]) == (code, "ipc/64/100")
    assert "Traceback" not in said
    _, left = psutil.wait_procs(started, timeout=10)  # one that the kernel ends takes a moment
    assert not left
