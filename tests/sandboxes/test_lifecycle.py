"""How instances end: by themselves, by our kill, by the death of the kernel or the guard."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from watching import all_end, guard_below, marked, session, watchdogs

from symphony.sandboxes import Level, LocalLauncher, SandboxPolicy, SpawnSpec, places

LEVELS = [Level.STRICT, Level.NONE]


def _lines(fd: int, count: int, seconds: float = 10) -> bool:
    """Waits until so many lines have come through a pipe; False if it ends or time runs out."""
    arrived = select.poll()
    arrived.register(fd, select.POLLIN)
    while count > 0:
        if not arrived.poll(seconds * 1000) or not (chunk := os.read(fd, 4096)):
            return False
        count -= chunk.count(b"\n")
    return True


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
def test_kill_ends_the_whole_tree_within_50_ms(
    sandboxes: Any, level: Level, tmp_path: Path
) -> None:
    marker = uuid.uuid4().hex
    os.mkfifo(tmp_path / "ready", 0o600)
    ready = os.open(tmp_path / "ready", os.O_RDWR)

    async def once() -> tuple[float, str]:
        spec = sandboxes.spec("sh", policy=SandboxPolicy(level=level), outbox=tmp_path)
        one = f"echo up >{places(spec).outbox}/ready; sleep 60; : {marker}"
        script = f"for i in 1 2 3 4 5; do sh -c '{one}' & done; {one}"
        spec = replace(spec, argv=("/usr/bin/sh", "-c", script))
        process = await sandboxes.launcher.spawn(spec)
        assert await asyncio.to_thread(_lines, ready, 6)
        assert len(marked(marker)) >= 6
        begun = time.perf_counter()
        process.kill()
        reason = await process.wait()
        took = time.perf_counter() - begun
        process.kill()  # again does nothing
        return took, reason.kind

    try:
        took, kind = sandboxes.runner.run(once())
    finally:
        os.close(ready)
    assert kind == "killed"
    assert took < 0.050
    assert marked(marker) == []


def test_a_daemon_ends_with_the_instance(sandboxes: Any) -> None:
    marker = uuid.uuid4().hex
    script = f"setsid sh -c 'sleep 60; : {marker}' & exit 0"
    assert sandboxes.run("/usr/bin/sh", "-c", script)[0].kind == "finished"
    assert marked(marker) == []


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
    (watchdog,) = watchdogs(here)
    guard = guard_below(watchdog)

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
    assert held() == before


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
    assert marked(marker) == []


_KERNEL = """
import asyncio, sys
from pathlib import Path
from symphony.sandboxes import Level, LocalLauncher, SandboxPolicy, SpawnSpec
async def main():
    launcher = LocalLauncher(keep_fds=(int(sys.argv[4]),))
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


@contextlib.contextmanager
def _kernel(marker: str, log: Path, level: Level) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that starts instances, and a pipe that ends when it and its guards are gone."""
    gone, held = os.pipe()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", _KERNEL, marker, str(log), level, str(held)],
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            pass_fds=(held,),
        ) as kernel:
            os.close(held)
            try:
                yield kernel, gone
            finally:
                kernel.kill()
                assert not _lines(gone, 1)  # its end, not a line
                assert marked(marker) == []
    finally:
        os.close(gone)


def test_killing_the_kernel_at_any_moment_leaves_no_orphan(tmp_path: Path) -> None:
    chance = random.Random(3)  # noqa: S311 - moments of faults
    for turn in range(40):
        marker = uuid.uuid4().hex
        level = LEVELS[0] if turn % 4 else LEVELS[1]
        with _kernel(marker, tmp_path / "log", level) as (kernel, gone):
            assert kernel.stdout is not None
            assert kernel.stdout.readline() == "ready\n"
            (watchdog,) = watchdogs(psutil.Process(kernel.pid))
            select.select([], [], [], chance.uniform(0, 0.020))  # the moment of the fault
            kernel.kill()
            assert os.read(gone, 1) == b""
            assert marked(marker) == [], f"orphans in turn {turn}"
            assert all_end(lambda w=watchdog.pid: session(w)), f"guard left in turn {turn}"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("victims", [[0], [1], [0, 1]], ids=["watchdog", "guard", "both"])
def test_killing_the_guard_or_its_watchdog_ends_everything(
    tmp_path: Path, victims: list[int], level: Level
) -> None:
    chance = random.Random(len(victims))  # noqa: S311 - moments of faults
    for turn in range(5):
        marker = uuid.uuid4().hex
        with _kernel(marker, tmp_path / "log", level) as (kernel, _):
            assert kernel.stdout is not None
            assert kernel.stdout.readline() == "ready\n"
            assert kernel.stdout.readline() == "spawned\n"
            (watchdog,) = watchdogs(psutil.Process(kernel.pid))
            pair = (watchdog, guard_below(watchdog))
            assert len(marked(marker)) > 1
            select.select([], [], [], chance.uniform(0, 0.010))  # the moment of the fault
            for victim in victims:
                pair[victim].kill()
            # What a new guard starts for the calls that still wait is none of theirs.
            theirs = {*marked(marker)} - {kernel.pid}
            ended = all_end(lambda m=marker, t=theirs: t & {*marked(m)})
            assert ended, f"orphans in turn {turn}"
            assert all_end(lambda w=watchdog.pid: session(w)), f"left over in turn {turn}"


def test_after_the_guard_was_killed_instances_are_told_and_new_ones_start(tmp_path: Path) -> None:
    def spec() -> SpawnSpec:
        argv = ("/usr/bin/sleep", "60")
        return SpawnSpec(instance="x", argv=argv, policy=SandboxPolicy(), log=tmp_path / "log")

    async def whole() -> tuple[str, str, str]:
        launcher = LocalLauncher()
        await launcher.start()
        try:
            first = await launcher.spawn(spec())
            guards = [guard_below(watchdog) for watchdog in watchdogs(psutil.Process())]
            next(g for g in guards if first.pid in _descendants(g)).kill()
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


@pytest.mark.parametrize("level", [Level.STRICT, Level.NONE])
def test_the_soft_limit_of_descriptors_can_be_another_than_the_kernels(
    tmp_path: Path, level: Level
) -> None:
    """A kernel raises its own; programs that count on a small one (select, loops that close all
    descriptors) must not meet that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def test() -> str:
        launcher = LocalLauncher(open_files=333)
        await launcher.start()
        try:
            spec = SpawnSpec(
                instance="counter",
                argv=("/usr/bin/sh", "-c", "ulimit -Sn; ulimit -Hn"),
                policy=SandboxPolicy(level=level, open_files=222),
                log=tmp_path / "log",
            )
            await (await launcher.spawn(spec)).wait()
        finally:
            await launcher.close()
        return spec.log.read_text()

    found = asyncio.run(test()).split()
    assert found == (["222", "222"] if level is Level.STRICT else ["333", str(hard)])
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
