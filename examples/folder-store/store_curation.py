"""Letting go: marks, a time of grace, sweeps that cite their reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from store import Store
from store_index import Configure, Index, Mark, Sweep, Unmark
from store_names import bad, check_reference, instant

MOST_REFS: Final = 1000
LONGEST_GRACE_S: Final = 365 * 86_400


class Curation:
    """The methods."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def configure(self, grace_s: int) -> None:
        """Sets the time between mark and sweep."""
        if not 1 <= grace_s <= LONGEST_GRACE_S:
            raise bad("grace_s", "the grace is not within a second and a year")
        self._store.note([])
        if grace_s != self._store.index.grace_s:
            self._store.change([Configure(grace_s)])

    def mark(self, refs: Sequence[str], why: str, ts: str) -> int:
        """Marks what is old enough; how many bear a mark then."""
        if not 1 <= len(why.encode(errors="replace")) <= 1024:
            raise bad("why", "the reason has not 1 to 1024 bytes")
        now_ms = time_of(ts)
        new, marked = to_mark(self._store.index, check_refs(refs), now_ms)
        self._store.note(refs)
        if new:
            self._store.change([Mark(new, why, now_ms)])
        return marked

    def unmark(self, refs: Sequence[str]) -> None:
        """Takes marks back."""
        marked = [ref for ref in check_refs(refs) if self._store.is_marked(ref)]
        self._store.note(refs)
        if marked:
            self._store.change([Unmark(marked)])

    def sweep(
        self, refs: Sequence[str], citations: Sequence[dict[str, Any]], ts: str
    ) -> dict[str, Any]:
        """Frees what has been marked for long enough and is cited."""
        now_ms = time_of(ts)
        cited = {str(citation.get("ref")): citation for citation in citations}
        ripe, gone, revived = to_sweep(self._store.index, check_refs(refs), cited, now_ms)
        freed = [{"ref": ref, "bytes": 0} for ref in gone]
        freed += [{"ref": ref, "bytes": self._store.index.blobs[ref].length} for ref in ripe]
        if ripe:
            self._store.note(ripe)
            self._store.change([Sweep(ripe, [cited[ref] for ref in ripe], now_ms)])
            self._store.disk.remove(ripe)
        return {"freed": freed, "revived": revived}


def time_of(ts: str) -> int:
    """The time of a call that compares times, in milliseconds since 1970."""
    found = instant(ts)
    if found is None:
        raise bad("ts", "this is no time: give RFC 3339 in UTC, 2026-01-31T12:00:00.000Z")
    return found


def check_refs(refs: Sequence[str]) -> list[str]:
    """The references, each once."""
    if len(refs) > MOST_REFS:
        raise bad("refs", f"there are more than {MOST_REFS}")
    return list(dict.fromkeys(check_reference(ref, "refs") for ref in refs))


def to_mark(index: Index, refs: Sequence[str], now_ms: int) -> tuple[list[str], int]:
    """Those that get a mark now, and how many bear one then."""
    old = [
        ref
        for ref in refs
        if (blob := index.blob(ref)) is not None and now_ms - blob.put_ms >= index.grace_s * 1000
    ]
    return [ref for ref in old if index.blobs[ref].marked_ms is None], len(old)


def to_sweep(
    index: Index, refs: Sequence[str], citations: Mapping[str, Mapping[str, Any]], now_ms: int
) -> tuple[list[str], list[str], list[str]]:
    """Those that go now, those that are not there, those that bear no mark any more.

    Raises BusError `bad-request` for any without a reason to go.
    """
    ripe, gone, revived = [], [], []
    for ref in refs:
        if ref not in citations:
            raise bad(ref, "nothing is said of why it may go: cite a proof, or plan and pressure")
        blob = index.blob(ref)
        if blob is None:
            gone.append(ref)
            continue
        _check(citations[ref], ref, blob.length)
        if blob.marked_ms is None:
            revived.append(ref)
        elif now_ms - blob.marked_ms >= index.grace_s * 1000:
            ripe.append(ref)
    return ripe, gone, revived


def _check(citation: Mapping[str, Any], ref: str, length: int) -> None:
    """Refuses what proves nothing about this content."""
    match citation.get("proof"), citation.get("pressure"):
        case {
            "ref": proven,
            "hash": found,
            "bytes": size,
            "place": str(),
            "read_back": str(),
        }, None:
            if (proven, found, size) != (ref, ref, length):
                raise bad(ref, "its proof is that of other bytes")
        case None, {"plan": str(), "used": int(), "bytes": int(), "value": int()}:
            pass
        case _:
            raise bad(ref, "a deletion cites either a proof or plan and pressure")
