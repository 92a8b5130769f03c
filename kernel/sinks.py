"""Where the events of a run go: a file or stdout as JSON lines, and whoever else listens."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import msgspec

from .errors import ExitCode, SymphonyError
from .model import RunEvent
from .pipes import open_for_output, write_all

STDOUT = "-"


class JsonLines:
    """Appends one JSON object a line; a line is written whole."""

    def __init__(self, target: str, file: io.FileIO) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._target = target
        self._file = file

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

    A last line that a killed kernel left incomplete is cut off: its event is written again.
    """
    path = Path(target)
    if target == STDOUT or not path.is_file():
        return None
    found = None
    whole = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                event = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if isinstance(event, dict) and event.get("run") == run:
                seq = event.get("seq")
                found = seq if isinstance(seq, int) else found
    if whole < path.stat().st_size:
        os.truncate(path, whole)
    return found
