"""One instance under the guard: started blocked, registered, released, ended whole."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from . import staging

TAIL_BYTES = 2048
_END_OF_TREE_S = 2.0
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _memory_file(name: str, content: bytes) -> int:
    fd = os.memfd_create(name)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:  # gone already: ESRCH, or EINVAL while it is being reaped
        return None


def _shell_code(returncode: int) -> int:
    """bubblewrap's convention for both: 128 + signal."""
    return returncode if returncode >= 0 else 128 - returncode


class Request(TypedDict):
    """What the kernel asks for: every decision is made, the guard only carries out."""

    id: int
    command: list[str]
    options: list[str] | None  # bubblewrap's; None: no sandbox
    bwrap: str
    uid: int | None  # to drop to (with the same gid); None: the guard's own
    shown: list[tuple[str, bool, bool]]  # if there is a uid, paths to stage: writable, own
    environment: dict[str, str]
    folder: str
    log: str
    open_files: int | None  # soft limit to start with; None: the guard's own


class Job:
    """One instance, from the request to the end of its last process."""

    def __init__(self, request: Request, stdin: bytes) -> None:
        self.id = request["id"]
        self.request = request
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
        self.begun = time.monotonic()
        self.over: float | None = None  # since when the sandbox has been gone

    def start(self, filter_program: bytes) -> None:
        """Starts it; a sandbox then waits for `release`. Raises OSError."""
        with contextlib.ExitStack() as passed:

            def keep(fd: int) -> int:
                passed.callback(os.close, fd)
                return fd

            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            log = keep(os.open(self.request["log"], flags, 0o600))
            self.log_start = os.fstat(log).st_size
            stdin = keep(_memory_pipe(self.stdin))
            argv: list[str] = self.request["command"]
            descriptors: tuple[int, ...] = ()
            if self.request["options"] is not None:
                argv, descriptors = self._sandboxed(filter_program, keep)
            guard = os.getpid()

            def bind_life() -> None:
                _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != guard:
                    os._exit(1)
                if self.request["open_files"] is not None:
                    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
                    limits = (self.request["open_files"], most)
                    resource.setrlimit(resource.RLIMIT_NOFILE, limits)

            identity: dict[str, Any] = {}
            if self.request["uid"] is not None:
                identity = {
                    "user": self.request["uid"],
                    "group": self.request["uid"],
                    "extra_groups": [],
                }
            self.process = subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=log,
                stderr=log,
                env=self.request["environment"],
                cwd=self.request["folder"],
                pass_fds=descriptors,
                process_group=0,  # and the guard's session, by which the kernel can find it
                preexec_fn=bind_life,
                **identity,
            )
        self.pidfd = os.pidfd_open(self.process.pid)

    def _sandboxed(
        self, filter_program: bytes, keep: Callable[[int], int]
    ) -> tuple[list[str], tuple[int, ...]]:
        if self.request["uid"] is not None:
            self.stage = staging.Stage(str(self.id), self.request["uid"])
            for index, (source, writable, own) in enumerate(self.request["shown"]):
                self.stage.add(index, source, writable=writable, own=own)
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
        options = [
            *(self.request["options"] or ()),
            *(str(w) for pair in numbers.items() for w in pair),
        ]
        listed = keep(_memory_file("options", b"\0".join(map(os.fsencode, options)) + b"\0"))
        argv = [self.request["bwrap"], "--args", str(listed), "--", *self.request["command"]]
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
        if self.request["options"] is None:
            return True
        if self.init is None and (pid := self.reported("child-pid")) is not None:
            self.init, self.init_fd = pid, _pidfd(pid)
        return self.init_fd is not None

    def release(self) -> None:
        if self.release_fd is not None:
            with contextlib.suppress(BrokenPipeError):  # its setup failed; the end will tell
                os.write(self.release_fd, b"g")
            os.close(self.release_fd)
            self.release_fd = None

    def end(self) -> tuple[int | None, str]:
        """Ends the rest of the tree; gives the exit code (None: never ran) and the log's end."""
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
        if self.request["options"] is None:
            # Not reaped yet, so the group's number cannot belong to another.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            leader = _shell_code(self.process.wait())
            with contextlib.suppress(ChildProcessError):
                while True:  # the rest of the group, which we inherited
                    os.waitpid(-self.process.pid, 0)
            return leader
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
            with Path(self.request["log"]).open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self.log_start, size - TAIL_BYTES))
                return log.read(TAIL_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""


def _memory_pipe(content: bytes) -> int:
    """The reading end of a pipe that holds `content` and then ends."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        fits = os.write(writer, content) == len(content)
    except BlockingIOError:
        fits = False
    finally:
        os.close(writer)
    if not fits:
        os.close(reader)
        raise OSError(f"standard input of {len(content)} bytes does not fit a pipe")
    return reader
