"""How instances end: by themselves, by our kill, by the death of the kernel or the guard."""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from symphony.sandboxes import Level, LocalLauncher, SandboxPolicy, SpawnSpec

LEVELS = [Level.STRICT, Level.NONE]


def _until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Waits for what /proc shows; there is no event for other people's processes."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], 0.001)
    return True


def _marked(marker: str) -> list[int]:
    """Living processes that have `marker` in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _session(number: int) -> list[int]:
    """Living processes of the guard's session: itself, its helpers, sandboxes not yet released."""
    found = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == number and _alive(psutil.Process(pid)):
                found.append(pid)
        except (OSError, psutil.NoSuchProcess):
            continue
    return found


def _guard(launcher: psutil.Process) -> tuple[psutil.Process, psutil.Process]:
    """Watchdog and guard below a process that uses a launcher."""
    watchdog = next(p for p in launcher.children() if "sandboxes.guard" in " ".join(p.cmdline()))
    return watchdog, next(p for p in watchdog.children() if p.cmdline() == watchdog.cmdline())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("command", "kind", "code", "number"),
    [
        ("exit 0", "finished", 0, None),
        ("echo why >&2; exit 3", "error", 3, None),
        ("kill -SEGV $$", "signal", None, signal.SIGSEGV),
        ("kill -KILL $$", "signal", None, signal.SIGKILL),
        ("kill -SYS $$", "seccomp", None, signal.SIGSYS),
        ("kill -XCPU $$", "cpu", None, signal.SIGXCPU),
    ],
)
def test_the_reason_of_an_end(
    sandboxes: Any, level: Level, command: str, kind: str, code: int | None, number: int | None
) -> None:
    reason, _ = sandboxes.run("/usr/bin/sh", "-c", command, policy=SandboxPolicy(level=level))
    assert (reason.kind, reason.code, reason.signal) == (kind, code, number)
    if code == 3:
        assert reason.text == "why"


@pytest.mark.parametrize("level", LEVELS)
def test_what_cannot_be_executed_failed_to_spawn(sandboxes: Any, level: Level) -> None:
    reason, _ = sandboxes.run("/no/such/tool", policy=SandboxPolicy(level=level))
    assert reason.kind == "spawn-failed"
    assert "/no/such/tool" in reason.text


def test_a_missing_folder_failed_to_spawn_and_harms_no_other(
    sandboxes: Any, tmp_path: Path
) -> None:
    reason, _ = sandboxes.run("/usr/bin/true", inbox=tmp_path / "missing")
    assert reason.kind == "spawn-failed"
    assert str(tmp_path / "missing") in reason.text
    assert sandboxes.run("/usr/bin/true")[0].kind == "finished"


def test_the_ticket_arrives_whole_and_then_ends(sandboxes: Any) -> None:
    ticket = bytes(range(256)) * 100
    source = "data = sys.stdin.buffer.read(); report([len(data), data[:256] == bytes(range(256))])"
    assert sandboxes.probe(source, stdin=ticket) == [len(ticket), True]


def test_a_request_that_is_too_large_is_refused(sandboxes: Any) -> None:
    with pytest.raises(ValueError, match="limit"):
        sandboxes.run("/usr/bin/true", stdin=bytes(1 << 20))


def test_standard_input_that_no_pipe_holds_failed_to_spawn(sandboxes: Any) -> None:
    reason, _ = sandboxes.run("/usr/bin/true", stdin=bytes(100 << 10))
    assert reason.kind == "spawn-failed"
    assert "standard input" in reason.text


@pytest.mark.parametrize("level", LEVELS)
def test_kill_ends_the_whole_tree_within_50_ms(sandboxes: Any, level: Level) -> None:
    marker = uuid.uuid4().hex
    script = f"for i in 1 2 3 4 5; do sh -c 'sleep 60; : {marker}' & done; sleep 60; : {marker}"

    async def once() -> tuple[float, str]:
        spec = sandboxes.spec("/usr/bin/sh", "-c", script, policy=SandboxPolicy(level=level))
        process = await sandboxes.launcher.spawn(spec)
        assert await asyncio.to_thread(_until, lambda: len(_marked(marker)) >= 6)
        begun = time.perf_counter()
        process.kill()
        reason = await process.wait()
        took = time.perf_counter() - begun
        process.kill()  # again does nothing
        return took, reason.kind

    took, kind = sandboxes.runner.run(once())
    assert kind == "killed"
    assert took < 0.050
    assert _marked(marker) == []


def test_a_daemon_ends_with_the_instance(sandboxes: Any) -> None:
    marker = uuid.uuid4().hex
    script = f"setsid sh -c 'sleep 60; : {marker}' & exit 0"
    assert sandboxes.run("/usr/bin/sh", "-c", script)[0].kind == "finished"
    assert _marked(marker) == []


def test_many_at_once(sandboxes: Any) -> None:
    async def many() -> list[str]:
        specs = [sandboxes.spec("/usr/bin/sh", "-c", f"exit {n}") for n in range(30)]
        processes = await asyncio.gather(*map(sandboxes.launcher.spawn, specs))
        reasons = await asyncio.gather(*(process.wait() for process in processes))
        return [str(reason.code) for reason in reasons]

    assert sandboxes.runner.run(many()) == [str(n) for n in range(30)]


def test_nothing_of_an_instance_stays_behind(sandboxes: Any) -> None:
    """Descriptors of launcher and guard, processes and the guard's mounts are as before."""
    here = psutil.Process()
    _, guard = _guard(here)

    def held() -> tuple[int, int, int, int]:
        mounts = Path(f"/proc/{guard.pid}/mountinfo").read_text().count("\n")
        return here.num_fds(), guard.num_fds(), len(here.children(recursive=True)), mounts

    sandboxes.run("/usr/bin/true")
    before = held()
    for _ in range(10):
        sandboxes.run("/usr/bin/true")
        sandboxes.run("/no/such/tool")
        sandboxes.run("/usr/bin/true", inbox=Path("/no/such/folder"))
        sandboxes.run("/usr/bin/true", policy=SandboxPolicy(level=Level.NONE))
    assert _until(lambda: held() == before), (held(), before)


def test_close_ends_what_runs_and_says_so(tmp_path: Path) -> None:
    marker = uuid.uuid4().hex

    async def whole() -> list[str]:
        launcher = LocalLauncher()
        await launcher.start()
        processes = [
            await launcher.spawn(
                SpawnSpec(
                    instance="sleeper",
                    argv=("/usr/bin/sh", "-c", f"sleep 60; : {marker}"),
                    policy=SandboxPolicy(level=level),
                    log=tmp_path / "log",
                )
            )
            for level in LEVELS
        ]
        await launcher.close()
        await launcher.close()
        return [(await process.wait()).kind for process in processes]

    assert asyncio.run(whole()) == ["killed", "killed"]
    assert _marked(marker) == []


_KERNEL = """
import asyncio, sys
from pathlib import Path
from symphony.sandboxes import Level, LocalLauncher, SandboxPolicy, SpawnSpec
async def main():
    launcher = LocalLauncher()
    await launcher.start()
    await launcher.prove()
    print("ready", flush=True)
    async def instance():
        await launcher.spawn(SpawnSpec(
            instance="x", argv=("/usr/bin/sh", "-c", "sleep 60; : " + sys.argv[1]),
            policy=SandboxPolicy(level=Level(sys.argv[3])), log=Path(sys.argv[2])))
        print("spawned", flush=True)
    await asyncio.gather(*(instance() for _ in range(50)))
    await asyncio.Event().wait()
asyncio.run(main())
"""


def _kernel(marker: str, log: Path, level: Level) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _KERNEL, marker, str(log), level],
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def test_killing_the_kernel_at_any_moment_leaves_no_orphan(tmp_path: Path) -> None:
    chance = random.Random(3)  # noqa: S311 - moments of faults
    for turn in range(40):
        marker = uuid.uuid4().hex
        level = LEVELS[0] if turn % 4 else LEVELS[1]
        with _kernel(marker, tmp_path / "log", level) as kernel:
            assert kernel.stdout is not None
            assert kernel.stdout.readline() == "ready\n"
            below = _guard(psutil.Process(kernel.pid))
            select.select([], [], [], chance.uniform(0, 0.020))  # the moment of the fault
            kernel.kill()
        assert _until(lambda m=marker: _marked(m) == []), f"orphans in turn {turn}"
        assert _until(lambda b=below: not any(_alive(p) for p in b)), f"guard left in turn {turn}"


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("victims", [[0], [1], [0, 1]], ids=["watchdog", "guard", "both"])
def test_killing_the_guard_or_its_watchdog_ends_everything(
    tmp_path: Path, victims: list[int], level: Level
) -> None:
    chance = random.Random(len(victims))  # noqa: S311 - moments of faults
    for turn in range(5):
        marker = uuid.uuid4().hex
        with _kernel(marker, tmp_path / "log", level) as kernel:
            try:
                assert kernel.stdout is not None
                assert kernel.stdout.readline() == "ready\n"
                assert kernel.stdout.readline() == "spawned\n"
                pair = _guard(psutil.Process(kernel.pid))
                assert len(_marked(marker)) > 1
                select.select([], [], [], chance.uniform(0, 0.010))
                for victim in victims:
                    pair[victim].kill()
                # What a new guard starts for the calls that still wait is none of theirs.
                theirs = {*_marked(marker)} - {kernel.pid}
                gone = _until(lambda m=marker, t=theirs: t.isdisjoint(_marked(m)))
                assert gone, f"orphans in turn {turn}"
                assert _until(lambda w=pair[0].pid: _session(w) == []), f"left over in turn {turn}"
            finally:
                kernel.kill()


def test_after_the_guard_was_killed_instances_are_told_and_new_ones_start(tmp_path: Path) -> None:
    def spec() -> SpawnSpec:
        argv = ("/usr/bin/sleep", "60")
        return SpawnSpec(instance="x", argv=argv, policy=SandboxPolicy(), log=tmp_path / "log")

    async def whole() -> tuple[str, str, str]:
        launcher = LocalLauncher()
        await launcher.start()
        try:
            first = await launcher.spawn(spec())
            known = {p.pid for p in psutil.Process().children()}
            watchdogs = [p for p in psutil.Process().children() if p.pid in known]
            mine = next(w for w in watchdogs if first.pid in _descendants(w))
            mine.children()[0].kill()
            ended = await asyncio.wait_for(first.wait(), 10)
            second = await launcher.spawn(spec())
            second.kill()
            return ended.kind, ended.text, (await second.wait()).kind
        finally:
            await launcher.close()

    kind, text, second = asyncio.run(whole())
    assert (kind, second) == ("killed", "killed")
    assert "guard" in text


def _descendants(process: psutil.Process) -> set[int]:
    return {child.pid for child in process.children(recursive=True)}
