"""The tables of `symphony-kernel bus`."""

from __future__ import annotations

from ..busreport import Bus
from ..units import size, some
from .render import say, table


def show(found: Bus) -> None:
    """Everything of the answer, what is most looked for first."""
    told = f"{found.datapath} datapath, epoch {found.epoch}"
    told += f", started anew {some(found.restarts, 'time')}"
    told += f", {found.letters_lost} dead letters lost" if found.letters_lost else ""
    say(told)
    headings = ("caller", "capability", "provider", "calls", "results", "errors", "shed", "open")
    table(
        (*headings, "p50", "p99"),
        (
            (
                flow.caller,
                flow.capability,
                flow.provider,
                *map(str, (flow.calls, flow.results, flow.errors, flow.shed, flow.open)),
                _time(flow.p50_ms),
                _time(flow.p99_ms),
            )
            for flow in found.flows
        ),
        "flows",
    )
    table(
        ("peer", "queued", "size", "open calls", "owed answers"),
        (
            (
                peer.peer,
                str(peer.queued),
                size(peer.queued_bytes),
                str(peer.open_calls),
                str(peer.owed),
            )
            for peer in found.peers
        ),
        "peers",
    )
    if found.refusals:
        table(
            ("caller", "capability", "rule", "times"),
            ((row.caller, row.capability, row.rule, str(row.times)) for row in found.refusals),
            "refused",
        )
    table(
        ("counter", "messages"),
        ((name, str(times)) for name, times in sorted(found.counters.items())),
        "counters",
    )


def _time(ms: float | None) -> str:
    """At most so long; nothing where nothing was answered."""
    return "" if ms is None else f"<{ms:g} ms"
