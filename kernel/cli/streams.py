"""The standard streams as our commands use them: closed, broken and poor ones do no harm.

A reader that has seen enough (`| head -1`) ends nothing: what is written afterwards leads nowhere,
and the command ends with the exit code of what it did.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ExitCode, SymphonyError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Lenient(io.FileIO):
    """A descriptor that leads nowhere from the moment on when nobody reads it any more."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            lead_nowhere(self.fileno())
            return memoryview(data).nbytes
        except OSError as error:
            raise OSError(error.errno, error.strerror, _NAMES.get(self.fileno())) from None


_NAMES = {1: "standard output", 2: "standard error"}
_closed: set[str] = set()  # streams that were closed when this process began


def make_usable() -> None:
    """Closed streams lead nowhere, broken ones too, and what a terminal cannot show is replaced."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            _closed.add(name)
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - to the process' end
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            setattr(sys, name, _lenient(stream))


def require_stdout() -> None:
    """Raises `SymphonyError` if what is asked for could only be lost: standard output is closed."""
    if "stdout" in _closed:
        raise SymphonyError(
            ExitCode.IO,
            "the answer cannot be written: it is closed",
            where="standard output",
            help="send it somewhere",
        )


def finish() -> None:
    """What is left in a buffer and cannot be written is dropped, not tried again at the exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            lead_nowhere(stream.fileno())


def lead_nowhere(descriptor: int) -> None:
    """Whatever is written to the descriptor from now on is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _lenient(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.flush()
    raw = _Lenient(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="replace",
        line_buffering=stream.line_buffering,
    )
