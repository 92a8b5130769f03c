"""The answers of `stale` with `--json`, as the Stale Manager gives them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ..events import Time
from ..members import AWAY
from ..units import some

RETURNING = AWAY | {"deadline"}  # codes of who may be there the next time
Action = Literal["keep", "pack", "archive", "free", "delete"]


class StaleItem(Struct, frozen=True, kw_only=True):
    """What is to happen to one artifact."""

    ref: Annotated[str, Meta(description="the artifact")]
    name: Annotated[str | None, Meta(description="its usual file name")] = None
    run: Annotated[str | None, Meta(description="whose run made it")] = None
    bytes: Annotated[int, Meta(description="its size")]
    tier: Annotated[str, Meta(description="hot, packed or cold")]
    action: Annotated[Action, Meta(description="what is to happen to it")]
    value: Annotated[int, Meta(description="for training, 0 to 1000")]
    reason: Annotated[str, Meta(description="why, with the signals of its value")]
    proof: Annotated[int | None, Meta(description="number of the proof it rests on")] = None


class Total(Struct, frozen=True, kw_only=True):
    """Of one action."""

    items: Annotated[int, Meta(description="how many artifacts")]
    bytes: Annotated[int, Meta(description="their size")]


class StalePlan(Struct, frozen=True, kw_only=True):
    """Answer of `stale plan --json`."""

    plan: Annotated[str | int, Meta(description="its name")]
    items: Annotated[list[StaleItem], Meta(description="every artifact")]
    totals: Annotated[dict[str, Total], Meta(description="by action")]
    stopped: Annotated[str | None, Meta(description="why nothing may be deleted")] = None
    help: Annotated[str | None, Meta(description="what to do about that, where it is known")] = None


class StaleRun(Struct, frozen=True, kw_only=True):
    """Answer of `stale run --json`."""

    done: Annotated[dict[str, Total], Meta(description="by action")]
    failed: Annotated[list[dict[str, Any]], Meta(description="ref, action and error of each")]
    stopped: Annotated[str | None, Meta(description="why it ended early, if it did")] = None
    code: Annotated[str | None, Meta(description="of what stopped it, as of an error")] = None
    help: Annotated[str | None, Meta(description="what to do about that, where it is known")] = None

    @property
    def waited_for(self) -> bool:
        """Whether nothing went wrong but that somebody else was away."""
        codes = {row.get("code") for row in self.failed}
        if self.stopped is not None:
            codes.add(self.code)
        return bool(codes) and codes <= RETURNING


class StaleRestored(Struct, frozen=True, kw_only=True):
    """Answer of `stale restore --json`."""

    restored: Annotated[list[dict[str, Any]], Meta(description="ref and bytes of each")]
    here: Annotated[list[str], Meta(description="there was nothing to bring back: they are here")]
    missing: Annotated[list[str], Meta(description="not in the archive, or with other bytes there")]
    damaged: Annotated[list[str], Meta(description="those of them that are there: damaged")] = []

    @property
    def told_missing(self) -> str:
        """What was not brought back, and why."""
        absent = len(self.missing) - len(self.damaged)
        told = [f"not in the archive: {some(absent, 'artifact')}"] if absent else []
        if self.damaged:
            told.append(f"damaged there: {some(len(self.damaged), 'artifact')}")
        return "; ".join(told)


class StalePinned(Struct, frozen=True, kw_only=True):
    """Answer of `stale pin` and `stale unpin`."""

    pinned: Annotated[int, Meta(description="pins there are now")]


class StaleHold(Struct, frozen=True, kw_only=True):
    """A legal hold: what is under it is neither moved nor deleted."""

    name: Annotated[str, Meta(description="its name")]
    held: Annotated[int, Meta(description="how many artifacts and runs")]
    refs: Annotated[list[str], Meta(description="the first hundred artifacts")]
    runs: Annotated[list[str], Meta(description="the first hundred runs")]
    who: Annotated[str, Meta(description="who spoke last")]
    why: Annotated[str, Meta(description="the reason")]
    ts: Annotated[Time, Meta(description="when that was")]


class StaleHeld(Struct, frozen=True, kw_only=True):
    """Answer of `stale hold` and `stale release`."""

    held: Annotated[int, Meta(description="artifacts and runs under any hold now")]


class StaleEvent(Struct, frozen=True, kw_only=True):
    """Something that happened to artifacts, or that somebody said about them."""

    number: Annotated[int, Meta(ge=1, description="from 1 on")]
    kind: Annotated[
        str, Meta(description="moving, ran, restored, lost, pinned, unpinned, held or released")
    ]
    ts: Annotated[Time, Meta(description="when")]
    name: Annotated[str, Meta(description="the curator's run, the hold, or what it is about")]
    items: Annotated[int, Meta(description="how many artifacts, and runs")]
    bytes: Annotated[int, Meta(description="their size, where it is known")]
    who: Annotated[str | None, Meta(description="who said so")] = None
    why: Annotated[str | None, Meta(description="the reason, or what stopped it")] = None


class StaleReport(Struct, frozen=True, kw_only=True):
    """Answer of `stale report --json`."""

    tiers: Annotated[dict[str, Total], Meta(description="what lies where")]
    freed: Annotated[int, Meta(description="bytes that are only archived now")]
    deleted: Annotated[int, Meta(description="bytes that are nowhere any more")]
    archived: Annotated[int, Meta(description="bytes in the archive")]
    restored: Annotated[int, Meta(description="bytes that came back")]
    proofs: Annotated[int, Meta(description="how many artifacts were proven to be archived")]
    marked: Annotated[int, Meta(description="how many are to go after the grace")]
    pins: Annotated[int, Meta(description="how many there are")]
    holds: Annotated[int, Meta(description="how many there are")]
    hold_list: Annotated[list[StaleHold], Meta(description="every legal hold, by name")]
    event_list: Annotated[list[StaleEvent], Meta(description="what happened, the newest first")]
    last: Annotated[
        dict[str, Any] | None, Meta(description="the last run: id, ts, done, failed, stopped")
    ] = None
    stopped: Annotated[str | None, Meta(description="what stops deletion now")] = None
