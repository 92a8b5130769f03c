"""Where the events of a run go: a file or stdout as JSON lines, and whoever else listens."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import msgspec

from .errors import ExitCode, SymphonyError
from .events import RunEvent
from .pipes import open_for_output, write_all

STDOUT = "-"
BEGINNING = b'{"event":"'  # of every line that is written here


class JsonLines:
    """Appends one JSON object a line; a line is written whole."""

    def __init__(self, target: str, file: io.FileIO) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._target = target
        self._file = file
        self._begun = target == STDOUT

    @classmethod
    async def open(cls, target: str) -> JsonLines:
        """On a file, or on standard output for `-`. Raises `SymphonyError`."""
        if target == STDOUT:
            # Not by way of sys.stdout, which goes on when its reader has gone: events must not.
            return cls(target, io.FileIO(sys.stdout.fileno(), "w", closefd=False))
        try:
            return cls(target, await open_for_output(Path(target), "ab"))
        except OSError as error:
            raise _unwritable(target, error) from error

    def __call__(self, event: RunEvent) -> None:
        """Writes one event. Raises `SymphonyError` if that is not possible."""
        try:
            if not self._begun and not _ends_a_line(Path(self._target)):
                write_all(self._file, b"\n")
            self._begun = True
            write_all(self._file, self._encode(event) + b"\n")
        except OSError as error:
            raise _unwritable(self._target, error) from error

    def close(self) -> None:
        """Closes the file; standard output stays open."""
        self._file.close()


def _unwritable(target: str, error: OSError) -> SymphonyError:
    return SymphonyError(
        ExitCode.IO,
        f"the events cannot be written: {error.strerror}",
        where="standard output" if target == STDOUT else target,
        help="choose another file with --json, or - for standard output",
        fault="environment",
    )


def last_seq(target: str, run: str) -> int | None:
    """The last ``seq`` that a file of events holds for the run; None if it holds none.

    A last line that a killed kernel left incomplete is cut off: its event is written again. Of a
    file that holds nothing of the run, and of a line that cannot be an event, nothing is touched.
    """
    path = Path(target)
    if target == STDOUT or not path.is_file():
        return None
    found = None
    whole = 0
    rest = b""
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                rest = line
                break
            whole += len(line)
            try:
                event = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if isinstance(event, dict) and event.get("run") == run:
                seq = event.get("seq")
                found = seq if isinstance(seq, int) else found
    if found is not None and rest[: len(BEGINNING)] == BEGINNING[: len(rest)]:
        os.truncate(path, whole)
    return found


def _ends_a_line(path: Path) -> bool:
    """Whether an event can follow; false where a regular file ends within a line."""
    if not path.is_file() or not os.access(path, os.R_OK):
        return True
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return file.read(1) in (b"", b"\n")
