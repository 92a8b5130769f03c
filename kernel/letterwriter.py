"""Puts letters into the box beside the event loop: one thread, a bounded queue, no error outwards.

The hub must not wait for a disk. Letters that are equal are counted while they wait; past the
bounds new ones are dropped, and what could not be written is lost: both are counted and logged.
"""

from __future__ import annotations

import logging
import threading
from typing import Final, NamedTuple

from symphony.bus.listener import DeadLetter

from .deadletters import DeadLetterBox, is_kept
from .errors import SymphonyError

MOST_WAITING: Final = 1_024  # letters
MOST_WAITING_BYTES: Final = 16 * 1024 * 1024  # of their bodies together

log = logging.getLogger(__name__)


class _Key(NamedTuple):
    """What makes letters equal."""

    kind: int
    sender: str
    name: str
    method: str | None
    code: str
    body: bytes
    keep: bool


class LetterWriter:
    """The way of dead letters to their box. `put` and `close` belong to one thread."""

    def __init__(self, box: DeadLetterBox) -> None:
        self.lost = 0  # dropped, or not to be written
        self._box = box
        self._changed = threading.Condition()
        self._waiting: dict[_Key, tuple[DeadLetter, int]] = {}
        self._bytes = 0
        self._closing = False
        self._thread: threading.Thread | None = None

    def put(self, letter: DeadLetter) -> None:
        """Takes a letter; never waits for the disk, never raises."""
        key = _Key(
            letter.kind,
            letter.sender,
            letter.name,
            letter.method,
            letter.code,
            letter.body,
            is_kept(letter),
        )
        with self._changed:
            _, times = self._waiting.get(key, (letter, 0))
            if not times:
                size = self._bytes + len(letter.body)
                if len(self._waiting) >= MOST_WAITING or size > MOST_WAITING_BYTES:
                    self._lose(1, "too many at once")
                    return
                self._bytes = size
            self._waiting[key] = letter, times + 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="dead-letters")
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Writes what waits and ends the thread; idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _write(self) -> None:
        while letters := self._take():
            for letter, times in letters:
                try:
                    self._box.add(letter, times=times)
                except (SymphonyError, OSError) as error:
                    with self._changed:
                        self._lose(times, str(error))

    def _take(self) -> list[tuple[DeadLetter, int]]:
        """All that waits, when something does; nothing at the end."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            taken = list(self._waiting.values())
            self._waiting.clear()
            self._bytes = 0
            return taken

    def _lose(self, times: int, why: str) -> None:
        before = self.lost
        self.lost += times
        if before.bit_length() != self.lost.bit_length():  # ever fewer lines of a flood
            log.error("dead letters lost", extra={"lost": self.lost, "reason": why})
