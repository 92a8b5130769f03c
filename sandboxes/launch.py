"""Starts instances on this machine, through the guard."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from . import bubblewrap, canary, exits, staging
from . import runtime as runtimes
from .guard import MAX_PACKET
from .identities import Identities, check_range
from .job import Request
from .link import Link, close_all
from .policy import CODE, ExitReason, Level, SandboxRefused, SpawnSpec, places

_PROOFS = 2  # of which the second is for a guard that was lost in the first
_NO_MOUNTS = (
    "root must be able to mount: start Symphony as an ordinary user instead, or give the container "
    "SYS_ADMIN"
)


class Process(Protocol):
    """A started instance. `pid`: its first process; 0 if it could not be started."""

    instance: str
    pid: int
    level: Level

    async def wait(self) -> ExitReason: ...

    def kill(self, reason: str = ...) -> None: ...


class Launcher(Protocol):
    """Starts instances somewhere. `close` ends all that is left."""

    async def start(self) -> None: ...

    def identity(self, level: Level) -> int: ...

    async def spawn(self, spec: SpawnSpec) -> Process: ...

    async def close(self) -> None: ...


class LocalProcess:
    """An instance under the guard."""

    def __init__(
        self, spec: SpawnSpec, uid: int | None, expect: Callable[[asyncio.Future[Any]], None]
    ) -> None:
        """`expect` is told what the guard owes an answer to."""
        loop = asyncio.get_running_loop()
        self.instance = spec.instance
        self.level = spec.policy.level
        self.pid = 0
        self.uid = uid
        self._killed: str | None = None
        self._pidfd: int | None = None
        self._known: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[ExitReason] = loop.create_future()
        self._expect = expect
        expect(self._known)

    async def wait(self) -> ExitReason:
        """Waits for the end of the whole tree."""
        return await asyncio.shield(self._ended)

    def kill(self, reason: str = "killed by the kernel") -> None:
        """Kills the whole tree: its first process is the init of all the others. Idempotent."""
        if self._ended.done():
            return
        self._killed = self._killed or reason
        if self._pidfd is not None:
            # Only a setuid program, without a sandbox, may refuse.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self._expect(self._ended)

    async def known(self) -> None:
        """Waits until the guard has registered it or has reported why it did not start."""
        await asyncio.shield(self._known)

    def started(self, pid: int, pidfd: int) -> None:
        """Takes over `pidfd`."""
        self.pid, self._pidfd = pid, pidfd
        if self._killed is not None:
            self.kill(self._killed)
        if not self._known.done():
            self._known.set_result(None)

    def ended(self, code: int | None, text: str) -> None:
        reason = exits.interpret(code, text, killed=self._killed)
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if not self._known.done():
            self._known.set_result(None)
        if not self._ended.done():
            self._ended.set_result(reason)


class LocalLauncher:
    """The launcher of this machine: one guard, one canary sandbox, then any number of instances.

    `start` returns as soon as the guard is ready; the canary runs meanwhile, and the first
    sandboxed `spawn` (or `prove`) waits for it and raises SandboxRefused if there is no sandbox.
    A guard that was killed takes its instances with it; the next `spawn` starts another.
    """

    def __init__(
        self,
        *,
        bwrap: str | None = None,
        keep_fds: tuple[int, ...] = (),
        scratch: Path | None = None,
        open_files: int | None = None,
    ) -> None:
        """`keep_fds` stay open in the guard, and in nothing that it starts, until it has ended
        every instance: a lock held this way tells when the last process is gone. `open_files` is
        the soft limit that instances start with, where ours is not meant for them."""
        self._keep_fds = keep_fds
        self._scratch = scratch  # where the canary's log lies meanwhile; None: the temporary folder
        self._open_files = open_files
        self._bwrap = bwrap or shutil.which("bwrap")
        self._runtime = runtimes.find()
        self._root = os.geteuid() == 0
        self._identities = Identities()
        self._link: Link | None = None
        self._linking = asyncio.Lock()
        self._fault = ""
        self._proof: asyncio.Task[None] | None = None
        self._processes: dict[int, LocalProcess] = {}
        self._last = 0

    async def start(self) -> None:
        """Starts the guard. Raises SandboxRefused where not even that is possible."""
        await self._open()
        self._proof = asyncio.create_task(self._prove())
        # Its failure belongs to whoever asks for a sandbox; nobody may ever do.
        self._proof.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def prove(self, level: Level = Level.STRICT) -> None:
        """Waits for the canary. Raises SandboxRefused if the level cannot be had here."""
        if level is Level.MINIMAL:
            raise SandboxRefused(
                "sandbox level minimal",
                "not available in this version: ask for strict, or for none if you trust the code",
            )
        if level is Level.NONE:
            return
        if self._proof is None:
            raise RuntimeError("the launcher is not started")
        await asyncio.shield(self._proof)

    def identity(self, level: Level) -> int:
        """The user id that an instance of this level will run as, for the spec of one `spawn`; it
        is free again when that fails or its instance has ended."""
        return self._identities.take() if self._has_own_uid(level) else os.geteuid()

    async def spawn(self, spec: SpawnSpec) -> Process:
        """Starts an instance; what goes wrong with this one alone is told by its `wait`.

        Raises SandboxRefused if its level cannot be had, ValueError for a bind that may not be or a
        request over 128 KiB.
        """
        try:
            await self.prove(spec.policy.level)
            return await self._launch(spec)
        except BaseException:
            if spec.uid is not None:
                self._identities.give_back(spec.uid)
            raise

    async def close(self) -> None:
        """Ends the guard and with it every instance. Idempotent."""
        if self._proof is not None:
            self._proof.cancel()
            await asyncio.gather(self._proof, return_exceptions=True)
        for process in self._processes.values():
            process.kill("the launcher was closed")
        async with self._linking:
            link, self._link = self._link, None
            if link is not None:
                await link.close()

    async def _prove(self) -> None:
        if self._root:
            check_range()
        if self._fault:
            raise SandboxRefused(f"private mounts of the guard ({self._fault})", _NO_MOUNTS)
        for _ in range(_PROOFS):
            link = await self._linked()
            try:
                return await canary.prove(self._launch, self._bwrap, self._scratch)
            except SandboxRefused:
                if link.alive:
                    raise
        # A canary that went down with its guard has said nothing about sandboxes.
        raise SandboxRefused(
            f"guard process ({link.fate} while a sandbox was tried, {_PROOFS} times in a row)",
            "find out what kills or stops it (`dmesg` tells if memory ran out), then start again",
        )

    def _has_own_uid(self, level: Level) -> bool:
        return self._root and level is not Level.NONE

    async def _open(self) -> Link:
        link = Link(self._report, self._guard_gone, self._keep_fds)
        self._fault = await link.open()
        self._link = link
        return link

    async def _linked(self) -> Link:
        async with self._linking:
            if self._link is None:
                raise RuntimeError("the launcher is not started")
            if self._link.alive:
                return self._link
            await self._link.close()
            return await self._open()

    async def _launch(self, spec: SpawnSpec) -> LocalProcess:
        link = await self._linked()
        self._last += 1
        number = self._last
        level = spec.policy.level
        uid = (spec.uid or self.identity(level)) if self._has_own_uid(level) else None
        process = LocalProcess(spec, uid, link.expect)
        self._processes[number] = process
        try:
            await link.send(self._request(number, spec, process.uid))
        except ConnectionError as fault:
            self._ended(number, None, str(fault))
        except BaseException:
            self._ended(number, None, "not started")
            raise
        await process.known()
        return process

    def _request(self, number: int, spec: SpawnSpec, uid: int | None) -> bytes:
        """The guard's packet. Raises ValueError for what may not be asked."""
        command = bubblewrap.command(spec.argv, self._runtime)
        request = _unconfined(number, spec, command, self._open_files)
        if spec.policy.level is not Level.NONE:
            shown = bubblewrap.mounts(spec, self._runtime)
            sources = [str(mount.source) for mount in shown]
            if uid is not None:
                request["shown"] = [(str(m.source), m.writable, m.own) for m in shown]
                sources = [staging.path(str(number), i) for i in range(len(shown))]
            request["uid"] = uid
            request["bwrap"] = self._bwrap or "bwrap"
            request["options"] = bubblewrap.options(spec.policy, shown, sources)
            request["command"] = [*bubblewrap.limits(spec.policy), *command]
            request["environment"] = {}  # the instance's is among the options
            request["folder"] = "/"
        packet = json.dumps(request).encode() + b"\n" + spec.stdin
        if len(packet) > MAX_PACKET:
            raise ValueError(f"spawn request of {len(packet)} bytes; the limit is {MAX_PACKET}")
        return packet

    def _report(self, event: dict[str, Any], fds: list[int]) -> None:
        match event:
            case {"event": "started", "id": number, "pid": pid} if number in self._processes:
                self._processes[number].started(pid, fds.pop())
            case {"event": "ended", "id": number, "code": code, "text": text}:
                self._ended(number, code, text)
        close_all(fds)

    def _ended(self, number: int, code: int | None, text: str) -> None:
        process = self._processes.pop(number, None)
        if process is not None:
            process.ended(code, text)
            if process.uid is not None:
                self._identities.give_back(process.uid)

    def _guard_gone(self, reason: str) -> None:
        for number, process in list(self._processes.items()):
            if process.pid:
                process.kill(reason)
            self._ended(number, None, reason)


def _unconfined(
    number: int, spec: SpawnSpec, command: list[str], open_files: int | None
) -> Request:
    """Level none: the caller's PATH and HOME, the host's paths."""
    environment = bubblewrap.environment(spec.policy, home=os.environ.get("HOME", "/"))
    environment["PATH"] = os.environ.get("PATH", environment["PATH"])
    return {
        "id": number,
        "command": _outside(command, places(spec).code),
        "options": None,
        "bwrap": "",
        "uid": None,
        "shown": [],
        "environment": environment,
        "folder": str(spec.code or "/"),
        "log": str(spec.log),
        "open_files": open_files,
    }


def _outside(command: list[str], code: str) -> list[str]:
    """Without a sandbox the code folder lies where it is on the host."""
    return [
        code + word.removeprefix(CODE) if word == CODE or word.startswith(CODE + "/") else word
        for word in command
    ]
