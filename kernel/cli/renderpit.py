"""The tables of `pool`, `budget` and `why`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from ..pit import answers
from ..pit.config import shown_amount
from .render import say, table


def pool(found: answers.Pool) -> None:
    """Kinds, their processes, and how often one was warm."""
    hits, cold = found.stats.get("warm_hits", 0), found.stats.get("cold_starts", 0)
    limit = f" of {found.memory.limit_mib}" if found.memory.limit_mib else ""
    say(f"{hits} calls found a warm instance, {cold} waited; {found.memory.used_mib}{limit} MiB")
    rows_or(
        "no instances",
        ("player", "state", "instance", "tenant", "calls", "for", "kind"),
        (
            (
                kind.player,
                instance.state,
                instance.instance,
                instance.tenant or "",
                str(instance.calls),
                _ms(instance.since_ms),
                kind.kind,
            )
            for kind in found.kinds
            for instance in kind.instances
        ),
        "instances",
    )


def budget(found: answers.Budget) -> None:
    """Budgets, then who waits and who holds."""
    rows_or(
        "no budgets: pit.toml names them",
        ("budget", "for", "resource", "spent", "limit", "state"),
        (
            (
                row.name,
                row.who or "",
                row.resource,
                shown_amount(row.resource, row.spent),
                shown_amount(row.resource, row.limit),
                row.state,
            )
            for row in found.budgets
        ),
        "budgets",
    )
    rows_or(
        "nobody waits",
        ("place", "run", "step", "tenant", "needs", "waited", "why"),
        (
            (
                str(row.place or ""),
                row.run,
                row.step or "",
                row.tenant,
                _amounts(row.needs),
                _ms(row.waited_ms),
                row.why,
            )
            for row in found.waiting
        ),
        "waiting",
    )
    rows_or(
        "nothing is granted",
        ("grant", "run", "step", "tenant", "needs", "for"),
        (
            (
                row.grant,
                row.run,
                row.step or "",
                row.tenant,
                _amounts(row.needs),
                _ms(row.since_ms),
            )
            for row in found.held
        ),
        "granted",
    )
    fairness = found.fairness
    say(f"free: {_amounts(found.free)}")
    say(f"fairness: Jain {fairness.jain_ppm / 1e6:.3f}, Gini {fairness.gini_ppm / 1e6:.3f}")


def why(found: answers.Why) -> None:
    """One decision."""
    at = datetime.fromtimestamp(found.at / 1000, UTC).isoformat(timespec="milliseconds")
    say(f"{found.grant}: {found.reason}")
    say(f"for {found.run} {found.step or ''} of tenant {found.tenant}, {at}")
    needs = _amounts(found.needs) or f"nothing beside {found.with_}"
    say(f"{needs}, after {_ms(found.waited_ms)}")
    rows_or(
        "nobody else asked",
        ("request", "tenant", "share", "class", "due in", "blocked by"),
        (
            (
                str(row["request"]),
                str(row["tenant"]),
                f"{row['share_ppm'] / 1e4:.2f} %",
                str(row["class"]),
                _ms(row["deadline_ms"]) if "deadline_ms" in row else "",
                str(row.get("blocked", "")),
            )
            for row in found.scores
        ),
        "who asked",
    )
    if found.passed_over:
        rows = ((row.request, row.why) for row in found.passed_over)
        table(("request", "why"), rows, "passed over")


def rows_or(none: str, headings: Iterable[str], rows: Iterable[Iterable[str]], title: str) -> None:
    """A table, or a line where it would be empty."""
    if found := list(rows):
        table(headings, found, title)
    else:
        say(none)


def _amounts(amounts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {shown_amount(name, amount)}" for name, amount in amounts.items())


def _ms(ms: int) -> str:
    return f"{ms} ms" if ms < 10_000 else f"{ms / 1000:.0f} s"
