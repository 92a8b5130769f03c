"""`pit.toml` in the home: what there is to share, who may spend how much, and who is kept warm.

Amounts are written as people say them (CPUs, sizes, money) and travel as whole numbers in a
resource's smallest unit: thousandths of a CPU, MiB, millionths of money.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import psutil
from msgspec import Meta, Struct

from symphony.sandboxes.policy import MIB

from ..document import KeyPath, load_document
from ..kit import Kit
from ..members import ARCHIVE, PIT, REPLACEABLE, MemberKind, replaced
from ..structure import Finding, Report, decode, shown
from ..syntax import Capability, ExtensionName, Size, WrittenSize, hint, size_bytes, whole

FILE_NAME: Final = "pit.toml"
MOST: Final = 1 << 53
PARTS: Final = {"cpu": 1_000, "money": 1_000_000}  # smallest units of one
MOST_RESOURCES: Final = 32  # limits of `pit.arbitration/1`
MOST_TENANTS: Final = 1_000
MOST_BUDGETS: Final = 1_000
MOST_OF_ONE: Final = 32  # budgets that count one tenant's spending
GRANTED_MEMORY: Final = 0.75  # of the machine's, for all players together, if nothing is said

Name = Annotated[str, Meta(pattern=whole("[a-z][a-z0-9_.-]{0,63}"))]
Number = Annotated[float, Meta(ge=0, le=1e12)]
Amount = WrittenSize | Annotated[float, Meta(ge=0, le=1e18)]  # whole numbers too
Amounts = dict[Name, Amount]
PerMille = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Ageing = Annotated[float, Meta(ge=0.01, le=86_400)]

_STAND_INS: Final = {
    "budgets.*.name": "unnamed",
    "budgets.*.per": "all",
    "budgets.*.limit": 1.0,
}


class Tenant(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One `[tenants.NAME]`."""

    weight: Annotated[
        int, Meta(ge=0, le=1_000_000, description="its part beside the others'; 0: nothing")
    ] = 1
    reserve: Annotated[Amounts, Meta(description="kept for it when it asks")] = {}
    borrow: Annotated[bool, Meta(description="it may use what others reserve and do not use")] = (
        True
    )


class Budget(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One `[[budgets]]`: a hard stop."""

    name: Name
    per: Annotated[
        Literal["run", "tenant", "day", "all"], Meta(description="what each limit counts for")
    ]
    limit: Annotated[Amount, Meta(description="from here on nothing is granted")]
    resource: Annotated[Name, Meta(description="what is spent: money, tokens, ...")] = "money"
    warn: Annotated[int, Meta(ge=1, le=100, description="percent from which it warns")] = 80
    tenant: Annotated[Name | None, Meta(description="only this tenant's spending counts")] = None


class Fleet(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The table `[pool]`: limits of all players' processes together."""

    memory: Annotated[Size | None, Meta(description="of all instances together")] = None
    instances: Annotated[int, Meta(ge=1, le=4096, description="at the same time")] = 64
    spawning: Annotated[int, Meta(ge=1, le=256, description="started at the same time")] = 4
    predict: Annotated[bool, Meta(description="start what will soon be needed")] = True
    money_per_hour: Annotated[
        Number | None, Meta(description="what all instances together may cost by the second")
    ] = None


class Warmth(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One `[players.NAME]`: what it needs beside its manifest, and how it is kept."""

    needs: Annotated[Amounts, Meta(description="of the resources, for each call")] = {}
    keep_s: Annotated[Seconds, Meta(description="an unused instance is kept so long")] = 60.0
    least: Annotated[int, Meta(ge=0, le=4096, description="instances kept ready")] = 0
    most: Annotated[int, Meta(ge=1, le=4096, description="instances at the same time")] = 64
    pinned: Annotated[bool, Meta(description="never ended for being unused or for room")] = False
    sticky: Annotated[bool, Meta(description="a run gets the instance that it had before")] = False


class Keeping(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The table `[stale]`: how long artifacts stay, and what happens to them then."""

    local_days: Annotated[
        int, Meta(ge=0, le=36_500, description="how long everything stays; a day at least")
    ] = 30
    pack_days: Annotated[int, Meta(ge=0, le=36_500)] = 7
    bytes: Annotated[
        Size | None, Meta(description="what all local artifacts may take; none: no pressure")
    ] = None
    high: Annotated[PerMille, Meta(description="of bytes: from here on things are deleted")] = 0.9
    low: Annotated[PerMille, Meta(description="of bytes: until here")] = 0.8
    valuable: Annotated[
        int, Meta(ge=0, le=1000, description="value from which something is archived")
    ] = 400
    archive: Annotated[
        Capability | None,
        Meta(description="pit.archive/1: an extension archives; none: a folder in the home"),
    ] = None


class PitConfig(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole `pit.toml`."""

    members: Annotated[
        dict[Capability, ExtensionName],
        Meta(
            description="the extension that serves a capability of the Pit, in place of ours",
            examples=[{"pit.artifacts/1": "folder-store"}],
        ),
    ] = {}
    resources: Annotated[
        Amounts,
        Meta(
            description="what players share: cpu (CPUs), memory (a size), anything else by number"
        ),
    ] = {}
    tenants: dict[Name, Tenant] = {}
    budgets: tuple[Budget, ...] = ()
    ageing_s: Annotated[Ageing, Meta(description="waiting so long outweighs ten priorities")] = 60
    pool: Fleet = Fleet()
    players: dict[ExtensionName, Warmth] = {}
    stale: Keeping = Keeping()

    def kinds(self) -> tuple[MemberKind, ...]:
        """The members that are to be started, by the extensions that serve them."""
        wanted = REPLACEABLE if self.stale.archive else PIT
        return replaced(wanted, self.members)

    def capacities(self, slots: int) -> dict[str, int]:
        """What there is of each resource; `slots` CPUs and most of the memory if not said."""
        memory = int(psutil.virtual_memory().total * GRANTED_MEMORY)
        given: Mapping[str, Amount] = {"cpu": slots, "memory": memory} | self.resources
        return whole_amounts(given)

    def arbitration(self, slots: int) -> dict[str, Any]:
        """The arguments of `pit.arbitration/1 configure`."""
        return {
            "resources": {
                name: {"capacity": amount} for name, amount in self.capacities(slots).items()
            },
            "tenants": {
                name: {
                    "weight": tenant.weight,
                    "reserve": whole_amounts(tenant.reserve),
                    "borrow": tenant.borrow,
                }
                for name, tenant in self.tenants.items()
            },
            "budgets": [
                {
                    "name": budget.name,
                    "per": budget.per,
                    "resource": budget.resource,
                    "limit": whole_amount(budget.resource, budget.limit),
                    "warn": budget.warn,
                }
                | ({"tenant": budget.tenant} if budget.tenant else {})
                for budget in self.budgets
            ],
            "ageing_ms": math.ceil(self.ageing_s * 1000),
        }

    def curator(self) -> dict[str, Any]:
        """The arguments of `pit.stale/1 configure`."""
        keeping = self.stale
        pressure: dict[str, int] = {
            "high_ppm": round(keeping.high * 1_000_000),
            "low_ppm": round(keeping.low * 1_000_000),
        }
        if keeping.bytes is not None:
            pressure["bytes"] = size_bytes(keeping.bytes)
        archive = {"archive": keeping.archive} if keeping.archive else {}
        return {
            "local_days": keeping.local_days,
            "pack_days": keeping.pack_days,
            "valuable": keeping.valuable,
            "pressure": pressure,
            **archive,
        }


def load_pit_config(home: Path, kit: Kit | None = None) -> PitConfig:
    """The home's `pit.toml`, or the defaults without one. Raises `Problems` with every fault; with
    the `kit` also for members that are installed and provide something else."""
    path = home / FILE_NAME
    try:
        path.lstat()
    except FileNotFoundError:
        return PitConfig()
    document = load_document(path)
    report = Report(document)
    config = decode(document, PitConfig, report, _STAND_INS)
    if config is not None:
        for finding in _findings(config):
            report.add(*finding)
        for finding in _misplaced(config, kit) if kit else ():
            report.add(*finding)
    report.raise_if_any()
    assert config is not None  # noqa: S101 - decode gives None only with findings
    return config


def whole_amount(resource: str, amount: str | float) -> int:
    """An amount in the resource's smallest unit."""
    parts = _parts(resource, amount)
    return math.ceil(parts) if _is_size(resource, amount) else round(parts)


def whole_cost(money: float) -> int:
    """Money in its smallest unit, and never nothing for something."""
    return math.ceil(round(money * PARTS["money"], 3))


def shown_amount(resource: str, amount: int) -> str:
    """An amount in smallest units for people, exactly."""
    if resource == "memory":
        return f"{amount} MiB"
    parts = PARTS.get(resource, 1)
    digits = len(str(parts)) - 1
    whole, part = divmod(amount, parts)
    return f"{whole}.{part:0{digits}}".rstrip("0").rstrip(".") if part else str(whole)


def whole_amounts(amounts: Mapping[str, str | float]) -> dict[str, int]:
    """Each in its smallest unit."""
    return {name: whole_amount(name, amount) for name, amount in amounts.items()}


def _is_size(resource: str, amount: str | float) -> bool:
    return resource == "memory" or isinstance(amount, str)


def _parts(resource: str, amount: str | float) -> float:
    """An amount in the resource's smallest unit, not made whole; that of a size is a MiB."""
    if _is_size(resource, amount):
        return (size_bytes(amount) if isinstance(amount, str) else amount) / MIB
    return float(amount) * PARTS.get(resource, 1)


def _findings(config: PitConfig) -> Iterator[Finding]:
    capabilities = [kind.capability for kind in REPLACEABLE]
    for capability in config.members:
        if capability not in capabilities:
            message = f"the Pit has no member for {capability}"
            yield Finding(("members", capability), message, hint(capability, capabilities, "ones"))
    yield from _archive(config)
    yield from _uncountable(config)
    known = config.capacities(len(os.sched_getaffinity(0)))
    for tenant, row in config.tenants.items():
        yield from _unknown(("tenants", tenant, "reserve"), row.reserve, known)
    for player, warmth in config.players.items():
        yield from _unknown(("players", player, "needs"), warmth.needs, known)
    yield from _too_many(config, known)
    yield from _nothing(config, known)
    yield from _reserved_too_much(config, known)
    yield from _never_met(config, known)
    yield from _kept(config)
    names: set[str] = set()
    for index, budget in enumerate(config.budgets):
        key: KeyPath = ("budgets", index)
        if budget.name in names:
            yield Finding((*key, "name"), f'the budget "{budget.name}" is given twice')
        names.add(budget.name)
        if budget.resource in known:
            message = f'"{budget.resource}" is given back after use, so it has no budget'
            yield Finding((*key, "resource"), message, "name what is spent: money, tokens, ...")
        if budget.tenant is not None and budget.tenant not in config.tenants:
            remedy = hint(budget.tenant, config.tenants, "tenants")
            yield Finding((*key, "tenant"), f'there is no tenant "{budget.tenant}"', remedy)
    if config.stale.low > config.stale.high:
        yield Finding(("stale", "low"), "low is more than high", "let low be at most high")


def _misplaced(config: PitConfig, kit: Kit) -> Iterator[Finding]:
    """A member that could never serve. One that is not installed is only away."""
    for capability, extension in config.members.items():
        installed = kit.get(extension)
        if installed is not None and installed.manifest.provided(capability) is None:
            does = ", ".join(sorted(p.capability for p in installed.manifest.provides)) or "nothing"
            message = f"the extension {extension} does not provide {capability}, but {does}"
            yield Finding(("members", capability), message, "name one that does, or none for ours")


def _archive(config: PitConfig) -> Iterator[Finding]:
    ours = ARCHIVE.capability
    if config.stale.archive not in (None, ours):
        message = f"the Stale Manager archives to {ours} alone"
        yield Finding(("stale", "archive"), message, f'write archive = "{ours}"')
    if ours in config.members and config.stale.archive is None:
        message = "this archive is not used"
        remedy = f'write archive = "{ours}" in the table stale'
        yield Finding(("members", ours), message, remedy)


def _unknown(
    key: KeyPath, amounts: Mapping[str, object], known: Mapping[str, int]
) -> Iterator[Finding]:
    for name in amounts:
        if name not in known:
            message = f'there is no resource "{name}"'
            yield Finding((*key, name), message, hint(name, known, "resources"))


def _reserved_too_much(config: PitConfig, known: Mapping[str, int]) -> Iterator[Finding]:
    for name, there in known.items():
        reserved = {
            tenant: whole_amount(name, row.reserve[name])
            for tenant, row in config.tenants.items()
            if name in row.reserve
        }
        if (sum_ := sum(reserved.values())) > there:
            of = f"{shown_amount(name, sum_)} of {shown_amount(name, there)}"
            message = f"the tenants reserve more {name} than there is: {of}"
            last = ("tenants", list(reserved)[-1], "reserve", name)
            key = ("resources", name) if name in config.resources else last
            yield Finding(key, message, "raise it, or lower the reserves")


def _too_many(config: PitConfig, known: Mapping[str, int]) -> Iterator[Finding]:
    """More than Arbitration takes."""
    counts: list[tuple[KeyPath, int, int, str]] = [
        (("resources",), len(known), MOST_RESOURCES, "resources, cpu and memory included"),
        (("tenants",), len(config.tenants), MOST_TENANTS, "tenants"),
        (("budgets",), len(config.budgets), MOST_BUDGETS, "budgets"),
    ]
    owned = Counter(budget.tenant for budget in config.budgets)
    everybodys = owned.pop(None, 0)
    busiest = max(owned.values(), default=0) + everybodys
    counts.append((("budgets",), busiest, MOST_OF_ONE, "budgets that count one tenant's spending"))
    for key, there, most, what in counts:
        if there > most:
            yield Finding(key, f"{there} {what}, and {most} at most are possible", "remove some")


def _nothing(config: PitConfig, known: Mapping[str, int]) -> Iterator[Finding]:
    """What keeps everybody, or somebody who reserves, from having anything."""
    for name in ("cpu", "memory"):
        if not known[name]:
            message = f"there is no {name}, so no step could begin"
            yield Finding(("resources", name), message, "give more, or leave it out")
    for name, tenant in config.tenants.items():
        if not tenant.weight and any(whole_amounts(tenant.reserve).values()):
            message = f'the tenant "{name}" has weight 0 and gets nothing, so it reserves nothing'
            key = ("tenants", name, "reserve")
            yield Finding(key, message, "give it a weight, or remove its reserve")


def _never_met(config: PitConfig, known: Mapping[str, int]) -> Iterator[Finding]:
    """A player whose calls need more than there is."""
    for player, warmth in config.players.items():
        for name, amount in whole_amounts(warmth.needs).items():
            if amount > known.get(name, amount):
                of = f"{shown_amount(name, amount)} of {shown_amount(name, known[name])}"
                message = f"each call of {player} needs more {name} than there is: {of}"
                yield Finding(("players", player, "needs", name), message, "lower it")


def _kept(config: PitConfig) -> Iterator[Finding]:
    """More processes kept ready than there may be."""
    for player, warmth in config.players.items():
        most = min(warmth.most, config.pool.instances)
        if warmth.least > most:
            message = f"{warmth.least} processes of {player} are kept ready, of {most} at most"
            yield Finding(("players", player, "least"), message, "lower it")
    least = sum(warmth.least for warmth in config.players.values())
    if least > config.pool.instances:
        message = f"{least} processes are kept ready, of {config.pool.instances} at most"
        yield Finding(("pool", "instances"), message, "raise it, or lower what `least` keeps")


def _uncountable(config: PitConfig) -> Iterator[Finding]:
    """What would be rounded, or is more than any member could count."""
    for place, name, amount in _given(config):
        parts = _parts(name, amount)
        # Two units in the last place are what the text's own float and the product may be off.
        if abs(parts - round(parts)) > 2 * math.ulp(parts):
            size = _is_size(name, amount)
            unit = "1 MiB" if size else shown_amount(name, 1)
            remedy = "write whole MiB" if size else f"the smallest part of {name} is counted whole"
            message = f"{shown(amount)} of {name} is no multiple of {unit}"
            yield Finding(place, message, remedy)
        if whole_amount(name, amount) > MOST:
            unit = " MiB" if name == "memory" else ""
            most = f"{MOST // PARTS.get(name, 1):,}{unit}"
            message = f"{shown(amount)} of {name} is more than can be counted: {most}"
            yield Finding(place, message, "lower it")


def _given(config: PitConfig) -> Iterator[tuple[KeyPath, str, str | float]]:
    """Every amount of the file: its place, its resource, and what is written there."""
    for name, amount in config.resources.items():
        yield ("resources", name), name, amount
    for tenant, row in config.tenants.items():
        for name, amount in row.reserve.items():
            yield ("tenants", tenant, "reserve", name), name, amount
    for player, warmth in config.players.items():
        for name, amount in warmth.needs.items():
            yield ("players", player, "needs", name), name, amount
    for at, budget in enumerate(config.budgets):
        yield ("budgets", at, "limit"), budget.resource, budget.limit
    if config.pool.memory is not None:
        yield ("pool", "memory"), "memory", config.pool.memory
    if config.pool.money_per_hour is not None:
        yield ("pool", "money_per_hour"), "money", config.pool.money_per_hour
