"""Where the events of a run go: a file or stdout as JSON lines, and whoever else listens."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from .errors import ExitCode, SymphonyError
from .model import RunEvent

STDOUT = "-"


class JsonLines:
    """Appends one JSON object a line; a line is written whole."""

    def __init__(self, target: str) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._target = target
        self._file: BinaryIO
        if target == STDOUT:
            self._file = sys.stdout.buffer
            return
        try:
            self._file = Path(target).open("ab", buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise _unwritable(target, error) from error

    def __call__(self, event: RunEvent) -> None:
        """Writes one event. Raises `SymphonyError` if that is not possible."""
        try:
            self._file.write(self._encode(event) + b"\n")
            self._file.flush()
        except OSError as error:
            raise _unwritable(self._target, error) from error

    def close(self) -> None:
        """Closes the file; standard output stays open."""
        if self._target != STDOUT:
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
