"""Old artifacts in an S3 bucket: by two lines of pit.toml the kernel starts who archives, and the
commands archive, free and restore, while the server fails, refuses, dawdles and lies."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_harness import LIMIT_S, Symphony, processes_of
from interface_checks import check_errors

OBJECTS = Path(__file__).resolve().parents[2] / "extensions" / "archive-object"
sys.path.insert(0, str(OBJECTS / "tests"))

from archive_stand import SECRET, Bucket, configure, new_bucket, s3_server  # noqa: E402
from between import Between, Manner  # noqa: E402

PIT = '[stale]\nlocal_days = 0\nvaluable = 100\narchive = "pit.archive/1"\n'
BROKEN = (Manner.FAILING, Manner.REFUSING, Manner.BUSY, Manner.SILENT, Manner.LYING, Manner.LOSING)
LATER = """
import sys
from datetime import UTC, datetime, timedelta
from symphony.kernel import clock
later = datetime.now(UTC) + timedelta(days=float(sys.argv.pop(1)))
clock.timestamp = lambda: later.isoformat(timespec="milliseconds").replace("+00:00", "Z")
from symphony.kernel.cli.kernel import main
main()
"""  # a command, so many days from now


class Curation:
    """The commands, at a time that passes as the test says."""

    def __init__(self, symphony: Symphony) -> None:
        self._symphony = symphony
        self._day = 0

    def stale(self, *words: str) -> Any:
        """The answer of `stale WORDS`, two days after the last one."""
        self._day += 2
        done = subprocess.run(
            [sys.executable, "-c", LATER, str(self._day), "stale", *words, "--json"],
            env=self._symphony.environment,
            timeout=LIMIT_S,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout, done.stderr
        found = json.loads(done.stdout)
        failed = found.get("failed", [])
        codes = {row["code"] for row in failed} | {found.get("code")} - {None}
        own = bool(failed) and not codes <= {"crashed", "unavailable", "deadline"}
        gone = own or found.get("missing")
        assert done.returncode == (6 if gone else 5 if failed or found.get("stopped") else 0)
        assert ("help: ask again" in done.stderr) == bool(failed or found.get("stopped"))
        return found


@pytest.fixture
def between() -> Iterator[Between]:
    with s3_server() as port, Between(port) as server:
        server.port = port
        yield server


@pytest.fixture
def bucket(between: Between, request: pytest.FixtureRequest) -> Bucket:
    return new_bucket(between.port, request.node.name)


def play(symphony: Symphony) -> tuple[str, str]:
    """A run that has made something; its name and that of what it made."""
    step = {"id": "a", "inputs": {"plan": ["worth keeping"]}}
    code, events = symphony.play(symphony.melody(step, outputs={"x": "$steps.a.answer"}))
    assert code == 0, events
    return events[-1]["run"], events[-1]["artifacts"]["x"]["reference"]


def test_archived_freed_and_restored_and_nothing_lost_in_between(
    symphony: Symphony, between: Between, bucket: Bucket
) -> None:
    (symphony.home / "pit.toml").write_text(PIT)
    configure(symphony.home, bucket, between.endpoint, name="archive-object", timeout_s=1)
    run, reference = play(symphony)
    kernel = symphony.serve()
    status = symphony.answer("status")
    assert status["degraded"] == []
    assert "archive-object" in {extension["name"] for extension in status["extensions"]}
    time = Curation(symphony)

    for manner in BROKEN:
        between.manner = manner
        told = time.stale("run")
        assert told["stopped"], manner
        between.manner = Manner.WELL
        report = symphony.answer("stale", "report")
        assert (report["proofs"], report["freed"], report["marked"]) == (0, 0, 0), manner
        assert symphony.kernel("artifacts", "get", reference).stdout == "worth keeping", manner

    told = [time.stale("run") for _ in range(4)]
    assert [row["stopped"] for row in told] == [None] * 4
    assert [row["failed"] for row in told] == [[]] * 4
    digits = reference.removeprefix("blake3:")
    assert f"old/blake3/{digits}" in bucket.objects()
    assert not list((symphony.home / "artifacts" / "blobs").rglob(digits[2:]))
    check_errors(symphony.kernel("artifacts", "get", reference), 4)
    assert symphony.answer("stale", "report")["freed"] > 0

    between.manner = Manner.LYING
    begun = reference[:20] + "…"  # as `stale plan` shows it; the store has it no more
    lied = time.stale("restore", begun)
    assert (lied["restored"], lied["here"]) == ([], [])
    assert lied["missing"] == lied["damaged"] == [reference]
    check_errors(symphony.kernel("artifacts", "get", reference), 4)
    between.manner = Manner.WELL
    restored = time.stale("restore", run)
    assert reference in {row["ref"] for row in restored["restored"]}
    assert restored["missing"] == []
    assert symphony.kernel("artifacts", "get", reference).stdout == "worth keeping"
    assert symphony.kernel("artifacts", "verify").returncode == 0

    for log in (symphony.home / "logs").iterdir():
        assert SECRET not in log.read_text(errors="replace"), log
    assert not [line for line in processes_of(symphony.home) if SECRET in line]
    members = psutil.Process(kernel.pid).children(recursive=True)
    assert len(members) > 5
    assert not [process for process in members if SECRET in str(process.environ())]


def test_what_is_not_there_is_neither_pinned_nor_restored(symphony: Symphony) -> None:
    run, reference = play(symphony)
    for subject in ("no-such-run", "blake3:00…", "No Run"):
        for command in (("pin", "--why", "a slip"), ("restore",)):
            check_errors(symphony.kernel("stale", command[0], subject, *command[1:]), 4)
    assert symphony.answer("stale", "pin", reference[:20], "--why", "by its beginning")
    assert symphony.answer("stale", "pin", run, "--why", "all of it")
    assert symphony.answer("stale", "report")["pins"] == 2


def test_without_its_configuration_nothing_is_deleted_and_it_says_what_to_write(
    symphony: Symphony,
) -> None:
    (symphony.home / "pit.toml").write_text(PIT)
    _, reference = play(symphony)
    symphony.serve()
    status = symphony.answer("status")
    assert [row["member"] for row in status["degraded"]] == ["Archive"]
    assert Curation(symphony).stale("run")["stopped"]
    assert symphony.kernel("artifacts", "get", reference).returncode == 0
    logged = (symphony.home / "logs" / "kernel.log").read_text()
    assert "archive-object.toml" in logged


def test_an_extension_of_ones_own_archives_by_a_line_of_pit_toml(symphony: Symphony) -> None:
    vault = symphony.home / "extensions" / "vault"
    shutil.copytree(OBJECTS, vault, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    manifest = (vault / "extension.toml").read_text()
    (vault / "extension.toml").write_text(manifest.replace('"archive-object"', '"vault"'))
    cold = symphony.folder / "cold"
    cold.mkdir()
    (symphony.home / "vault.toml").write_text(f'url = "file://{cold}"\n')
    (symphony.home / "pit.toml").write_text('members = { "pit.archive/1" = "vault" }\n' + PIT)
    _, reference = play(symphony)
    symphony.serve()
    status = symphony.answer("status")
    assert status["degraded"] == []
    assert "archive-object" not in {extension["name"] for extension in status["extensions"]}
    assert Curation(symphony).stale("run")["stopped"] is None
    assert (cold / "blake3" / reference.removeprefix("blake3:")).read_text() == "worth keeping"


def test_one_that_is_not_installed_is_named(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text('members = { "pit.archive/1" = "vault" }\n' + PIT)
    symphony.serve()
    (row,) = symphony.answer("status")["degraded"]
    assert row["member"] == "Archive"
    assert "extension vault" in (symphony.home / "logs" / "kernel.log").read_text()
