"""Calls and events that reached nobody: kept, counted, and sent again at the user's wish.

One SQLite file in the home, the user's alone. Equal letters are one record with a count. The
oldest are dropped past the bounds. Any process may read it; only a running kernel writes letters.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from symphony.bus import wire
from symphony.bus.codec import decode
from symphony.bus.listener import DeadLetter as Undelivered

from .answers import DeadLetter, DeadLetters
from .errors import ExitCode, SymphonyError
from .shown import shown

FILE: Final = "deadletters.db"
MOST: Final = 1_000  # letters
MOST_BYTES: Final = 64 * 1024 * 1024  # of their bodies together
_VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS letters (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, sender TEXT NOT NULL, addressee TEXT NOT NULL,
    name TEXT NOT NULL, method TEXT, code TEXT NOT NULL, times INTEGER NOT NULL,
    first TEXT NOT NULL, last TEXT NOT NULL, body BLOB NOT NULL, keep INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS letters_by_last ON letters (last);
"""
_FROM_VERSION_1: Final = "ALTER TABLE letters ADD COLUMN keep INTEGER NOT NULL DEFAULT 0"
_KINDS: Final = {wire.CALL: "call", wire.EVENT: "event"}
_COLUMNS: Final = (
    *("id", "kind", "sender", "addressee", "name", "method", "code"),
    *("times", "first", "last", "body", "keep"),
)
_ADD: Final = """
INSERT INTO letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    times = times + excluded.times, last = excluded.last, addressee = excluded.addressee
"""
_MAKE_ROOM: Final = """
DELETE FROM letters WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER newest AS place, sum(length(body)) OVER newest AS bytes
        FROM letters WINDOW newest AS (ORDER BY last DESC, id)
    ) WHERE place > ? OR bytes > ?
)
"""


@dataclass(frozen=True)
class Parcel:
    """What is needed to send a letter again, and to forget it as it was when it was read."""

    letter: str
    kind: str
    name: str
    method: str | None
    keep: bool
    body: Any
    times: int
    first: str


class DeadLetterBox:
    """The letters of one home. Every method opens the file and leaves it closed."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE

    def add(self, letter: Undelivered, *, times: int = 1) -> None:
        """Records one, or counts it with those that are equal; drops the oldest past the bounds.

        Raises SymphonyError `io` if the file cannot be written.
        """
        now = _now()
        kind = _KINDS[letter.kind]
        sender = _extension(letter.sender)
        # The addressee is left out: an instance that took another's place is no other reason.
        keep = is_kept(letter)
        told = (kind, sender, letter.name, letter.method, letter.code, letter.body, keep)
        key = hashlib.blake2b(msgspec.msgpack.encode(told), digest_size=6).hexdigest()
        row = (key, kind, sender, letter.addressee, letter.name, letter.method, letter.code)
        with self._open(make=True) as store:
            store.execute(_ADD, (*row, times, now, now, letter.body, keep))
            store.execute(_MAKE_ROOM, (MOST, MOST_BYTES))

    def all(self, limit: int) -> DeadLetters:
        """The newest letters, without their bodies."""
        with self._open() as store:
            rows = store.execute("SELECT * FROM letters ORDER BY last DESC, id LIMIT ?", (limit,))
            return DeadLetters(letters=[_answer(row, with_body=False) for row in rows])

    def get(self, letter: str) -> DeadLetter:
        """One letter with its body; raises SymphonyError `not found`."""
        return _answer(self._row(letter), with_body=True)

    def parcel(self, letter: str) -> Parcel:
        """One letter to send again; raises SymphonyError `not found`, ProtocolError if what it
        carries makes no sense."""
        found = _values(self._row(letter))
        return Parcel(
            letter=letter,
            kind=found["kind"],
            name=found["name"],
            method=found["method"],
            keep=bool(found["keep"]),
            body=decode(found["body"]),
            times=found["times"],
            first=found["first"],
        )

    def again(self, letter: str) -> None:
        """Counts another attempt that failed; nothing if the letter was dropped meanwhile."""
        with self._open() as store:
            again = "UPDATE letters SET times = times + 1, last = ? WHERE id = ?"
            store.execute(again, (_now(), letter))

    def arrived(self, sent: Parcel) -> None:
        """Forgets a letter that was sent again, but not its equals that came in meanwhile; nothing
        if it was dropped."""
        with self._open() as store:
            less = "UPDATE letters SET times = times - ? WHERE id = ? AND first = ?"
            store.execute(less, (sent.times, sent.letter, sent.first))
            store.execute("DELETE FROM letters WHERE id = ? AND times < 1", (sent.letter,))

    def drop(self, letter: str) -> None:
        """Forgets a letter; raises SymphonyError `not found`."""
        with self._open() as store:
            dropped = store.execute("DELETE FROM letters WHERE id = ?", (letter,)).rowcount
        if not dropped:
            raise _unknown(letter)

    def clear(self) -> int:
        """Forgets all letters; returns how many."""
        with self._open() as store:
            return store.execute("DELETE FROM letters").rowcount

    def _row(self, letter: str) -> tuple[Any, ...]:
        with self._open() as store:
            found = store.execute("SELECT * FROM letters WHERE id = ?", (letter,)).fetchone()
        if found is None:
            raise _unknown(letter)
        row: tuple[Any, ...] = found
        return row

    @contextmanager
    def _open(self, *, make: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction; a box that does not exist yet is empty and is made by the first letter."""
        if not make and not self._path.exists():
            place = ":memory:"
        else:
            place = str(self._path)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        store = None
        try:
            store = sqlite3.connect(place, timeout=5.0)
            with store:
                version = store.execute("PRAGMA user_version").fetchone()[0]
                if version > _VERSION:
                    raise SymphonyError(
                        ExitCode.IO,
                        f"the dead letters were written by a newer version (format {version})",
                        where=str(self._path),
                        help="use that version, or move the file away",
                    )
                if version == 1:
                    store.execute(_FROM_VERSION_1)
                store.executescript(_SCHEMA)
                store.execute(f"PRAGMA user_version = {_VERSION}")
                yield store
        except sqlite3.Error as error:
            raise SymphonyError(
                ExitCode.IO,
                f"the dead letters cannot be used: {error}",
                where=str(self._path),
                help="make room, or move the file away if it is damaged",
                fault="environment",
            ) from error
        finally:
            if store is not None:
                store.close()


def is_kept(letter: Undelivered) -> bool:
    """Whether the hub was to keep this event for late subscribers."""
    return letter.kind == wire.EVENT and letter.options.get(wire.KEEP_OPTION) is True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extension(instance: str) -> str:
    """The sender as users know it: the kernel, the console, or an extension."""
    if not instance:
        return "kernel"
    return instance.partition("/")[0].rpartition("-")[0] or instance.partition("/")[0]


def _values(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_COLUMNS, row, strict=True))


def _answer(row: tuple[Any, ...], *, with_body: bool) -> DeadLetter:
    values = _values(row)
    body, _ = values.pop("body"), values.pop("keep")
    return DeadLetter(**values, bytes=len(body), body=shown(body) if with_body else None)


def _unknown(letter: str) -> SymphonyError:
    return SymphonyError(
        ExitCode.NOT_FOUND,
        f"there is no dead letter {letter}",
        where=letter,
        help="symphony-kernel deadletter list",
    )
