"""Who read or wrote what, when: records that are only ever added, each with the hash of all before.

A write's record is in the write's own document. A read's waits for the next document, or a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec
from blake3 import blake3
from msgspec import Struct

LONGEST: Final = 256  # references of one record
BEGIN: Final = "00" * 32


class Record(Struct, frozen=True, omit_defaults=True):
    """What one call did."""

    at: str
    method: str
    refs: list[str]
    by: str | None = None
    run: str | None = None
    step: str | None = None


class Link(Struct, frozen=True):
    """A record in its place: the hash is BLAKE3 over the one before and the record's own bytes."""

    record: Record
    hash: str


@dataclass
class Trail:
    """All records, and those that wait to be written."""

    links: list[Link] = field(default_factory=list)
    waiting: list[Record] = field(default_factory=list)

    def note(self, record: Record, refs: Sequence[str]) -> None:
        """A call, in as many records as its references need."""
        for at in range(0, max(len(refs), 1), LONGEST):
            part = msgspec.structs.replace(record, refs=list(refs[at : at + LONGEST]))
            self.waiting.append(part)

    def linked(self) -> list[Link]:
        """The waiting records with their hashes, to be written."""
        former = self.links[-1].hash if self.links else BEGIN
        links = []
        for record in self.waiting:
            former = _hash(former, record)
            links.append(Link(record, former))
        return links

    def written(self, links: Sequence[Link]) -> None:
        """These are on disk."""
        self.links += links
        del self.waiting[: len(links)]

    def broken(self) -> int | None:
        """The number of the first record that does not follow from the one before it."""
        former = BEGIN
        for number, link in enumerate(self.links, 1):
            former = _hash(former, link.record)
            if former != link.hash:
                return number
        return None

    def told(self, after: int, limit: int) -> dict[str, object]:
        """Records behind a number."""
        page = self.links[after : after + limit]
        rows = [
            {"number": number, **msgspec.to_builtins(link.record), "hash": link.hash}
            for number, link in enumerate(page, after + 1)
        ]
        last = after + len(page)
        return {"records": rows} | ({"next": last} if last < len(self.links) else {})


def now() -> str:
    """The store's clock, as callers write times."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _hash(former: str, record: Record) -> str:
    return blake3(bytes.fromhex(former) + msgspec.json.encode(record)).hexdigest()
