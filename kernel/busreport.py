"""What has happened on the bus, as `symphony-kernel bus` answers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from symphony.bus.hub import FlowRow, Hub

from .answers import DatapathName

KERNEL: Final = "kernel"  # the hub's own name is empty


class Flow(Struct, frozen=True, kw_only=True):
    """The calls of one caller to one capability, since the bus was last started anew."""

    caller: Annotated[str, Meta(description="an instance, a console or kernel")]
    capability: Annotated[str, Meta(description="what it calls")]
    provider: Annotated[str, Meta(description="who serves it, or did last")]
    calls: Annotated[int, Meta(ge=0, description="calls that were passed on")]
    results: Annotated[int, Meta(ge=0, description="results that came back")]
    errors: Annotated[int, Meta(ge=0, description="errors that came back")]
    shed: Annotated[int, Meta(ge=0, description="calls refused because a limit was reached")]
    open: Annotated[int, Meta(ge=0, description="calls not yet answered")]
    p50_ms: Annotated[
        float | None, Meta(description="half of the answers took less, to a power of two µs")
    ]
    p99_ms: Annotated[
        float | None, Meta(description="99 of 100 answers took less, to a power of two µs")
    ]
    latency: Annotated[
        list[int],
        Meta(
            description="how many answers took less than 2^i µs and not less than half of that, "
            "i from 0; the last number also counts all that took longer"
        ),
    ]


class Peer(Struct, frozen=True, kw_only=True):
    """What waits for one peer."""

    peer: Annotated[str, Meta(description="an instance or a console")]
    queued: Annotated[int, Meta(ge=0, description="messages that wait for it")]
    queued_bytes: Annotated[int, Meta(ge=0, description="their size")]
    open_calls: Annotated[int, Meta(ge=0, description="calls that it waits for")]
    owed: Annotated[int, Meta(ge=0, description="cancelled calls that it has yet to answer")]


class Refusal(Struct, frozen=True, kw_only=True):
    """What was refused to whom, by which rule."""

    caller: Annotated[str, Meta(description="an instance or a console; of a connection: as whom")]
    capability: Annotated[str, Meta(description="a capability or topic, or connect, hello, flow")]
    rule: Annotated[str, Meta(description="the rule that was broken, e.g. calls, uid, pid, key")]
    times: Annotated[int, Meta(ge=1, description="how often")]


class Bus(Struct, frozen=True, kw_only=True):
    """Answer of `bus --json`."""

    datapath: Annotated[DatapathName, Meta(description="what moves the messages")]
    epoch: Annotated[int, Meta(ge=1, description="1, and one more each time it started anew")]
    restarts: Annotated[int, Meta(ge=0, description="how often it was started anew")]
    letters_lost: Annotated[
        int, Meta(ge=0, description="dead letters that could not be kept: too many, or no disk")
    ]
    counters: Annotated[
        dict[str, int], Meta(description="messages forwarded, and dropped by reason")
    ]
    flows: Annotated[list[Flow], Meta(description="what was called")]
    peers: Annotated[list[Peer], Meta(description="who is on the bus")]
    refusals: Annotated[list[Refusal], Meta(description="what was refused, most often first")]


def report(hub: Hub, datapath: DatapathName, letters_lost: int) -> Bus:
    """The figures of a hub."""
    counters = hub.counters()
    restarts = counters.pop("restarts")
    refused = sorted(hub.refusals().items(), key=lambda item: (-item[1], item[0]))
    return Bus(
        datapath=datapath,
        epoch=restarts + 1,
        restarts=restarts,
        letters_lost=letters_lost,
        counters={name: n for name, n in counters.items() if not name.startswith("refused ")},
        flows=[_flow(row) for row in hub.flows()],
        peers=[Peer(**peer._asdict()) for peer in hub.peers() if peer.peer],
        refusals=[
            Refusal(caller=caller, capability=what, rule=rule, times=times)
            for (caller, what, rule), times in refused
        ],
    )


def percentile_ms(latency: Sequence[int], share: float) -> float | None:
    """Below which time, in ms, this share (0 to 1) of the answers came; None without answers.

    `latency[i]` counts those that took less than 2^i µs and not less than half of that.
    """
    wanted = share * sum(latency)
    seen = 0
    for power, count in enumerate(latency):
        seen += count
        if count and seen >= wanted:
            return float(1 << power) / 1000
    return None


def _flow(row: FlowRow) -> Flow:
    stats = row.stats
    return Flow(
        caller=row.caller or KERNEL,
        capability=row.capability,
        provider=row.provider or KERNEL,
        calls=stats.calls,
        results=stats.results,
        errors=stats.errors,
        shed=stats.shed,
        open=stats.open,
        p50_ms=percentile_ms(stats.latency, 0.50),
        p99_ms=percentile_ms(stats.latency, 0.99),
        latency=list(stats.latency),
    )
