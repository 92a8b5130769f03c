"""The kernel's end of the guard: starts it, sends it requests, hands on its reports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import seccomp
from .guard import MAX_PACKET
from .policy import SandboxRefused

# Runs the guard without importing this package's __init__, which needs more than the guard does.
_BOOT = (
    "import sys, types; package = types.ModuleType('sandboxes'); "
    "package.__path__ = [sys.argv.pop(1)]; sys.modules['sandboxes'] = package; "
    "from sandboxes.guard import main; main()"
)
_READY_S = 10.0

# An event and the descriptors that came with it; the receiver owns these.
Report = Callable[[dict[str, Any], list[int]], None]


class Link:
    """One guard, from its start to its end."""

    def __init__(
        self, report: Report, gone: Callable[[], None], keep_fds: tuple[int, ...] = ()
    ) -> None:
        self._keep_fds = keep_fds
        self._report = report
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[str] = self._loop.create_future()
        self._sending = asyncio.Lock()
        self._socket: socket.socket | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._watchdog_fd = -1
        self._ending: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self._socket is not None

    async def open(self) -> str:
        """Starts the guard; gives what keeps it from making sandboxes, or "".

        Raises SandboxRefused if there is no guard at all.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._guard = subprocess.Popen(  # noqa: ASYNC220 - returns after one fork and exec
                [
                    *(sys.executable, "-I", "-S", "-c", _BOOT),
                    *(str(Path(__file__).parent), str(theirs.fileno())),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *self._keep_fds),
                start_new_session=True,
                cwd="/",
            )
        ours.setblocking(False)
        self._socket = ours
        self._loop.add_reader(ours.fileno(), self._receive)
        # Not only the end of the socket tells: a fork of the guard's could hold it open.
        self._watchdog_fd = os.pidfd_open(self._guard.pid)
        self._loop.add_reader(self._watchdog_fd, self._watchdog_ended)
        try:
            await self.send(seccomp.program())
            return await asyncio.wait_for(asyncio.shield(self._ready), _READY_S)
        except (TimeoutError, OSError) as fault:
            await self.close()
            raise SandboxRefused("guard process", f"it did not start ({fault!r})") from fault
        except BaseException:
            await self.close()
            raise

    async def send(self, packet: bytes) -> None:
        """Raises ConnectionError if the guard has ended."""
        async with self._sending:
            if self._socket is None:
                raise ConnectionError("the guard of the sandboxes has ended")
            await self._loop.sock_sendall(self._socket, packet)

    async def close(self) -> None:
        """Ends the guard and with it everything it started. Idempotent."""
        self._lost()
        if self._ending is not None:
            await self._ending

    def _receive(self) -> None:
        """Takes every report that is there."""
        while self._socket is not None:
            try:
                packet, fds, _, _ = socket.recv_fds(self._socket, MAX_PACKET, 1)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # it died with requests unread; its last reports follow all the same
            if not packet:
                self._lost()
                return
            event = json.loads(packet)
            if event["event"] == "ready":
                self._ready.set_result(event["fault"])
            else:
                self._report(event, fds)

    def _watchdog_ended(self) -> None:
        self._receive()
        self._lost()

    def _lost(self) -> None:
        if self._socket is None or self._guard is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self._loop.remove_reader(self._watchdog_fd)
        os.close(self._watchdog_fd)
        self._ending = self._loop.create_task(self._end(self._guard))

    async def _end(self, guard: subprocess.Popen[bytes]) -> None:
        """Its watchdog exits when nothing below is left; only then is everything told gone."""
        await self._loop.run_in_executor(None, _outlive, guard)
        if not self._ready.done():
            with contextlib.suppress(asyncio.InvalidStateError):
                self._ready.set_exception(
                    SandboxRefused("guard process", "it ended at once; stderr may say why")
                )
        self._gone()


def _outlive(guard: subprocess.Popen[bytes]) -> None:
    """Waits for the end of watchdog and guard, and ends what both being killed left.

    Such a process still has their session; its number is not reused before the last `wait`.
    """
    os.waitid(os.P_PID, guard.pid, os.WEXITED | os.WNOWAIT)
    while left := _session(guard.pid):
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    guard.wait()


def _session(number: int) -> list[int]:
    """The living processes of a session, see proc(5) for the fields."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == number and state not in "ZX":
                    found.append(int(entry.name))
    return found


def close_all(fds: list[int]) -> None:
    """For descriptors that came with a report nobody takes."""
    for fd in fds:
        os.close(fd)
