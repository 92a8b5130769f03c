"""Instances by lease: from the Pool Manager, or spawned for one use while it is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from symphony.bus.errors import BusError

from ..chambering import State
from ..clock import timestamp
from ..instances import Instance
from ..members import AwayError, Member
from ..replies import broken
from .arbiter import Outcome
from .config import PitConfig, whole_amount
from .fleet import Fleet, Kind

log = logging.getLogger(__name__)

NOTHING: Final[Mapping[str, int]] = {}
RETRY_MS: Final = 1_000
MOST_USELESS: Final = 8  # of instances for one call
WAIT_S: Final = 0.005  # doubled after each
REMEMBERED: Final = 512  # kinds that no run uses now and whose instances may stay


@dataclass(eq=False)
class Lease:
    """An instance that somebody has. `name` is the Pool Manager's, None if it has no part in it."""

    kind: Kind
    instance: Instance
    tenant: str
    name: str | None
    warm: bool


class Pool:
    """The kernel's way to the Pool Manager."""

    def __init__(self, member: Member, fleet: Fleet, config: PitConfig, epoch: str) -> None:
        self._member = member
        self._fleet = fleet
        self._limits = _limits(config)
        self._predict = config.pool.predict
        self._epoch = epoch
        self._asked = 0
        self._leases: dict[str, Lease] = {}
        self._users: Counter[str] = Counter()  # of kinds, by runs
        self._configured: list[str] = []  # kinds that the pool knows
        self._order = asyncio.Lock()  # of configurations
        self._work: set[asyncio.Task[None]] = set()
        member.greet = self._greet
        fleet.on_died = self._died

    async def use(self, kinds: Iterable[Kind]) -> None:
        """Some run may need these from now on, until `leave`."""
        for kind in kinds:
            self._fleet.kinds[kind.name] = kind
            self._users[kind.name] += 1
        await self._configure()

    def leave(self, kinds: Iterable[Kind]) -> None:
        """A run needs these no more. They may stay warm, unless they write a folder of its own."""
        for kind in kinds:
            self._users[kind.name] -= 1
            if not self._users[kind.name] and kind.options.out is not None:
                self._fleet.kinds.pop(kind.name, None)
        unused = [name for name in self._fleet.kinds if not self._users[name]]
        for name in unused[: max(0, len(unused) - REMEMBERED)]:
            self._fleet.kinds.pop(name)
        self._users += Counter()  # forgets those at zero
        if self._configured != list(self._fleet.kinds):
            self._begin(self._configure())

    async def acquire(self, kind: Kind, run: str, tenant: str, grant: str | None) -> Lease:
        """An activated instance of the kind, for this caller alone.

        Raises what the spawn met if none can be had, BusError if the Pool Manager refuses.
        """
        useless = 0  # instances that it gave in a row
        while True:
            began = time.monotonic()
            if kind.name not in self._configured:  # the pool was away when the run began
                await self._configure()
            try:
                name, reply = await self._asked_for(kind, run, tenant, grant)
            except BusError as error:
                if error.code != "unavailable":
                    raise
                if (why := self._fleet.failure(kind, began)) is not None:
                    raise why from error
                # An earlier spawn failed; the pool says when it will try again.
                await asyncio.sleep((error.retry_after_ms or RETRY_MS) / 1000)
                continue
            except AwayError:
                spawned = await self._fleet.instances.summon(kind.installed, kind.options)
                return Lease(kind, spawned, tenant, None, warm=False)
            instance = self._fleet.get(reply["instance"], kind)
            if instance is not None and _usable(kind, instance):
                lease = Lease(kind, instance, tenant, reply["lease"], reply["warm"])
                self._leases[reply["lease"]] = lease
                return lease
            await self._tell("release", name, reply["lease"], "lost")  # it died just now
            useless += 1
            if useless >= MOST_USELESS:
                none = f"of {useless} instances in a row, none was there to be used"
                self._member.on_broken(broken(self._member.kind.capability, "acquire", none))
            await asyncio.sleep(WAIT_S * 2**useless)

    async def release(
        self, lease: Lease, outcome: Outcome, busy_ms: int = 0, spent: Mapping[str, int] = NOTHING
    ) -> dict[str, int]:
        """Gives it back; what its use cost, in smallest units by resource. `spent`: what the
        player itself told of that."""
        return {**spent, **await self._release(lease, outcome, busy_ms, spent.get("tokens"))}

    async def _release(
        self, lease: Lease, outcome: Outcome, busy_ms: int, tokens: int | None
    ) -> dict[str, int]:
        cost = _cost(lease.kind, busy_ms, tokens or 0)
        if lease.name is None:
            if not lease.instance.users:
                await self._fleet.instances.unload(lease.instance)
            return cost
        self._leases.pop(lease.name, None)
        id_ = f"{self._epoch}/r/{lease.name}"
        args: dict[str, Any] = {"id": id_, "lease": lease.name, "outcome": outcome}
        args |= {"busy_ms": busy_ms, **({} if tokens is None else {"tokens": tokens})}
        try:
            reply = await self._member.ask("release", {**args, "ts": timestamp()})
        except AwayError:
            return cost  # the next `resync` ends the lease
        except BusError as error:
            log.warning("lease not released", extra={"lease": lease.name, "reason": str(error)})
            return cost
        spend: dict[str, int] = reply.get("spend") or {}
        return spend

    async def expect(self, run: str, soon: Mapping[str, tuple[int, int]]) -> None:
        """What an open run will need: by kind in how many ms, and the chance in thousandths."""
        rows = [{"kind": k, "in_ms": ms, "chance": p} for k, (ms, p) in soon.items()]
        try:
            await self._member.ask("expect", {"run": run, "next": rows})
        except (AwayError, BusError) as error:
            log.debug("not expected", extra={"run": run, "reason": str(error)})

    async def close(self) -> None:
        """What was begun in the background comes to its end."""
        await asyncio.gather(*self._work, return_exceptions=True)

    async def _asked_for(
        self, kind: Kind, run: str, tenant: str, grant: str | None
    ) -> tuple[str, dict[str, Any]]:
        self._asked += 1
        name = f"{self._epoch}/{self._asked}"
        args = {"id": name, "kind": kind.name, "run": run, "tenant": tenant, "key": run}
        if grant is not None:
            args["grant"] = grant
        args["ts"] = timestamp()
        try:
            return name, await self._member.ask("acquire", args)
        except asyncio.CancelledError:
            self._begin(self._undo(name, args))  # it may have been leased at the same moment
            raise

    async def _undo(self, name: str, args: Mapping[str, object]) -> None:
        try:
            reply = await self._member.ask("acquire", {**args, "wait": False})
        except (AwayError, BusError):
            return
        await self._tell("release", name, reply["lease"], "ok")

    async def _tell(self, method: str, name: str, lease: str, outcome: Outcome) -> None:
        args = {"id": f"{name}/u", "lease": lease, "outcome": outcome, "ts": timestamp()}
        try:
            await self._member.ask(method, args)
        except (AwayError, BusError) as error:
            log.debug("not released", extra={"lease": lease, "reason": str(error)})

    async def _configure(self) -> None:
        async with self._order:
            kinds = list(self._fleet.kinds)
            if kinds == self._configured:
                return
            try:
                await self._member.ask("configure", self._configuration())
            except AwayError:
                return  # the next greeting says it
            except BusError as error:
                raise self._named(error) from error
            self._configured = kinds

    def _named(self, error: BusError) -> BusError:
        """What the pool says of a kind and of a limit, by their names in pit.toml."""
        said = error.message.replace("limits.memory_mib", "pool.memory")
        said = said.replace("limits.", "pool.")
        for at, kind in enumerate(self._fleet.kinds.values()):
            said = said.replace(f"kinds[{at}]", kind.installed.name)
        return BusError(error.code, said, where="pit.toml", help="correct it, and start again")

    def _configuration(self) -> dict[str, Any]:
        return {"limits": self._limits, "predict": self._predict, "kinds": self._fleet.rows()}

    async def _greet(self) -> None:
        tell = self._member.tell
        async with self._order:
            kinds = list(self._fleet.kinds)
            await tell("configure", self._configuration())
            self._configured = kinds
        tenants = {lease.instance.name: lease.tenant for lease in self._leases.values()}
        held = list(self._leases)
        now = {"instances": self._fleet.present(tenants), "leases": held, "ts": timestamp()}
        known = await tell("resync", now)
        for name in known["lost"]:
            if (lease := self._leases.pop(name, None)) is not None:
                lease.name = None  # it is ended with its use
        running = {lease.instance.name for lease in self._leases.values()}
        for name in known["kill"]:
            if name not in running and name not in tenants:
                self._begin(self._fleet.unload(name))

    def _died(self, instance: str, why: str) -> None:
        self._begin(self._tell_died(instance, why))

    async def _tell_died(self, instance: str, why: str) -> None:
        args = {"instance": instance, "kind": "died", "reason": why[:256]}
        try:
            await self._member.ask("event", args)
        except (AwayError, BusError) as error:
            log.debug("not told", extra={"instance": instance, "reason": str(error)})

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)


def _usable(kind: Kind, instance: Instance) -> bool:
    shared = kind.share > 1 and instance.state is State.IN_USE
    return shared or instance.state is State.ACTIVATED


def _limits(config: PitConfig) -> dict[str, int]:
    limits = {"instances": config.pool.instances, "spawning": config.pool.spawning}
    if config.pool.memory is not None:
        limits["memory_mib"] = whole_amount("memory", config.pool.memory)
    if config.pool.money_per_hour is not None:
        limits["money_per_hour"] = whole_amount("money", config.pool.money_per_hour)
    return limits


def _cost(kind: Kind, busy_ms: int, tokens: int) -> dict[str, int]:
    """As the Pool Manager counts it."""
    costs = kind.costs
    money = costs.get("call", 0) + -(-costs.get("second", 0) * busy_ms // 1000)
    money += -(-costs.get("million_tokens", 0) * tokens // 1_000_000)
    return {"money": money} if costs else {}
