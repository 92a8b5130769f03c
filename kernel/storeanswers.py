"""The answers of `artifacts diff | lineage | search | verify | audit` with `--json`."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from .answers import Artifact
from .events import Reference, Time


class Diff(Struct, frozen=True, kw_only=True):
    """Answer of `artifacts diff A B --json`."""

    a: Reference
    b: Reference
    same: Annotated[bool, Meta(description="whether they are the same bytes")]
    added: Annotated[int, Meta(ge=0, description="lines that only b has")]
    removed: Annotated[int, Meta(ge=0, description="lines that only a has")]
    diff: Annotated[str, Meta(description="a unified diff")]
    more: Annotated[bool, Meta(description="whether the diff was cut at 1 MiB")]


class LineageNode(Struct, frozen=True, kw_only=True):
    """An artifact that another was made from, or that was made from it."""

    ref: Reference
    depth: Annotated[int, Meta(description="how many makings away; 0: the one that was asked for")]
    name: Annotated[str | None, Meta(description="its usual file name")] = None
    bytes: Annotated[int | None, Meta(description="its size, while it is there")] = None
    there: Annotated[bool, Meta(description="false: it is not here and keeps its place")]
    archived: Annotated[
        Time | None, Meta(description="of one that is not here: when it was archived, if it was")
    ] = None


class LineageEdge(Struct, frozen=True, kw_only=True):
    """`to` was made from `from`."""

    from_: Annotated[str, Meta(description="what it was made from")] = field(name="from")
    to: Reference
    made: Annotated[
        dict[str, Any], Meta(description="run, step, attempt, player and version, as far as known")
    ] = {}


class LineageGraph(Struct, frozen=True, kw_only=True):
    """Answer of `artifacts lineage REF --json`."""

    ref: Reference
    nodes: Annotated[list[LineageNode], Meta(description="nearest first")]
    edges: Annotated[list[LineageEdge], Meta(description="what was made from what")]
    more: Annotated[bool, Meta(description="whether a limit left something out")]


class Found(Artifact, frozen=True, kw_only=True):
    """An artifact that fits what was searched for."""

    fit: Annotated[int | None, Meta(description="of a full text search: the more the better")] = (
        None
    )


class FoundArtifacts(Struct, frozen=True, kw_only=True):
    """Answer of `artifacts search --json`."""

    artifacts: Annotated[list[Found], Meta(description="best first where a text is given")]
    more: Annotated[bool, Meta(description="whether --limit left something out")]


class Verified(Struct, frozen=True, kw_only=True):
    """Answer of `artifacts verify --json` where nothing is damaged."""

    artifacts: Annotated[int, Meta(ge=0, description="contents that were read back")]
    bytes: Annotated[int, Meta(ge=0, description="read")]
    locked: Annotated[int, Meta(ge=0, description="always 0: what cannot be read is an error")] = 0


class AuditRecord(Struct, frozen=True, kw_only=True):
    """One entry of the audit trail."""

    number: Annotated[int, Meta(ge=1, description="from 1 on, without gaps")]
    at: Annotated[Time, Meta(description="when")]
    method: Annotated[str, Meta(description="of pit.artifacts/1")]
    by: Annotated[str | None, Meta(description="who asked, if they said so")] = None
    run: Annotated[str | None, Meta(description="the run's id")] = None
    step: Annotated[str | None, Meta(description="id of the step")] = None
    refs: Annotated[list[str], Meta(description="the artifacts, 256 a record")] = []
    hash: Annotated[
        str, Meta(description="BLAKE3 over the hash before and this record: a chain, in hex")
    ]


class AuditTrail(Struct, frozen=True, kw_only=True):
    """Answer of `artifacts audit --json`, oldest first."""

    records: Annotated[list[AuditRecord], Meta(description="oldest first")]
    next: Annotated[
        int | None, Meta(description="what --after takes to go on; none: this is all")
    ] = None
