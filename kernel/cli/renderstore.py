"""The tables of `artifacts diff | lineage | search | verify | audit`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ..answers import ArchivedArtifacts, Artifacts
from ..plaintext import one_line
from ..storeanswers import AuditTrail, Diff, FoundArtifacts, LineageGraph, LineageNode, Verified
from ..units import size
from . import render
from .render import console, say, table, tell

SHORT = len("blake3:") + 12  # of a reference, where it only has to be told from its neighbours


def artifacts(found: Artifacts) -> None:
    """The answer of `artifacts list`."""
    render.artifacts(found.artifacts)
    if found.archived:
        tell(f"archived and not here: {found.archived} contents; see `artifacts list --archived`")


def archived(found: ArchivedArtifacts) -> None:
    """The answer of `artifacts list --archived`."""
    if not found.archived:
        say("nothing is in the archive alone")
        return
    table(
        ("reference", "name", "size", "archived", "in", "runs"),
        (
            (
                item.ref,
                item.name or "",
                size(item.bytes),
                item.archived[:10],
                item.place,
                " ".join(item.runs[:3]),
            )
            for item in found.archived
        ),
    )
    tell("`symphony-kernel stale restore REF|RUN` brings them back")
    if found.more:
        tell("there are more: see --limit")


def diff(found: Diff) -> None:
    """A unified diff, coloured in a terminal."""
    from rich.text import Text

    if found.same:
        say("they are the same")
        return
    colours = {"+": "green", "-": "red", "@": "cyan"}
    sheet = console()
    for line in found.diff.splitlines():
        # Not wrapped: a line that was broken in two would be none of the text's.
        sheet.print(Text(one_line(line), colours.get(line[:1], "")), soft_wrap=True)
    if found.more:
        tell("the diff is longer than 1 MiB: the rest is left out")
    tell(f"{found.added} lines added, {found.removed} removed")


def lineage(found: LineageGraph) -> None:
    """Each artifact with what it was made from, by whom."""
    names = {node.ref: node.name or short(node.ref) for node in found.nodes}
    origins: dict[str, list[str]] = {}
    makers: dict[str, Mapping[str, Any]] = {}
    for edge in found.edges:
        origins.setdefault(edge.to, []).append(names.get(edge.from_, short(edge.from_)))
        makers[edge.to] = edge.made
    table(
        ("distance", "name", "size", "made from", "player", "run", "step", "reference"),
        (
            (
                str(node.depth),
                node.name or "",
                _whereabouts(node),
                ", ".join(origins.get(node.ref, ())),
                _player(makers.get(node.ref, {})),
                str(makers.get(node.ref, {}).get("run") or ""),
                str(makers.get(node.ref, {}).get("step") or ""),
                short(node.ref),
            )
            for node in found.nodes
        ),
    )
    if found.more:
        tell("a limit left something out: ask for less with --depth and --way")


def openlineage(events: Iterable[Mapping[str, Any]], more: bool) -> None:
    """A JSON line each."""
    for event in events:
        sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    sys.stdout.flush()
    if more:
        tell("a limit left something out: ask for less with --depth and --way")


def search(found: FoundArtifacts) -> None:
    """What was found."""
    if not found.artifacts:
        say("nothing fits")
        return
    table(
        ("reference", "name", "kind", "size", "quality", "player", "run", "tags"),
        (
            (
                item.ref,
                item.name or "",
                item.kind,
                size(item.bytes),
                "" if item.quality is None else str(item.quality),
                (item.made.player if item.made else None) or "",
                (item.made.run if item.made else None) or "",
                " ".join(item.tags),
            )
            for item in found.artifacts
        ),
    )
    if found.more:
        tell("there are more: see --limit")


@contextlib.contextmanager
def reading() -> Iterator[Callable[[int, int], None]]:
    """Follows long reading on stderr, in a terminal only."""
    sheet = console(stderr=True)
    if not sheet.is_terminal:
        yield lambda _count, _bytes: None
        return
    with sheet.status("reading") as shown:
        yield lambda count, read: shown.update(f"read {count} contents, {size(read)}")


def verified(found: Verified) -> None:
    """Nothing is damaged."""
    say(f"{found.artifacts} contents, {size(found.bytes)}: all as they were put")


def audit(found: AuditTrail) -> None:
    """A line a record."""
    if not found.records:
        say("no records")
        return
    table(
        ("record", "at", "method", "by", "run", "step", "artifacts", "hash"),
        (
            (
                str(record.number),
                record.at,
                record.method,
                record.by or "",
                record.run or "",
                record.step or "",
                _some(record.refs),
                record.hash[:12],
            )
            for record in found.records
        ),
    )
    if found.next is not None:
        tell(f"there are more: --after {found.next}")


def _whereabouts(node: LineageNode) -> str:
    """Its size; of one that is not here, where it went."""
    if node.there:
        return "" if node.bytes is None else size(node.bytes)
    return f"archived {node.archived[:10]}" if node.archived else "deleted"


def short(reference: str) -> str:
    """The beginning of a reference, which the commands take for the whole."""
    return reference[:SHORT] + "…" if len(reference) > SHORT else reference


def _player(made: Mapping[str, Any]) -> str:
    return " ".join(str(made[key]) for key in ("player", "version") if made.get(key))


def _some(references: list[str]) -> str:
    told = " ".join(map(short, references[:3]))
    return told if len(references) <= 3 else f"{told} and {len(references) - 3} more"
