"""What is known of contents: lists, versions, differences, lineage, words, labels, audit trail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import store_questions as questions
from store import Store
from store_index import Entry
from store_labels import Label, Scored, Tagged, Used
from store_names import bad, check_reference, unknown

from symphony.bus.errors import BusError

MOST_LISTED: Final = 1000
MOST_FOUND: Final = 100
LARGEST_PAGE: Final = 1 << 20  # bytes of a `list` or `listing`


class Known:
    """The methods."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._words: dict[str, Counter[str]] = {}  # of texts, once somebody asked for words

    def stat(self, refs: Sequence[str]) -> list[dict[str, Any]]:
        """INFO of each."""
        for ref in refs:
            self._store.blob(check_reference(ref, "refs"))
        return [self._store.index.info(ref) for ref in refs]

    def listed(self, wanted: dict[str, str], limit: int, after: str | None) -> dict[str, Any]:
        """INFO of the entries that fit (`name`, and `run`, `step`, `player` of made)."""
        _check_limit(limit, MOST_LISTED)
        if after is not None and not (after.isascii() and after.isdigit()):
            raise bad("after", "this is no cursor")
        found: list[dict[str, Any]] = []
        size, last = 0, 0
        for entry in self._store.index.newest_first(None if after is None else int(after)):
            about = entry.about
            has = {"name": about.name} | {
                word: getattr(about.made, word, None) for word in ("run", "step", "player")
            }
            if any(has[word] != value for word, value in wanted.items()):
                continue
            info = self._store.index.info(entry.ref, entry)
            size += len(msgspec.msgpack.encode(info))
            if len(found) == limit or (found and size > LARGEST_PAGE):
                return {"artifacts": found, "next": str(last)}
            found.append(info)
            last = entry.number
        return {"artifacts": found}

    def listing(self, ref: str) -> list[dict[str, Any]]:
        """The files of a folder."""
        blob = self._store.blob(check_reference(ref))
        if blob.size is None:
            raise bad("ref", f"{ref} is no folder")
        if blob.length > LARGEST_PAGE:
            help_ = "`get` pages through a listing"
            raise BusError("overloaded", "the listing is too long", where=ref, help=help_)
        self._store.note([ref])
        words = ("path", "mode", "ref", "bytes")
        return [dict(zip(words, member, strict=True)) for member in self._store.members(ref)]

    def verify(self, after: str | None, limit: int | None) -> dict[str, Any]:
        """Reads back everything, or about so many bytes behind a reference."""
        self._store.disk.forget()
        refs = sorted(
            ref for ref in self._store.index.blobs if self._store.index.blob(ref) is not None
        )
        report: dict[str, Any] = {"blobs": 0, "bytes": 0, "bad": []}
        last = after or ""
        for ref in refs:
            if ref <= last:
                continue
            if limit is not None and report["blobs"] and report["bytes"] >= limit:
                return report | {"next": last}
            blob = self._store.index.blobs[ref]
            last = ref
            report["blobs"] += 1
            report["bytes"] += blob.length
            try:
                self._store.disk.open(ref, blob.length).close()
            except BusError:
                report["bad"].append(ref)
        broken = self._store.trail.broken()
        return report if broken is None else report | {"broken": broken}

    def versions(self, name: str, before: int | None, limit: int) -> dict[str, Any]:
        """The versions of a name, newest first."""
        _check_limit(limit, MOST_LISTED)
        rows = list(enumerate(self._store.index.versions.get(name, ()), 1))
        rows = [row for row in reversed(rows) if before is None or row[0] < before]
        told: list[dict[str, Any]] = []
        for number, (ref, created) in rows[:limit]:
            there = self._store.index.blob(ref) is not None
            row = {"version": number, "ref": ref, "created": created, "there": there}
            told.append(row | ({"info": self._store.index.info(ref)} if there else {}))
        return {"versions": told} | ({"next": rows[limit - 1][0]} if len(rows) > limit else {})

    def diff(self, a: str, b: str, context: int) -> dict[str, Any]:
        """What changed from one text to another."""
        if not 0 <= context <= 1000:
            raise bad("context", "there are at most 1000 lines of context")
        texts = self._text(a, "a"), self._text(b, "b")
        self._store.note([a, b])
        return questions.diff((a, b), texts, context)

    def lineage(self, ref: str, depth: int, way: str, form: str) -> dict[str, Any]:
        """Where a content comes from, and what came of it."""
        if check_reference(ref) not in self._store.index.blobs:
            raise unknown(ref)
        if not 0 <= depth <= 100:
            raise bad("depth", "the depth is over 100")
        if way not in ("both", "inputs", "outputs") or form not in ("graph", "openlineage"):
            raise bad("way or format", "there is none of that name")
        graph, entries = questions.lineage(self._store.index, ref, depth, way)
        if form == "graph":
            return graph
        return {"events": questions.openlineage(entries), "more": graph["more"]}

    def search(
        self,
        wanted: dict[str, Any],
        text: str | None,
        quality: int | None,
        limit: int,
        after: str | None,
    ) -> dict[str, Any]:
        """What fits (`name`, `player`, `tag`), by words, by tag or newest first."""
        _check_limit(limit, MOST_FOUND)
        if after is not None and not (after.isascii() and after.isdigit()):
            raise bad("after", "this is no cursor")
        fit: dict[str, int] = {}
        newest = list(dict.fromkeys(entry.ref for entry in self._store.index.newest_first(None)))
        if text is not None:
            fit = questions.fits(text, self._documents(newest), lambda ref: -newest.index(ref))
            order = list(fit)
        elif "tag" in wanted:
            order = sorted(
                ref for ref in self._store.index.blobs if self._store.index.blob(ref) is not None
            )
        else:
            order = newest
        begin = int(after or 0)
        found: list[dict[str, Any]] = []
        for place, ref in enumerate(order[begin:], begin):
            if len(found) == limit:
                return {"artifacts": found, "next": str(place)}
            entries: list[Entry | None] = [*reversed(self._store.index.entries_of(ref))]
            for entry in entries or [None]:
                info = self._store.index.info(ref, entry)
                has = {
                    "name": info.get("name"),
                    "player": info.get("made", {}).get("player"),
                    "tag": wanted.get("tag") if wanted.get("tag") in info.get("tags", ()) else None,
                }
                good = quality is None or info.get("quality", -1) >= quality
                if good and all(has[word] == value for word, value in wanted.items()):
                    found.append(info | ({"fit": fit[ref]} if fit else {}))
                    break
        return {"artifacts": found}

    def audit(self, after: int, limit: int) -> dict[str, Any]:
        """Who read or wrote what."""
        _check_limit(limit, MOST_LISTED)
        if self._store.trail.waiting:
            self._store.change([])
        return dict(self._store.trail.told(max(after, 0), limit))

    # What is thought of it.

    def label(self, label: Label) -> None:
        """Tags, scores or uses a content."""
        self._store.blob(check_reference(label.ref))
        new = self._store.index.labels.check(label)
        self._store.note([label.ref])
        if new:
            self._store.change([label])

    def tag(self, ref: str, add: list[str], remove: list[str]) -> list[str]:
        """Removes tags, then adds some; those there are then."""
        self.label(Tagged(ref, add, remove))
        return self.tags(ref)

    def tags(self, ref: str) -> list[str]:
        """The tags of a content."""
        self._store.blob(check_reference(ref))
        return self._store.index.labels.tags(ref)

    def all_tags(self, after: str, limit: int) -> dict[str, Any]:
        """All tags of what is there, with how many contents bear each."""
        _check_limit(limit, MOST_LISTED)
        there = (ref for ref in self._store.index.blobs if self._store.index.blob(ref) is not None)
        counts = Counter(tag for ref in there for tag in self._store.index.labels.tags(ref))
        rows = sorted(tag for tag in counts if tag > after)
        told = [{"tag": tag, "artifacts": counts[tag]} for tag in rows[:limit]]
        return {"tags": told} | ({"next": rows[limit - 1]} if len(rows) > limit else {})

    def score(self, ref: str, parts: dict[str, int]) -> dict[str, Any]:
        """Takes over what is given of a score."""
        self.label(Scored(ref, parts))
        return {**self._store.index.labels.score(ref), "uses": self._store.index.labels.uses(ref)}

    def use(self, ref: str, by: str) -> int:
        """Notes who used it; by how many it was used."""
        self.label(Used(ref, by))
        return self._store.index.labels.uses(ref)

    def _text(self, ref: str, where: str) -> str:
        blob = self._store.blob(check_reference(ref, where))
        if blob.length > questions.LONGEST_TEXT:
            raise BusError("overloaded", "only texts up to 1 MiB are compared", where=where)
        text = questions.text_of(b"".join(self._store.pieces(ref)), blob.media)
        if text is None:
            raise bad(where, f"{ref} is no text")
        return text

    def _documents(self, refs: Sequence[str]) -> dict[str, Counter[str]]:
        """The words of the contents that are texts."""
        for ref in refs:
            blob = self._store.index.blobs[ref]
            if ref not in self._words and blob.length <= questions.LONGEST_TEXT:
                text = None
                with suppress(BusError):  # what is damaged is found by nothing
                    text = questions.text_of(b"".join(self._store.pieces(ref)), blob.media)
                self._words[ref] = questions.words_of(text or "")
        return {ref: self._words[ref] for ref in refs if self._words.get(ref)}


def _check_limit(limit: int, most: int) -> None:
    if not 1 <= limit <= most:
        raise bad("limit", f"the limit is not within 1 to {most}")
