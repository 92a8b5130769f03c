"""The guard: a small resident process that starts sandboxes and outlives none of them.

    kernel ── sequenced packets ── guard ── bwrap ── pid 1 of the sandbox ── the instance
                                     │
                                 watchdog (its parent)

A process per job, because namespaces and parent-death signals belong to threads: the guard has one
thread, its own mount namespace, and is the reaper of everything below it. When the kernel's end of
the socket closes it kills all its descendants and exits. Its parent, the watchdog, does only that
when the guard itself is killed. Standard library only: it starts with -I -S in few milliseconds.

Packets are one JSON line, then raw bytes. From the kernel: `spawn` (fields in `_Job`; the raw bytes
are the instance's standard input). To the kernel: `ready`; `started` (with a pidfd of the sandbox,
before it is released); `ended`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import staging

MAX_PACKET = 128 * 1024
TAIL_BYTES = 2048
_END_OF_TREE_S = 2.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_libc = ctypes.CDLL(None, use_errno=True)


def kill_descendants() -> None:
    """Kills and reaps children until there are none: as the reaper we inherit theirs."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := children.read_text().split():
        for pid in map(int, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in map(int, pids):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _memory_file(name: str, content: bytes) -> int:
    fd = os.memfd_create(name)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _shell_code(returncode: int) -> int:
    """bubblewrap's convention for both: 128 + signal."""
    return returncode if returncode >= 0 else 128 - returncode


class _Job:
    """One instance, from the request to the end of its last process."""

    def __init__(self, request: dict[str, Any], stdin: bytes) -> None:
        self.id: int = request["id"]
        self.command: list[str] = request["command"]
        self.options: list[str] | None = request["options"]  # None: no sandbox
        self.bwrap: str = request["bwrap"]
        self.uid: int | None = request["uid"]  # None: the guard's own
        self.shown: list[tuple[str, bool]] = request["shown"]
        self.environment: dict[str, str] = request["environment"]
        self.folder: str = request["folder"]
        self.log_path: str = request["log"]
        self.stdin = stdin
        self.stage: staging.Stage | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.pidfd: int | None = None
        self.init: int | None = None  # pid 1 of the sandbox, as seen from here
        self.init_fd: int | None = None
        self.status_fd: int | None = None
        self.status = b""
        self.release_fd: int | None = None
        self.log_start = 0
        self.started = False

    def start(self, filter_program: bytes) -> None:
        """Starts it; a sandbox then waits for `release`. Raises OSError."""
        with contextlib.ExitStack() as passed:

            def keep(fd: int) -> int:
                passed.callback(os.close, fd)
                return fd

            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            log = keep(os.open(self.log_path, flags, 0o600))
            self.log_start = os.fstat(log).st_size
            stdin = keep(_memory_pipe(self.stdin))
            argv, descriptors = self.command, ()
            if self.options is not None:
                argv, descriptors = self._sandboxed(filter_program, keep)
            guard = os.getpid()

            def bind_life() -> None:
                _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != guard:
                    os._exit(1)

            identity: dict[str, Any] = {}
            if self.uid is not None:
                identity = {"user": self.uid, "group": self.uid, "extra_groups": []}
            self.process = subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.folder,
                pass_fds=descriptors,
                start_new_session=True,
                preexec_fn=bind_life,
                **identity,
            )
        self.pidfd = os.pidfd_open(self.process.pid)

    def _sandboxed(self, filter_program: bytes, keep: Any) -> tuple[list[str], tuple[int, ...]]:
        if self.uid is not None:
            self.stage = staging.Stage(str(self.id), self.uid)
            for index, (source, writable) in enumerate(self.shown):
                self.stage.add(index, source, writable=writable)
            self.stage.mapped()
        block, self.release_fd = os.pipe()
        self.status_fd, status = os.pipe()
        os.set_blocking(self.status_fd, False)
        numbers = {
            "--block-fd": keep(block),
            # The sandbox itself holds the other end until it is released, for the end of the block
            # pipe would mean "go". bubblewrap closes it before it runs the command.
            "--sync-fd": self.release_fd,
            "--json-status-fd": keep(status),
            "--seccomp": keep(_memory_file("filter", filter_program)),
        }
        options = [*(self.options or ()), *(str(w) for pair in numbers.items() for w in pair)]
        listed = keep(_memory_file("options", b"\0".join(map(os.fsencode, options)) + b"\0"))
        argv = [self.bwrap, "--args", str(listed), "--", *self.command]
        return argv, (*numbers.values(), listed)

    def read_status(self) -> bool:
        """Takes in bubblewrap's reports so far; False at their end."""
        while self.status_fd is not None:
            try:
                chunk = os.read(self.status_fd, 4096)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            self.status += chunk
        return False

    def reported(self, key: str) -> int | None:
        """A number from bubblewrap's complete status lines."""
        for line in self.status.split(b"\n")[:-1]:
            value = json.loads(line).get(key)
            if isinstance(value, int):
                return value
        return None

    def register(self) -> bool:
        """True once the sandbox's first process is known and held by a pidfd."""
        if self.options is None:
            return True
        if self.init is None and (pid := self.reported("child-pid")) is not None:
            self.init, self.init_fd = pid, _pidfd(pid)
        return self.init_fd is not None

    def release(self) -> None:
        if self.release_fd is not None:
            os.write(self.release_fd, b"g")
            os.close(self.release_fd)
            self.release_fd = None

    def end(self) -> tuple[int | None, str]:
        """Ends what is left of the tree; gives the exit code (None: never ran) and the log's end."""
        code = self._end_tree()
        text = self._log_tail() if code != 0 else ""
        for fd in (self.pidfd, self.init_fd, self.status_fd, self.release_fd):
            if fd is not None:
                os.close(fd)
        if self.stage is not None:
            with contextlib.suppress(OSError):  # a few bytes of a private tmpfs, gone at our end
                self.stage.remove()
        return code, text

    def _end_tree(self) -> int | None:
        if self.process is None or self.pidfd is None:
            return None
        if self.options is None:
            # Not reaped yet, so the group's number cannot belong to another.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            code = _shell_code(self.process.wait())
            with contextlib.suppress(ChildProcessError):
                while True:  # the rest of the group, which we inherited
                    os.waitpid(-self.process.pid, 0)
            return code
        ended = self.process.wait()
        self.read_status()
        self.register()
        if self.init_fd is not None and self.init is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.init_fd, signal.SIGKILL)
            with selectors.DefaultSelector() as gone:
                gone.register(self.init_fd, selectors.EVENT_READ)
                gone.select(_END_OF_TREE_S)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.init, os.WNOHANG)
        code = self.reported("exit-code")
        if code is None and self.started and _shell_code(ended) > 128:
            return _shell_code(ended)  # killed while it was being set up
        return code

    def _log_tail(self) -> str:
        try:
            with Path(self.log_path).open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self.log_start, size - TAIL_BYTES))
                return log.read(TAIL_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""


def _memory_pipe(content: bytes) -> int:
    """The reading end of a pipe that holds `content` and then ends."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        if os.write(writer, content) != len(content):
            raise OSError(f"standard input of {len(content)} bytes does not fit a pipe")
    except OSError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return reader


class Guard:
    """The loop: requests from the kernel, reports of bubblewrap, ends of processes."""

    def __init__(self, kernel: socket.socket, filter_program: bytes) -> None:
        """`filter_program`: the encoded system call filter of all sandboxes."""
        self._kernel = kernel
        self._filter = filter_program
        self._jobs: dict[int, _Job] = {}
        self._selector = selectors.DefaultSelector()

    def run(self, fault: str) -> None:
        """Serves until the kernel or the watchdog is gone. `fault`: what keeps sandboxes away."""
        self._selector.register(self._kernel, selectors.EVENT_READ)
        self._selector.register(os.pidfd_open(os.getppid()), selectors.EVENT_READ)
        self._send({"event": "ready", "fault": fault})
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._kernel:
                    packet = self._kernel.recv(MAX_PACKET)
                    if not packet:
                        return
                    self._spawn(packet)
                elif key.data is None:
                    return
                elif key.data.id in self._jobs:
                    self._progress(key.data, key.fd)
            self._reap_strays()

    def _send(self, event: dict[str, Any], *fds: int) -> None:
        socket.send_fds(self._kernel, [json.dumps(event).encode()], fds)

    def _spawn(self, packet: bytes) -> None:
        line, _, stdin = packet.partition(b"\n")
        job = _Job(json.loads(line), stdin)
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

    def _progress(self, job: _Job, fd: int) -> None:
        if fd == job.pidfd:
            self._forget(job)
            self._end(job)
            return
        if not job.read_status():
            self._selector.unregister(fd)
        if not job.started and job.register():
            self._started(job)

    def _started(self, job: _Job) -> None:
        held = job.init_fd if job.init_fd is not None else job.pidfd
        pid = job.init or (job.process.pid if job.process else 0)
        job.started = True
        self._send({"event": "started", "id": job.id, "pid": pid}, held or -1)
        job.release()

    def _forget(self, job: _Job) -> None:
        del self._jobs[job.id]
        for fd in (job.pidfd, job.status_fd):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(fd if fd is not None else -1)

    def _end(self, job: _Job, fault: str = "") -> None:
        code, tail = job.end()
        self._send({"event": "ended", "id": job.id, "code": code, "text": fault or tail})

    def _reap_strays(self) -> None:
        """Reaps processes that we inherited, and leaves our own to `_Job.end`."""
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
        os.waitpid(guard, 0)
        kill_descendants()
        return
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        filter_program = kernel.recv(MAX_PACKET)
        if filter_program:
            Guard(kernel, filter_program).run(_own_mounts())
    finally:
        kill_descendants()


def _own_mounts() -> str:
    """As root, enters the private mount namespace; gives what went wrong, or ""."""
    try:
        if os.geteuid() == 0:
            staging.enter()
    except OSError as fault:
        return str(fault)
    return ""
