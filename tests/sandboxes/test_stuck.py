"""A guard that is stopped or lost at a bad moment: found out in bounded time, ended, replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from watching import all_end, guard_below, marked, session, watchdogs

from symphony.sandboxes import (
    Level,
    LocalLauncher,
    Process,
    SandboxPolicy,
    SandboxRefused,
    SpawnSpec,
)
from symphony.sandboxes.guard import ENDING_S, SETUP_S
from symphony.sandboxes.link import ENDED, SILENCE_S, SILENCES, STUCK

LEVELS = [Level.STRICT, Level.NONE]
BOUND_S = SILENCE_S * SILENCES + 3 * ENDING_S


class Held:
    """A launcher with its guard in our hand."""

    def __init__(self, launcher: LocalLauncher, watchdog: psutil.Process, log: Path) -> None:
        self.launcher = launcher
        self.watchdog = watchdog
        self.guard = guard_below(watchdog)
        self.marker = uuid.uuid4().hex
        self._log = log

    async def sleeper(self, level: Level, **fields: bytes) -> Process:
        """An instance with a daemon of its own, both marked."""
        script = f"setsid sh -c 'sleep 60; : {self.marker}' & sleep 60; : {self.marker}"
        return await self.launcher.spawn(
            SpawnSpec(
                instance="sleeper",
                argv=("/usr/bin/sh", "-c", script),
                policy=SandboxPolicy(level=level),
                log=self._log,
                **fields,
            )
        )

    def nothing_is_left(self) -> bool:
        return session(self.watchdog.pid) == [] and marked(self.marker) == []


@asynccontextmanager
async def held(log: Path) -> AsyncIterator[Held]:
    here = psutil.Process()
    before = watchdogs(here)
    launcher = LocalLauncher()
    await launcher.start()
    await launcher.prove()
    (watchdog,) = watchdogs(here) - before
    subject = Held(launcher, watchdog, log)
    try:
        yield subject
    finally:
        await launcher.close()
        assert all_end(lambda: session(watchdog.pid))


@pytest.mark.parametrize("stopped", ["guard", "both"])
def test_a_spawn_fails_in_bounded_time_and_the_next_one_works(tmp_path: Path, stopped: str) -> None:
    """What ran under the stopped guard has ended by then, with the reason."""

    async def whole() -> None:
        async with held(tmp_path / "log") as subject:
            running = [await subject.sleeper(level) for level in LEVELS]
            subject.guard.suspend()
            if stopped == "both":
                subject.watchdog.suspend()
            async with asyncio.timeout(BOUND_S):
                failed = await subject.sleeper(Level.STRICT)
                reason = await failed.wait()
                ends = [await process.wait() for process in running]
            assert (failed.pid, reason.kind, reason.text) == (0, "spawn-failed", STUCK)
            assert {(end.kind, end.text) for end in ends} == {("killed", STUCK)}
            assert subject.nothing_is_left()
            again = await subject.sleeper(Level.STRICT)
            assert again.pid
            again.kill()
            assert (await again.wait()).text == "killed by the kernel"

    asyncio.run(whole())


@pytest.mark.parametrize("stopped", ["guard", "watchdog", "both"])
def test_close_ends_everything_in_bounded_time(tmp_path: Path, stopped: str) -> None:
    async def whole() -> None:
        async with held(tmp_path / "log") as subject:
            running = [await subject.sleeper(level) for level in LEVELS]
            for name, process in (("guard", subject.guard), ("watchdog", subject.watchdog)):
                if stopped in (name, "both"):
                    process.suspend()
            async with asyncio.timeout(3 * ENDING_S):
                await subject.launcher.close()
                ends = [await process.wait() for process in running]
            assert {end.text for end in ends} == {"the launcher was closed"}
            assert subject.nothing_is_left()

    asyncio.run(whole())


def test_a_kill_is_told_in_bounded_time(tmp_path: Path) -> None:
    async def whole() -> None:
        async with held(tmp_path / "log") as subject:
            process = await subject.sleeper(Level.STRICT)
            subject.guard.suspend()
            async with asyncio.timeout(BOUND_S):
                process.kill("its time was up")
                reason = await process.wait()
            assert (reason.kind, reason.text) == ("killed", "its time was up")
            assert subject.nothing_is_left()

    asyncio.run(whole())


def test_requests_that_no_longer_fit_the_socket_fail_too(tmp_path: Path) -> None:
    async def whole() -> None:
        async with held(tmp_path / "log") as subject:
            subject.guard.suspend()
            requests = [subject.sleeper(Level.STRICT, stdin=bytes(60 << 10)) for _ in range(20)]
            async with asyncio.timeout(BOUND_S):
                failed = await asyncio.gather(*requests)
            assert {(await process.wait()).text for process in failed} == {STUCK}
            assert subject.nothing_is_left()

    asyncio.run(whole())


def test_a_guard_lost_while_the_sandbox_was_tried_is_replaced(tmp_path: Path) -> None:
    async def whole() -> str:
        before = watchdogs(psutil.Process())
        launcher = LocalLauncher()
        await launcher.start()
        (watchdog,) = watchdogs(psutil.Process()) - before
        guard = guard_below(watchdog)
        guard.suspend()  # so that the canary, which starts now, gets no answer
        proof = asyncio.ensure_future(launcher.prove())
        await asyncio.sleep(0)
        guard.kill()
        try:
            await proof
            policy = SandboxPolicy(level=Level.STRICT)
            spec = SpawnSpec(
                instance="x", argv=("/usr/bin/true",), policy=policy, log=tmp_path / "log"
            )
            return (await (await launcher.spawn(spec)).wait()).kind
        finally:
            await launcher.close()

    assert asyncio.run(whole()) == "finished"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that a dropped user id can enter."""
    with tempfile.TemporaryDirectory(prefix="symphony-test-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_guards_lost_again_and_again_are_reported_as_that(open_folder: Path) -> None:
    """bubblewrap is a program here that names its guard, which is then killed."""
    os.mkfifo(open_folder / "guards")
    (open_folder / "guards").chmod(0o666)
    stub = open_folder / "bwrap"
    stub.write_text(f"#!/bin/sh\necho $PPID > {open_folder}/guards\nexec sleep 60\n")
    stub.chmod(0o755)
    named = os.open(open_folder / "guards", os.O_RDWR)

    def kill_guards() -> None:
        for _ in range(2):
            os.kill(int(os.read(named, 32)), signal.SIGKILL)

    async def whole() -> SandboxRefused:
        launcher = LocalLauncher(bwrap=str(stub))
        await launcher.start()
        try:
            killed = asyncio.to_thread(kill_guards)
            refused, _ = await asyncio.gather(launcher.prove(), killed, return_exceptions=True)
            assert isinstance(refused, SandboxRefused)
            return refused
        finally:
            await launcher.close()

    try:
        refused = asyncio.run(whole())
    finally:
        os.close(named)
    assert refused.mechanism.startswith("guard process")
    assert ENDED in refused.mechanism
    assert "2 times in a row" in refused.mechanism
    assert "bubblewrap" not in refused.remedy


def test_a_bubblewrap_that_does_nothing_is_given_up_and_harms_no_other(open_folder: Path) -> None:
    """It keeps the guard longer than one that is stuck may be silent."""
    assert SETUP_S > SILENCE_S * SILENCES
    stub = open_folder / "bwrap"
    stub.write_text("#!/bin/sh\nexec sleep 60\n")
    stub.chmod(0o755)

    async def whole() -> tuple[SandboxRefused, str]:
        launcher = LocalLauncher(bwrap=str(stub))
        await launcher.start()
        try:
            policy = SandboxPolicy(level=Level.NONE)
            argv = ("/usr/bin/sleep", "60")
            other = await launcher.spawn(
                SpawnSpec(instance="x", argv=argv, policy=policy, log=open_folder / "log")
            )
            with pytest.raises(SandboxRefused) as caught:
                await asyncio.wait_for(launcher.prove(), SETUP_S + ENDING_S)
            other.kill()
            return caught.value, (await other.wait()).text
        finally:
            await launcher.close()

    refused, other = asyncio.run(whole())
    assert "did not make the sandbox" in refused.mechanism
    assert other == "killed by the kernel"


_KERNEL = """
import asyncio, sys
from pathlib import Path
from symphony.sandboxes import Level, LocalLauncher, SandboxPolicy, SpawnSpec
async def main():
    launcher = LocalLauncher()
    await launcher.start()
    for level in (Level.STRICT, Level.NONE):
        await launcher.spawn(SpawnSpec(
            instance="x", argv=("/usr/bin/sh", "-c", "sleep 60; : " + sys.argv[1]),
            policy=SandboxPolicy(level=level), log=Path(sys.argv[2])))
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_a_stopped_guard_does_not_outlive_its_kernel(tmp_path: Path) -> None:
    marker = uuid.uuid4().hex
    argv = [sys.executable, "-c", _KERNEL, marker, str(tmp_path / "log")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as kernel:
        assert kernel.stdout is not None
        assert kernel.stdout.readline() == "ready\n"
        (watchdog,) = watchdogs(psutil.Process(kernel.pid))
        os.kill(guard_below(watchdog).pid, signal.SIGSTOP)
        kernel.kill()
    assert all_end(lambda: [*session(watchdog.pid), *marked(marker)], 3 * ENDING_S)


@pytest.mark.parametrize("ended_by", ["the kernel", "itself"])
def test_a_stopped_bubblewrap_does_not_keep_its_instance(tmp_path: Path, ended_by: str) -> None:
    """Killing the sandbox's first process leaves the outer one waiting to be continued."""

    async def test() -> None:
        async with held(tmp_path / "log") as subject:
            process = await subject.sleeper(Level.STRICT)
            outer = psutil.Process(process.pid).parent()
            assert outer is not None
            outer.suspend()
            if ended_by == "the kernel":
                process.kill("enough")
            else:
                psutil.Process(process.pid).kill()
            reason = await asyncio.wait_for(process.wait(), 2 * ENDING_S)
            assert (reason.kind, reason.text) in (
                ("killed", "enough"),
                ("signal", "ended by SIGKILL"),
            )
            assert (reason.kind == "killed") == (ended_by == "the kernel")
            assert subject.guard.is_running()
            assert marked(subject.marker) == []
            assert not outer.is_running()

    asyncio.run(test())
