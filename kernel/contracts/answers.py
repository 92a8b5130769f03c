"""The answer of `symphony-ext test --json` as types."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Outcome = Literal["passed", "failed", "skipped"]


class Result(Struct, frozen=True, kw_only=True):
    """What became of one check."""

    capability: Annotated[str, Meta(description="whose contract it checks")]
    check: Annotated[str, Meta(description="what it checks")]
    outcome: Annotated[Outcome, Meta(description="skipped: it cannot be made, `came` says why")]
    sentence: Annotated[str, Meta(description="what the contract says")]
    ms: Annotated[int, Meta(description="how long it took")]
    expected: Annotated[str | None, Meta(description="of one that failed")] = None
    came: Annotated[str | None, Meta(description="instead")] = None
    log: Annotated[list[str], Meta(description="what the extension wrote last")] = []


class ContractTest(Struct, frozen=True, kw_only=True):
    """All checks of one extension."""

    ok: Annotated[bool, Meta(description="whether no check failed")]
    name: Annotated[str, Meta(description="name of the extension")]
    version: Annotated[str, Meta(description="its version")]
    checks: Annotated[list[Result], Meta(description="in the order in which they were made")]
    failed: Annotated[int, Meta(description="how many failed")]
    skipped: Annotated[int, Meta(description="how many could not be made")]
    kept: Annotated[str | None, Meta(description="the folder of --keep")] = None
