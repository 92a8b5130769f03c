"""The disk that loses its power: what was synced stays, of the rest what the harm says."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from crashdisk import Disk, Harm, compiled
from crashing import Kill

if TYPE_CHECKING:
    Run = Callable[[str], Disk]

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

BEGIN = """
import os, signal
def write(name, *parts, flags=os.O_CREAT, sync=True):
    file = os.open(name, os.O_RDWR | flags, 0o600)
    os.lseek(file, 0, os.SEEK_END)
    for part in parts:
        os.write(file, part)
    if sync:
        os.fsync(file)
def sync_names():
    os.fsync(os.open(".", os.O_RDONLY))
"""
END = "\nos.kill(os.getpid(), signal.SIGKILL)\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a program in the store until it kills itself."""
    disk = Disk(tmp_path, compiled(tmp_path), lies=False)

    def run(program: str, at: int | None = None) -> Disk:
        environment = os.environ | disk.environment(at)
        # Paths as the members write them: from the root.
        program = program.replace("write('", f"write('{disk.store}/")
        command = [sys.executable, "-S", "-c", BEGIN + program + END]
        done = subprocess.run(command, cwd=disk.store, env=environment, check=False)
        assert done.returncode == -signal.SIGKILL
        return disk

    return run


def contents(disk: Disk) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in disk.store.iterdir()}


def dice() -> random.Random:
    return random.Random(1)  # noqa: S311 - to be repeatable


def test_what_was_not_synced_is_lost_with_its_name(run: Run) -> None:
    disk = run(
        "write('a', b'one'); sync_names(); write('a', b'two', sync=False)\nwrite('b', b'three')"
    )
    assert contents(disk) == {"a": b"onetwo", "b": b"three"}
    disk.harm(Harm.LOST, dice())
    assert contents(disk) == {"a": b"one"}


def test_a_name_may_be_there_without_contents(run: Run) -> None:
    disk = run("write('a', b'one', sync=False); sync_names()")
    disk.harm(Harm.NAMES, dice())
    assert contents(disk) == {"a": b""}


def test_what_died_with_its_process_alone_is_synced_by_the_next(run: Run) -> None:
    disk = run("write('a', b'one', sync=False)")
    disk.harm(Harm.KEPT, dice())
    disk = run("write('a'); sync_names(); write('a', b'two', sync=False)")
    disk.harm(Harm.LOST, dice())
    assert contents(disk) == {"a": b"one"}


def test_what_was_overwritten_replaced_and_removed_comes_back(run: Run) -> None:
    disk = run(
        "write('a', b'former'); write('b', b'whole'); sync_names()\n"
        "write('a', b'x', flags=os.O_TRUNC, sync=False); write('c', b'new')\n"
        "os.rename(os.getcwd() + '/c', os.getcwd() + '/a'); os.unlink(os.getcwd() + '/b')"
    )
    assert contents(disk) == {"a": b"new"}
    disk.harm(Harm.LOST, dice())
    assert contents(disk) == {"a": b"former", "b": b"whole"}


@pytest.mark.parametrize(
    ("harm", "possible"),
    [
        (Harm.CUT, lambda end: b"two".startswith(end) and end != b"two"),
        (Harm.ZEROED, lambda end: len(end) == 3 and b"two".startswith(end.rstrip(b"\0"))),
        (Harm.FLIPPED, lambda end: len(end) == 3 and end != b"two"),
        (Harm.DOUBLED, lambda end: end == b"twotwo"),
    ],
)
def test_the_last_write_is_harmed_and_nothing_before_it(
    run: Run, harm: Harm, possible: Callable[[bytes], bool]
) -> None:
    disk = run("write('a', b'one'); sync_names(); write('a', b'two', sync=False)")
    disk.harm(harm, dice())
    content = contents(disk)["a"]
    assert content[:3] == b"one"
    assert possible(content[3:])


def test_only_a_journal_that_is_written_to_rots_and_by_one_bit(run: Run) -> None:
    disk = run("write('a.journal', b'one'); write('b.journal', b'two'); write('a', b'x')")
    assert disk.rot(dice()) is None
    disk = run("write('b.journal.synced', b'3')")
    before = contents(disk)
    assert disk.rot(dice()) == (disk.store / "b.journal", b"two")
    after = contents(disk)
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["b.journal"]
    flips = zip(before["b.journal"], after["b.journal"], strict=True)
    assert sum((old ^ new).bit_count() for old, new in flips) == 1


def test_a_seed_gives_the_same_plan_and_every_harm() -> None:
    first, second = ([Kill.drawn(chosen, 400) for _ in range(100)] for chosen in (dice(), dice()))
    assert first == second
    assert {kill.harm for kill in first} == set(Harm)
    assert any(kill.at_change is None for kill in first)


def test_a_process_is_killed_at_a_change(tmp_path: Path) -> None:
    disk = Disk(tmp_path, compiled(tmp_path), lies=False)
    for at, found in enumerate(({}, {"a": b""}, {"a": b"1"}, {"a": b"1"}), 1):
        program = f"{BEGIN}write('{disk.store}/a', b'1', b'2')"
        environment = os.environ | disk.environment(at)
        command = [sys.executable, "-S", "-c", program]
        done = subprocess.run(command, cwd=disk.store, env=environment, check=False)
        if at < 4:
            assert (done.returncode, contents(disk)) == (-signal.SIGKILL, found)
        disk.harm(Harm.LOST, dice())
        assert contents(disk) == {}
