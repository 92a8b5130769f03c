"""What the store knows: a fold over its documents, the same for a new one and after a crash.

All of it is in memory, about a kilobyte an entry: the store of a team, not of a company.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from store_audit import Link
from store_labels import Labels, Scored, Tagged, Used
from store_names import About, instant

DAY_S: Final = 86_400
NEVER: Final = 1 << 62  # of what was put at a time that is none: it is never old
Kind = Literal["file", "folder"]


class Put(Struct, frozen=True, omit_defaults=True, tag="put"):
    """A content came, again or for the first time. `size` and `files` are those of a folder."""

    ref: str
    length: int
    about: About
    size: int | None = None
    files: int | None = None


class Mark(Struct, frozen=True, tag="mark"):
    """Contents are to go."""

    refs: list[str]
    why: str
    at_ms: int


class Unmark(Struct, frozen=True, tag="unmark"):
    """They are not."""

    refs: list[str]


class Sweep(Struct, frozen=True, tag="sweep"):
    """They are gone, and why."""

    refs: list[str]
    citations: list[dict[str, Any]]
    at_ms: int


class Configure(Struct, frozen=True, tag="configure"):
    """How long between mark and sweep."""

    grace_s: int


Change = Put | Mark | Unmark | Sweep | Configure | Tagged | Scored | Used


class Document(Struct, frozen=True):
    """What one call changed, and what is to be remembered of calls."""

    changes: list[Change]
    audit: list[Link] = []


encode: Callable[[Document], bytes] = msgspec.json.Encoder().encode
decode: Callable[[bytes], Document] = msgspec.json.Decoder(Document).decode


@dataclass
class Blob:
    """One content."""

    length: int
    created: str
    media: str | None = None
    size: int | None = None  # of a folder's files; None: a file
    files: int | None = None
    put_ms: int = 0  # when it was put last
    marked_ms: int | None = None
    there: bool = True

    @property
    def kind(self) -> Kind:
        """Whether it was ever collected as a folder."""
        return "file" if self.size is None else "folder"


@dataclass(frozen=True)
class Entry:
    """Who made a content when, and what it was called."""

    number: int
    ref: str
    about: About


@dataclass
class Index:
    """Contents and entries."""

    blobs: dict[str, Blob] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    grace_s: int = DAY_S
    labels: Labels = field(default_factory=Labels)
    versions: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # (ref, created)
    _known: set[bytes] = field(default_factory=set)
    _of: dict[str, list[Entry]] = field(default_factory=dict)
    _from: dict[str, list[Entry]] = field(default_factory=dict)  # by input

    def apply(self, changes: Iterable[Change]) -> None:
        """Takes in what a document says."""
        for change in changes:
            match change:
                case Put():
                    self._put(change)
                case Mark(refs, _, at_ms):
                    for ref in refs:
                        self.blobs[ref].marked_ms = at_ms
                case Unmark(refs):
                    for ref in refs:
                        self.blobs[ref].marked_ms = None
                case Sweep(refs):
                    for ref in refs:
                        self.blobs[ref].there = False
                        self.blobs[ref].marked_ms = None
                case Configure(grace_s):
                    self.grace_s = grace_s
                case Tagged() | Scored() | Used():
                    self.labels.apply(change)

    def blob(self, ref: str) -> Blob | None:
        """A content that is there."""
        found = self.blobs.get(ref)
        return found if found is not None and found.there else None

    def changes(self, put: Put) -> bool:
        """Whether there is anything to write down of it."""
        blob = self.blob(put.ref)
        return (
            blob is None
            or blob.marked_ms is not None
            or (put.size is not None and blob.size is None)
            or _put_ms(put) > blob.put_ms
            or self._is_version(put)
            or (_is_entry(put) and _key(put) not in self._known)
        )

    def info(self, ref: str, entry: Entry | None = None) -> dict[str, Any]:
        """INFO of a content that is there, as of its newest entry if no other is given."""
        blob = self.blobs[ref]
        own = self.entries_of(ref)
        about = (entry or own[-1]).about if own else About(blob.created)
        told = {
            "ref": ref,
            "kind": blob.kind,
            "bytes": blob.length if blob.size is None else blob.size,
            "media": about.media or blob.media,
            "name": about.name,
            "files": blob.files,
            "created": about.ts,
            "made": None if about.made is None else msgspec.to_builtins(about.made),
            "quality": self.labels.score(ref).get("quality"),
            "tags": self.labels.tags(ref) or None,
        }
        return {key: value for key, value in told.items() if value is not None}

    def entries_of(self, ref: str) -> list[Entry]:
        """The entries of a content, oldest first."""
        return self._of.get(ref, [])

    def made_from(self, ref: str) -> list[Entry]:
        """The entries that name it among their inputs, oldest first."""
        return self._from.get(ref, [])

    def newest_first(self, before: int | None) -> Iterator[Entry]:
        """The entries of what is there, from behind that number on."""
        for entry in reversed(self.entries if before is None else self.entries[: before - 1]):
            if self.blobs[entry.ref].there:
                yield entry

    def _put(self, put: Put) -> None:
        about = put.about
        blob = self.blobs.get(put.ref)
        if blob is None:
            blob = self.blobs[put.ref] = Blob(put.length, about.ts)
        blob.there, blob.marked_ms = True, None
        blob.media = blob.media or about.media
        if put.size is not None:
            blob.size, blob.files = put.size, put.files
        blob.put_ms = max(blob.put_ms, _put_ms(put))
        if _is_entry(put) and (key := _key(put)) not in self._known:
            self._known.add(key)
            entry = Entry(len(self.entries) + 1, put.ref, about)
            self.entries.append(entry)
            self._of.setdefault(put.ref, []).append(entry)
            inputs = about.made.inputs if about.made is not None else None
            for each in dict.fromkeys(inputs or ()):
                self._from.setdefault(each, []).append(entry)
        if self._is_version(put) and about.name is not None:
            self.versions.setdefault(about.name, []).append((put.ref, about.ts))

    def _is_version(self, put: Put) -> bool:
        """Whether its name had other bytes last."""
        name = put.about.name
        if name is None:
            return False
        former = self.versions.get(name)
        return former is None or former[-1][0] != put.ref


def _is_entry(put: Put) -> bool:
    return put.about.name is not None or put.about.made is not None


def _put_ms(put: Put) -> int:
    found = instant(put.about.ts)
    return NEVER if found is None else found


def _key(put: Put) -> bytes:
    """Two puts with one key are one entry."""
    return msgspec.json.encode((put.ref, put.about.name, put.about.made))
