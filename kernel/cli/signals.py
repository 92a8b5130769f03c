"""SIGINT and SIGTERM, from the first instruction of a command to its last.

Imports nothing heavy: entry.py installs it before anything else is read. What a signal does depends
on what is being done; there is always exactly one answer, so no moment is left to Python's own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)
WORDS = {128 + signal.SIGINT: "interrupted", 128 + signal.SIGTERM: "terminated"}
Answer = Callable[[int], object]
"""Gets the exit code: 130 or 143."""


def again(code: int) -> str:
    """The last line of a command that was left before it did anything that lasts."""
    return f"{WORDS[code]}: to go on, give the same command again"


class Left(Exception):  # noqa: N818 - an outcome, not a fault
    """A signal ended the command before it did anything that lasts; all is cleared up."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def leave(code: int) -> None:
    """Ends this process now, without what exceptions would leave of a half-done import."""
    os.write(2, f"{again(code)}\n".encode())
    os._exit(code)


def interrupt(code: int) -> None:
    """For code that has to clear up, and does when it is interrupted."""
    raise KeyboardInterrupt(code)


_answer: list[Answer] = [leave]


def ignore(code: int) -> None:
    """For the last moments of a command: what it did is done, and its end is near."""
    del code


def install() -> None:
    """From now on signals are answered as this module says; idempotent."""
    for number in NUMBERS:
        signal.signal(number, _heed)


@contextmanager
def answered_by(answer: Answer) -> Iterator[None]:
    """Within, signals are given to `answer`, on the main thread between any two instructions."""
    before, _answer[0] = _answer[0], answer
    try:
        yield
    finally:
        _answer[0] = before


def _heed(number: int, _: FrameType | None) -> None:
    _answer[0](128 + number)
