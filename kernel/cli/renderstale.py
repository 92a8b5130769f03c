"""The tables of `stale`."""

from __future__ import annotations

from collections.abc import Mapping

from ..pit import staleanswers as answers
from ..units import size, some
from .render import say, table
from .renderpit import rows_or


def plan(found: answers.StalePlan, *, everything: bool) -> None:
    """What is to happen; what stays only with `everything`."""
    rows_or(
        "everything stays as it is",
        ("action", "value", "size", "name", "run", "reason", "reference"),
        (
            (
                item.action,
                str(item.value),
                size(item.bytes),
                item.name or "",
                item.run or "",
                item.reason,
                item.ref[:20] + "…",
            )
            for item in found.items
            if everything or item.action != "keep"
        ),
        "plan",
    )
    if not everything and "keep" in found.totals:
        say("`--all` lists what stays as well, with its reasons")
    _totals(found.totals)
    _stopped(found.stopped)


def ran(found: answers.StaleRun) -> None:
    """What was done."""
    if found.done:
        _totals(found.done)
    elif not found.failed:
        say("nothing was to be done")
    for row in found.failed:
        say(f"failed: {row.get('action')} {row.get('ref')}: {row.get('error')}")
    _stopped(found.stopped)


def restored(found: answers.StaleRestored) -> None:
    """What came back."""
    if found.restored:
        rows = ((str(row["ref"]), size(int(row["bytes"]))) for row in found.restored)
        table(("reference", "size"), rows, "restored")
    if found.here:
        say(f"{len(found.here)} are here already: nothing was to be brought back of them")
    elif not found.restored and not found.missing:
        say("nothing of it was ever archived")
    for reference in found.missing:
        say(f"{'damaged' if reference in found.damaged else 'missing'}: {reference}")


def report(found: answers.StaleReport) -> None:
    """What lies where."""
    _totals(found.tiers)
    say(
        f"archived {size(found.archived)}, freed {size(found.freed)}, "
        f"deleted {size(found.deleted)}, restored {size(found.restored)}; "
        f"{some(found.proofs, 'proof')}, {found.marked} marked, {some(found.pins, 'pin')}"
    )
    rows_or(
        "nothing is under legal hold",
        ("hold", "artifacts and runs", "since", "by", "why"),
        ((row.name, str(row.held), row.ts, row.who, row.why) for row in found.hold_list),
        "legal holds",
    )
    rows_or(
        "nothing has happened yet",
        ("when", "what", "about", "artifacts", "size", "by", "why"),
        (
            (
                row.ts,
                row.kind,
                row.name,
                str(row.items),
                size(row.bytes) if row.bytes else "",
                row.who or "",
                row.why or "",
            )
            for row in found.event_list
        ),
        "events",
    )
    _stopped(found.stopped)


def _totals(totals: Mapping[str, answers.Total]) -> None:
    rows = ((name, str(total.items), size(total.bytes)) for name, total in totals.items())
    table(("", "artifacts", "size"), rows)


def _stopped(why: str | None) -> None:
    if why:
        say(f"nothing is deleted: {why}")
