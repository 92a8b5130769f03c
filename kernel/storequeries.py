"""Questions to the Artifact Store beyond what it has: differences, origins, searches, soundness."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from symphony.bus.errors import BusError

from .answers import Artifact
from .archived import since
from .errors import ExitCode, Problem, SymphonyError, raise_damaged
from .queries import STORE, Ask, asker, pages, read, reference_of, resolve
from .storeanswers import (
    AuditRecord,
    AuditTrail,
    Diff,
    Found,
    FoundArtifacts,
    LineageGraph,
    Verified,
)

VERIFY_BYTES: Final = 64 << 20  # read between two signs of progress
MOST_PAGE: Final = 1000
SEARCH_PAGE: Final = 100
Way = Literal["both", "inputs", "outputs"]
Progress = Callable[[int, int], None]
"""Hears of how many contents and bytes were read so far."""


async def diff(ask: Ask, a: str, b: str, context: int) -> Diff:
    """What lines differ between two texts."""
    first, second = await resolve(ask, a), await resolve(ask, b)
    args = {"a": first.ref, "b": second.ref, "context": context, "by": asker()}
    reply = await ask(STORE, "diff", args)
    return msgspec.convert({"a": first.ref, "b": second.ref, **reply}, Diff)


async def lineage(ask: Ask, artifact: str, depth: int, way: Way) -> LineageGraph:
    """What it was made from, and what was made from it."""
    ref = await reference_of(ask, artifact)
    reply = await ask(STORE, "lineage", {"ref": ref, "depth": depth, "way": way})
    for node in reply["nodes"]:
        if not node["there"]:
            node["archived"] = await since(ask, node["ref"])
    return msgspec.convert({"ref": ref, **reply}, LineageGraph)


async def openlineage(
    ask: Ask, artifact: str, depth: int, way: Way
) -> tuple[list[dict[str, Any]], bool]:
    """The same as OpenLineage events, and whether a limit left something out."""
    ref = await reference_of(ask, artifact)
    args = {"ref": ref, "depth": depth, "way": way, "format": "openlineage"}
    reply = await ask(STORE, "lineage", args)
    return reply["events"], reply["more"]


async def search(ask: Ask, wanted: Mapping[str, object], limit: int) -> FoundArtifacts:
    """What fits all of `wanted` (as `pit.artifacts/1 search`), at most so many."""
    found: list[Found] = []
    more = False
    async for page, goes_on in pages(ask, "search", wanted, min(limit, SEARCH_PAGE)):
        room = limit - len(found)
        found += msgspec.convert(page["artifacts"][:room], list[Found])
        more = goes_on or len(page["artifacts"]) > room
        if len(found) == limit:
            break
    return FoundArtifacts(artifacts=found, more=more)


async def audit(ask: Ask, after: int, limit: int) -> AuditTrail:
    """Who read or wrote what, from behind a record on."""
    records: list[AuditRecord] = []
    following: int | None = after
    while following is not None and len(records) < limit:
        args = {"after": following, "limit": min(MOST_PAGE, limit - len(records))}
        page = await ask(STORE, "audit", args)
        records += msgspec.convert(page["records"], list[AuditRecord])
        following = page.get("next")
    return AuditTrail(records=records, next=following)


async def verify(ask: Ask, progress: Progress) -> Verified:
    """Reads everything back. Raises `Problems` naming whatever is damaged."""
    verified, problems = await faults(ask, progress)
    raise_damaged(problems)
    require_read(verified.locked)
    return verified


def require_read(locked: int) -> None:
    """Raises `SymphonyError` where contents could not be read: nobody knows how they are."""
    if locked:
        raise SymphonyError(
            ExitCode.REFUSED,
            f"{locked} contents could not be read: the key that they are sealed with is not there",
            where="artifacts.keys",
            help="put the key back into the file artifacts.keys of the home; what could be read is "
            "as it was put",
            fault="environment",
        )


async def faults(ask: Ask, progress: Progress) -> tuple[Verified, list[Problem]]:
    """Reads everything back; what was read, and what is damaged."""
    artifacts = size = locked = 0
    bad: list[str] = []
    broken: int | None = None
    following: Mapping[str, object] = {}
    while True:
        page = await ask(STORE, "verify", {"limit": VERIFY_BYTES, **following})
        artifacts += page["blobs"]
        size += page["bytes"]
        locked += page.get("locked") or 0
        bad += page["bad"]
        broken = page.get("broken") if broken is None else broken
        progress(artifacts, size)
        if not page.get("next"):
            break
        following = {"after": page["next"]}
    problems = [_damaged(ref) for ref in bad]
    if broken is not None:
        remedy = "it, or one before it, was changed: compare it with that of a backup"
        message = "the audit trail does not follow from what is before it"
        problems.append(Problem(message, f"record {broken}", remedy))
    return Verified(artifacts=artifacts, bytes=size, locked=locked), problems


async def verify_some(ask: Ask, names: Sequence[str], progress: Progress) -> Verified:
    """Reads these back, of a folder also its files. Raises `Problems` naming the damaged ones."""
    seen: set[str] = set()
    bad: list[str] = []
    locked = size = 0
    for name in names:
        artifact = await resolve(ask, name)
        try:
            inner = [ref async for ref in _files(ask, artifact)]
        except BusError as error:
            if error.code != "corrupt":
                raise
            inner = []
            bad.append(artifact.ref)
            seen.add(artifact.ref)
        for ref in (artifact.ref, *inner):
            if ref in seen:
                continue
            seen.add(ref)
            try:
                async for piece in read(ask, ref, by=asker()):
                    size += len(piece)
            except BusError as error:
                if error.code == "refused":
                    locked += 1
                elif error.code in ("corrupt", "not-found"):
                    bad.append(ref)
                else:
                    raise
            progress(len(seen), size)
    raise_damaged([_damaged(ref) for ref in bad])
    require_read(locked)
    return Verified(artifacts=len(seen), bytes=size)


async def _files(ask: Ask, artifact: Artifact) -> AsyncIterator[str]:
    """The references of a folder's files; of a file, nothing."""
    if artifact.kind == "folder":
        reply = await ask(STORE, "listing", {"ref": artifact.ref})
        for file in reply["files"]:
            yield file["ref"]


def _damaged(ref: str) -> Problem:
    remedy = "put it back from a backup; everything else can still be read"
    return Problem("this artifact is damaged", ref, remedy)
