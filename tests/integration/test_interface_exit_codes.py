"""Exit codes: one test for every row of the table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_harness import PLAYERS, Symphony, of
from interface_checks import check_errors

ONCE = {"attempts": 1}


def step(word: str, **more: object) -> dict[str, object]:
    return {"id": "a", "inputs": {"plan": [word]}, "retry": ONCE, **more}


def test_0_done(symphony: Symphony) -> None:
    assert symphony.play(symphony.melody(step("ok")))[0] == 0


@pytest.mark.parametrize(
    "failing",
    [step("raise"), step("poor", gate={"expression": "outputs.score > 0.5"})],
    ids=["required step failed", "gate refused"],
)
def test_1_the_run_ended_without_success(symphony: Symphony, failing: dict[str, object]) -> None:
    melody = symphony.melody(failing)
    done = symphony.kernel("run", melody, "--extensions", PLAYERS, "--json", "-")
    check_errors(done, 1, "step a")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["outcome"] == "failed", "stdout holds the events and nothing else"


def test_2_bad_input_starts_nothing(symphony: Symphony) -> None:
    melody = symphony.write("bad.melody.toml", "[melody]\n")
    check_errors(symphony.kernel("run", melody), 2)
    assert not (symphony.home / "dag").exists()
    assert not list((symphony.home / "logs").glob("*")) if symphony.home.exists() else True


def test_3_no_bubblewrap_is_refused_with_what_to_do(symphony: Symphony) -> None:
    nowhere = {**symphony.environment, "PATH": str(symphony.folder)}
    melody = symphony.melody(step("ok"))
    done = symphony.kernel("run", melody, "--extensions", PLAYERS, env=nowhere)
    said = check_errors(done, 3, "bubblewrap", "apt-get install bubblewrap", "--sandbox none")
    assert "run test-" not in said, "no run was opened"
    again = symphony.kernel("runs", "list", "--json", env=nowhere)
    assert json.loads(again.stdout) == {"runs": []}


def test_3_no_sandbox_must_be_asked_for_and_is_shown(symphony: Symphony) -> None:
    symphony.environment = {**symphony.environment, "PATH": str(symphony.folder)}
    code, events = symphony.play(symphony.melody(step("ok")), "--sandbox", "none")
    assert code == 0
    assert [event["sandbox"] for event in of(events, "step.started")] == ["none"]


def test_4_not_found(symphony: Symphony) -> None:
    check_errors(symphony.kernel("runs", "show", "no-such-run"), 4, "no-such-run")
    check_errors(symphony.kernel("run", "--resume", "no-such-run"), 4, "no-such-run")
    check_errors(symphony.kernel("artifacts", "get", "no-such-name"), 4, "no-such-name")
    symphony.serve("--extensions", str(PLAYERS))
    done = symphony.ext("call", "test.act/1", "--player", "no-such-player")
    check_errors(done, 4, "no-such-player")


def test_5_no_kernel_and_no_provider(symphony: Symphony) -> None:
    check_errors(symphony.kernel("status"), 5, "symphony-kernel serve")
    symphony.serve()
    check_errors(symphony.ext("call", "no.such/1"), 5, "no.such/1", "symphony-ext")


def programs(symphony: Symphony, name: str, content: str | None) -> None:
    """A folder with the Pit's programs, of which one is replaced or left out."""
    real = Path(symphony.environment.get("SYMPHONY_PROGRAMS") or Path(sys.executable).parent)
    folder = symphony.folder / "programs"
    folder.mkdir()
    for program in ("symphony-dag-tracker", "symphony-artifact-store"):
        (folder / program).symlink_to(real / program)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
    symphony.environment = {**symphony.environment, "SYMPHONY_PROGRAMS": str(folder)}


NEWER = f"""#!{sys.executable}
from symphony.bus.ticket import Ticket
from symphony.bus.extension import Extension
from symphony.bus import wire
wire.VERSION = 2
Extension().run()
"""
STALE = {
    "speaks another protocol": NEWER,
    "says so itself": "#!/bin/sh\necho 'error: protocol 2' >&2\nexit 5\n",
    "is no program": "not a program\n",
    "is missing": None,
}


@pytest.mark.parametrize("name", ["symphony-dag-tracker", "symphony-artifact-store"])
@pytest.mark.parametrize("what", STALE)
def test_5_a_pit_binary_that_does_not_fit(symphony: Symphony, what: str, name: str) -> None:
    programs(symphony, name, STALE[what])
    title = "DAG Tracker" if "dag" in name else "Artifact Store"
    symphony.write("in.txt", "hello")
    melody = symphony.melody(
        {"id": "a", "capability": "test.shout/1", "inputs": {"source": "$inputs.text"}},
        inputs={"text": {"type": "file"}},
    )
    given = ("run", melody, "--extensions", PLAYERS, "--input", "text=in.txt")
    done = symphony.kernel(*given)
    said = check_errors(done, 5, title)
    assert "install" in said.partition("help: ")[2]
    del symphony.environment["SYMPHONY_PROGRAMS"]  # type: ignore[attr-defined]
    if (real := os.environ.get("SYMPHONY_PROGRAMS")) is not None:
        symphony.environment["SYMPHONY_PROGRAMS"] = real  # type: ignore[index]
    assert symphony.kernel(*given).returncode == 0, "nothing was lost"


def played(symphony: Symphony) -> tuple[str, str]:
    """A run of the home that succeeded, and the reference of its artifact."""
    code, events = symphony.play(symphony.melody(step("ok"), outputs={"x": "$steps.a.answer"}))
    assert code == 0
    return events[-1]["run"], events[-1]["artifacts"]["x"]["reference"]


def test_6_a_corrupt_journal(symphony: Symphony) -> None:
    run, _ = played(symphony)
    journal = symphony.home / "dag" / "runs" / f"{run}.journal"
    content = bytearray(journal.read_bytes())
    content[20] ^= 0xFF
    journal.write_bytes(content)
    other, _ = played(symphony)
    check_errors(symphony.kernel("runs", "show", run), 6, run)
    check_errors(symphony.kernel("run", "--resume", run), 6, run)
    listed = json.loads(symphony.kernel("runs", "list", "--json").stdout)["runs"]
    assert {entry["run"]: entry["state"] for entry in listed} == {
        run: "corrupt",
        other: "succeeded",
    }


def test_6_a_corrupt_artifact(symphony: Symphony) -> None:
    _, reference = played(symphony)
    name = reference.removeprefix("blake3:")
    blob = symphony.home / "artifacts" / "blobs" / name[:2] / name[2:]
    blob.chmod(0o600)
    blob.write_bytes(b"\x00xx")
    check_errors(symphony.kernel("artifacts", "get", reference), 6, name)


BUG = """
import sys
import symphony.kernel.queries as queries
from symphony.kernel.cli.kernel import main
def fails(*_):
    raise ZeroDivisionError("a fault for the test")
queries.runs = fails
main()
"""


def test_70_our_bug_names_its_report(symphony: Symphony) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUG, "runs", "list", "--json"],
        env=symphony.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    check_errors(done, 70, "ZeroDivisionError", "report")
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "internal"
    assert error["fault"] == "kernel"
    assert "a fault for the test" in Path(error["where"]).read_text()
    assert Path(error["where"]).is_relative_to(symphony.home)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_130_and_143_the_run_stays_resumable(
    symphony: Symphony, number: signal.Signals, code: int
) -> None:
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["hang", "ok"]}})
    process = symphony.start("run", melody, "--extensions", PLAYERS, "--json", "-")
    assert process.stdout is not None
    assert process.stderr is not None
    told = []
    for line in process.stdout:
        told.append(json.loads(line))
        if told[-1]["event"] == "step.progress":
            break
    process.send_signal(number)
    rest, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in said
    run = told[0]["run"]
    assert f"symphony-kernel run --resume {run}" in said.splitlines()[-1]
    events = [*told, *(json.loads(line) for line in rest.splitlines())]
    assert all("event" in event for event in events), "stdout holds events alone"
    listed = json.loads(symphony.kernel("runs", "list", "--json").stdout)["runs"]
    assert [(entry["run"], entry["state"]) for entry in listed] == [(run, "open")]
    again = symphony.kernel("run", "--resume", run, "--extensions", PLAYERS)
    assert again.returncode == 0, again.stderr
