"""The kernel's end of the guard: starts it, sends it requests, hands on its reports.

Nothing is waited for without a limit. While the guard owes an answer, any report is a sign of its
life and a silent one is pinged; one that stays silent is ended by force, as is one that does not
end: the watchdog is told to kill it, and if that does not work either, all their processes are
killed from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import seccomp
from .guard import ENDING_S, MAX_PACKET, PING
from .policy import SandboxRefused

# Runs the guard without importing this package's __init__, which needs more than the guard does.
_BOOT = (
    "import sys, types; package = types.ModuleType('sandboxes'); "
    "package.__path__ = [sys.argv.pop(1)]; sys.modules['sandboxes'] = package; "
    "from sandboxes.guard import main; main()"
)
_READY_S = 10.0
# A spawn is answered in some 10 ms, and many at once report one after another; five seconds are
# also what the bus allows a peer to be silent. Counted one by one, so that a pause of the whole
# machine is not held against the guard.
SILENCE_S, SILENCES = 1.0, 5

ENDED = "the guard of the sandboxes ended"
STUCK = f"the guard of the sandboxes did not answer for {SILENCE_S * SILENCES:g} s and was ended"

# An event and the descriptors that came with it; the receiver owns these.
Report = Callable[[dict[str, Any], list[int]], None]


class Link:
    """One guard, from its start to its end."""

    def __init__(
        self, report: Report, gone: Callable[[str], None], keep_fds: tuple[int, ...] = ()
    ) -> None:
        """`gone` is called with the reason once nothing of the guard's is left."""
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
        self._owed: set[asyncio.Future[Any]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._reports = 0
        self._over: asyncio.Future[str] = self._loop.create_future()  # why there is no guard now

    @property
    def alive(self) -> bool:
        return self._socket is not None

    @property
    def fate(self) -> str:
        """Why it is not alive."""
        return self._over.result()

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
        except BaseException as fault:
            self._ready.cancel()
            await self.close()
            if isinstance(fault, TimeoutError | OSError):
                raise SandboxRefused("guard process", f"it did not start ({fault!r})") from fault
            raise

    async def send(self, packet: bytes) -> None:
        """Raises ConnectionError if the guard has ended."""
        async with self._sending:
            if self._socket is None:
                raise ConnectionError(self.fate)
            sending = self._loop.create_task(self._loop.sock_sendall(self._socket, packet))
            either: tuple[asyncio.Future[Any], ...] = (sending, self._over)
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if not sending.done():
                    raise ConnectionError(self.fate)
                sending.result()
            finally:
                sending.cancel()

    def expect(self, answer: asyncio.Future[Any]) -> None:
        """The guard owes `answer`; it is ended by force if it falls silent over that."""
        self._owed.add(answer)
        answer.add_done_callback(self._owed.discard)
        if self._watch is None or self._watch.done():
            self._watch = self._loop.create_task(self._until_answered())

    async def _until_answered(self) -> None:
        silences = 0
        while self._owed and self._socket is not None:
            heard = self._reports
            await asyncio.wait(self._owed, timeout=SILENCE_S)
            silences = silences + 1 if self._reports == heard else 0
            if silences >= SILENCES:
                self._lost(stuck=True)
            elif silences and self._socket is not None:
                with contextlib.suppress(OSError):  # full, or broken: it will not answer
                    self._socket.send(PING)

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
            self._reports += 1
            event = json.loads(packet)
            if event["event"] == "ready":
                self._ready.set_result(event["fault"])
            else:
                self._report(event, fds)

    def _watchdog_ended(self) -> None:
        self._receive()
        self._lost()

    def _lost(self, *, stuck: bool = False) -> None:
        if self._socket is None or self._guard is None:
            return
        self._over.set_result(STUCK if stuck else ENDED)
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._socket = None
        self._loop.remove_reader(self._watchdog_fd)
        os.close(self._watchdog_fd)
        self._ending = self._loop.create_task(self._end(self._guard, stuck=stuck))

    async def _end(self, watchdog: subprocess.Popen[bytes], *, stuck: bool) -> None:
        """The watchdog exits when nothing below is left; only then is everything told gone."""
        await self._loop.run_in_executor(None, _outlive, watchdog, stuck)
        if not self._ready.done():
            with contextlib.suppress(asyncio.InvalidStateError):
                self._ready.set_exception(
                    SandboxRefused("guard process", "it ended at once; stderr may say why")
                )
        self._gone(self.fate)


def _outlive(watchdog: subprocess.Popen[bytes], stuck: bool) -> None:
    """Waits for the end of watchdog and guard, by force if need be, and ends what they left.

    What both being killed leaves still has their session, whose number is not reused before the
    last `wait`. Only a process that the system does not let go can be left after that.
    """
    if stuck or not _has_ended(watchdog.pid):
        os.kill(watchdog.pid, signal.SIGTERM)
        os.kill(watchdog.pid, signal.SIGCONT)  # it may be stopped too
        if not _has_ended(watchdog.pid):
            os.kill(watchdog.pid, signal.SIGKILL)
    deadline = time.monotonic() + ENDING_S
    while (left := _session(watchdog.pid)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _has_ended(left[0])
    watchdog.wait()


def _has_ended(pid: int) -> bool:
    """Waits for it, as long as an end may take."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ended = select.poll()
        ended.register(fd, select.POLLIN)
        return bool(ended.poll(ENDING_S * 1000))
    finally:
        os.close(fd)


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
