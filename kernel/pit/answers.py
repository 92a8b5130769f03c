"""The answers of `pool`, `budget` and `why` with `--json`, as the members give them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Amounts = Annotated[
    dict[str, int],
    Meta(description="by resource, in its smallest unit: thousandths of a CPU, MiB, 1e-6 of money"),
]


class PoolInstance(Struct, frozen=True, kw_only=True):
    """A player's process."""

    instance: Annotated[str, Meta(description="its name on the bus")]
    state: Annotated[str, Meta(description="loading, warm, active, cooldown or draining")]
    tenant: Annotated[str | None, Meta(description="whose it is, once used")] = None
    leases: Annotated[list[str], Meta(description="who has it now")]
    calls: Annotated[int, Meta(description="served so far")]
    since_ms: Annotated[int, Meta(description="how long it has been in this state")]


class PoolKind(Struct, frozen=True, kw_only=True):
    """A player, as it is launched for some runs."""

    kind: Annotated[str, Meta(description="its name: a player as it is launched for some runs")]
    player: Annotated[str, Meta(description="name of the extension")]
    state: Annotated[str, Meta(description="that of its most useful instance; idle without one")]
    instances: Annotated[list[PoolInstance], Meta(description="its processes")]
    waiting: Annotated[int, Meta(description="calls that wait for an instance")]
    warm_hits: Annotated[int, Meta(description="calls that found a warm one")]
    cold_starts: Annotated[int, Meta(description="calls that waited for a start")]


class PoolMemory(Struct, frozen=True, kw_only=True):
    """What all instances together may take."""

    used_mib: Annotated[int, Meta(description="promised to instances")]
    limit_mib: Annotated[int | None, Meta(description="that pit.toml gives, if it does")] = None


class Pool(Struct, frozen=True, kw_only=True):
    """Answer of `pool --json`."""

    kinds: Annotated[list[PoolKind], Meta(description="players that were asked for")]
    memory: Annotated[PoolMemory, Meta(description="of all instances")]
    stats: Annotated[dict[str, int], Meta(description="counters since the Pool Manager began")]


class Drained(Struct, frozen=True, kw_only=True):
    """Answer of `pool drain --json`."""

    instances: Annotated[list[str], Meta(description="they end when they are free")]


class Standing(Struct, frozen=True, kw_only=True):
    """What was spent of one budget."""

    name: Annotated[str, Meta(description="as in pit.toml")]
    who: Annotated[str | None, Meta(description="the run, tenant or day that it counts for")] = None
    resource: Annotated[str, Meta(description="what is spent")]
    spent: Annotated[int, Meta(description="so far, in its smallest unit")]
    limit: Annotated[int, Meta(description="from here on nothing is granted")]
    state: Annotated[
        Literal["ok", "warning", "spent"], Meta(description="warning: over the percent of pit.toml")
    ]


class Waiting(Struct, frozen=True, kw_only=True):
    """An attempt that waits for a grant."""

    id: Annotated[str, Meta(description="the kernel's request")]
    run: Annotated[str, Meta(description="the run's id")]
    step: Annotated[str | None, Meta(description="id of the step")] = None
    tenant: Annotated[str, Meta(description="on whose part")]
    needs: Amounts
    place: Annotated[int | None, Meta(description="in the queue, from 1")] = None
    why: Annotated[str, Meta(description="what it waits for")]
    waited_ms: Annotated[int, Meta(description="so far")]


class HeldGrant(Struct, frozen=True, kw_only=True):
    """A grant that is out."""

    grant: Annotated[str, Meta(description="what `why` takes")]
    run: Annotated[str, Meta(description="the run's id")]
    step: Annotated[str | None, Meta(description="id of the step")] = None
    tenant: Annotated[str, Meta(description="on whose part")]
    needs: Amounts
    since_ms: Annotated[int, Meta(description="how long it is out")]


class TenantShare(Struct, frozen=True, kw_only=True):
    """What a tenant had, in millionths of what there is."""

    weight: Annotated[int, Meta(description="its part beside the others")]
    share_ppm: Annotated[int, Meta(description="what it had of its scarcest resource")]
    wanted_ppm: Annotated[int, Meta(description="what it asked for")]
    correction_ppm: Annotated[int, Meta(description="by which its weight is corrected now")]


class Fairness(Struct, frozen=True, kw_only=True):
    """How evenly the tenants got what they wanted; Jain's index is 1,000,000 at best, Gini's 0."""

    jain_ppm: Annotated[int, Meta(description="Jain's index in millionths")]
    gini_ppm: Annotated[int, Meta(description="Gini's coefficient in millionths")]
    tenants: Annotated[dict[str, TenantShare], Meta(description="by name")]


class Budget(Struct, frozen=True, kw_only=True):
    """Answer of `budget --json`."""

    budgets: Annotated[list[Standing], Meta(description="what was spent of each")]
    waiting: Annotated[list[Waiting], Meta(description="who waits, first come first")]
    held: Annotated[list[HeldGrant], Meta(description="what is granted")]
    free: Amounts
    fairness: Annotated[Fairness, Meta(description="how evenly it was shared lately")]


class Passed(Struct, frozen=True, kw_only=True):
    """A request that came first and could not be met."""

    request: Annotated[str, Meta(description="the kernel's request")]
    why: Annotated[str, Meta(description="what it could not get")]


class Why(Struct, frozen=True, kw_only=True, rename={"with_": "with"}):
    """Answer of `why GRANT --json`."""

    grant: Annotated[str, Meta(description="its name")]
    id: Annotated[str, Meta(description="the kernel's request")]
    run: Annotated[str, Meta(description="the run's id")]
    step: Annotated[str | None, Meta(description="id of the step")] = None
    tenant: Annotated[str, Meta(description="on whose part")]
    needs: Amounts
    player: Annotated[str | None, Meta(description="who was chosen, where there was a choice")] = (
        None
    )
    with_: Annotated[str | None, Meta(description="the grant whose resources it shares")] = None
    strategy: Annotated[str, Meta(description="prioritise, round-robin, specialise or collaborate")]
    reason: Annotated[str, Meta(description="in a sentence")]
    at: Annotated[int, Meta(description="milliseconds since 1970 UTC")]
    waited_ms: Annotated[int, Meta(description="until it was granted")]
    scores: Annotated[
        list[dict[str, Any]],
        Meta(description="the first request of each tenant that waited, and what blocked it"),
    ]
    passed_over: Annotated[list[Passed], Meta(description="who came first and could not be met")]
