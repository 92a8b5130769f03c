"""The guard: a small resident process that starts sandboxes and outlives none of them.

    kernel ── sequenced packets ── guard ── bwrap ── pid 1 of the sandbox ── the instance
                                     │
                                 watchdog (its parent)

A process per job, because namespaces and parent-death signals belong to threads: the guard has one
thread, its own mount namespace, and is the reaper of everything below it. When the kernel's end of
the socket closes it kills all its descendants and exits. Its parent, the watchdog, does only that
when the guard itself is killed, and kills a guard that is stuck: one that outlives the kernel, or
any on SIGTERM. Standard library only: it starts with -I -S in few milliseconds.

Packets from the kernel: first the system call filter, then spawn requests (one JSON line,
`job.Request`, and raw bytes, the instance's standard input) and `PING`. To the kernel, JSON:
`ready`; `alive` (to a ping); `started` (with a pidfd of the sandbox, before it is released);
`ended`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import staging
from .job import Job

MAX_PACKET = 128 * 1024
PING = b"?"
# Killing and reaping takes milliseconds. One that needs longer is stuck, and force loses nothing:
# what it would still do, the next one up does.
ENDING_S = 2.0
SETUP_S = 10.0  # for bubblewrap to name the sandbox's first process, which takes some 10 ms
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def kill_descendants() -> None:
    """Kills and reaps children until there are none: as the reaper we inherit theirs."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := children.read_text().split():
        for pid in map(int, pids):
            # Only a setuid program, without a sandbox, may refuse: that one is waited for.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in map(int, pids):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


class Guard:
    """The loop: requests from the kernel, reports of bubblewrap, ends of processes."""

    def __init__(self, kernel: socket.socket, filter_program: bytes) -> None:
        """`filter_program`: the encoded system call filter of all sandboxes."""
        self._kernel = kernel
        self._filter = filter_program
        self._jobs: dict[int, Job] = {}
        self._selector = selectors.DefaultSelector()

    def run(self, fault: str) -> None:
        """Serves until the kernel or the watchdog is gone. `fault`: what keeps sandboxes away."""
        self._selector.register(self._kernel, selectors.EVENT_READ)
        self._selector.register(os.pidfd_open(os.getppid()), selectors.EVENT_READ)
        self._send({"event": "ready", "fault": fault})
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._kernel:
                    packet = self._kernel.recv(MAX_PACKET)
                    if not packet:
                        return
                    if packet == PING:
                        self._send({"event": "alive"})
                    else:
                        self._spawn(packet)
                elif key.data is None:
                    return
                elif key.data.id in self._jobs:
                    self._advance(key.data, key.fd)
            self._give_up()
            self._reap_strays()

    def _patience(self) -> float | None:
        """Seconds until the next sandbox should be there, or bubblewrap gone with it."""
        due = [job.begun + SETUP_S for job in self._jobs.values() if not job.started]
        due += [job.over + ENDING_S for job in self._jobs.values() if job.over is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _give_up(self) -> None:
        now = time.monotonic()
        for job in list(self._jobs.values()):
            if not job.started and job.begun + SETUP_S <= now:
                self._abort(job, f"bubblewrap did not make the sandbox within {SETUP_S:g} s")
            elif job.over is not None and job.over + ENDING_S <= now and job.process is not None:
                job.over = None
                job.process.kill()  # somebody stopped it; its end is told like any other

    def _send(self, event: dict[str, Any], *fds: int) -> None:
        socket.send_fds(self._kernel, [json.dumps(event).encode()], fds)

    def _spawn(self, packet: bytes) -> None:
        line, _, stdin = packet.partition(b"\n")
        job = Job(json.loads(line), stdin)
        try:
            job.start(self._filter)
        except (OSError, ValueError, subprocess.SubprocessError) as fault:
            self._end(job, str(fault))
            return
        self._jobs[job.id] = job
        self._selector.register(job.pidfd or -1, selectors.EVENT_READ, job)
        if job.status_fd is not None:
            self._selector.register(job.status_fd, selectors.EVENT_READ, job)
        else:
            self._started(job)

    def _advance(self, job: Job, fd: int) -> None:
        """One step of one instance; what goes wrong in it ends that instance alone."""
        try:
            self._progress(job, fd)
        except OSError as fault:
            self._abort(job, str(fault))

    def _abort(self, job: Job, fault: str) -> None:
        if job.process is not None:
            job.process.kill()
        if self._jobs.get(job.id) is job:
            self._forget(job)
            self._end(job, fault)

    def _progress(self, job: Job, fd: int) -> None:
        if fd == job.pidfd:
            self._forget(job)
            self._end(job)
            return
        if fd == job.init_fd:
            self._selector.unregister(fd)
            job.over = time.monotonic()
            return
        if not job.read_status():
            self._selector.unregister(fd)
        if not job.started and job.register():
            self._started(job)

    def _started(self, job: Job) -> None:
        held = job.init_fd if job.init_fd is not None else job.pidfd
        pid = job.init or (job.process.pid if job.process else 0)
        job.started = True
        if job.init_fd is not None:
            self._selector.register(job.init_fd, selectors.EVENT_READ, job)
        self._send({"event": "started", "id": job.id, "pid": pid}, held or -1)
        job.release()

    def _forget(self, job: Job) -> None:
        del self._jobs[job.id]
        for fd in (job.pidfd, job.init_fd, job.status_fd):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(fd if fd is not None else -1)

    def _end(self, job: Job, fault: str = "") -> None:
        code, tail = job.end()
        outcome = {"code": None, "text": fault} if fault else {"code": code, "text": tail}
        self._send({"event": "ended", "id": job.id, **outcome})

    def _reap_strays(self) -> None:
        """Reaps processes that we inherited, and leaves our own to `Job.end`."""
        own = {job.process.pid for job in self._jobs.values() if job.process}
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, look)) and found.si_pid not in own:
                os.waitpid(found.si_pid, 0)


def main() -> None:
    """`guard SOCKET_FD`: forks into watchdog and guard. The first packet is the filter program."""
    kernel = socket.socket(fileno=int(sys.argv[1]))
    kernel.set_inheritable(False)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    guard = os.fork()
    if guard:
        kernel.close()
        _watch(guard, os.getppid())
        kill_descendants()
        return
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        filter_program = kernel.recv(MAX_PACKET)
        if filter_program:
            with contextlib.suppress(ConnectionError):  # the kernel is gone: nobody to report to
                Guard(kernel, filter_program).run(_own_mounts())
    finally:
        kill_descendants()


def _watch(guard: int, kernel: int) -> None:
    """Waits for the guard's end; forces it on SIGTERM, or when the kernel ended long enough ago."""
    guard_fd, kernel_fd = os.pidfd_open(guard), os.pidfd_open(kernel)

    def force(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(guard_fd, signal.SIGKILL)

    signal.signal(signal.SIGTERM, force)
    ended = select.poll()
    ended.register(guard_fd, select.POLLIN)
    either = select.poll()
    either.register(guard_fd, select.POLLIN)
    either.register(kernel_fd, select.POLLIN)
    either.poll()
    if not ended.poll(ENDING_S * 1000):
        force()
    os.waitpid(guard, 0)


def _own_mounts() -> str:
    """As root, enters the private mount namespace; gives what went wrong, or ""."""
    try:
        if os.geteuid() == 0:
            staging.enter()
    except OSError as fault:
        return str(fault)
    return ""
