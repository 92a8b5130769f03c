"""`kernel.instances/1`: the Pool Manager decides, this spawns, unloads and probes.

A *kind* is one way of launching a player: everything of one kind may serve in the place of another.
The same spawn by its id happens once, and an instance is known by it until its process has ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from symphony.bus.errors import BusError
from symphony.bus.hub import Hub, Request
from symphony.sandboxes.policy import MIB, SandboxPolicy

from ..chambering import State
from ..instances import Instance, Instances
from ..kit import Installed
from ..launchplan import LaunchOptions
from .config import PitConfig, Warmth, whole_cost

log = logging.getLogger(__name__)

CAPABILITY: Final = "kernel.instances/1"
FIRST_LOAD_MS: Final = 500  # what a first start is taken to need
_WEIGHT: Final = 0.3  # of the newest load time in their moving mean


@dataclass(frozen=True)
class Kind:
    """A player as it is launched."""

    name: str
    installed: Installed
    options: LaunchOptions

    @classmethod
    def of(cls, installed: Installed, options: LaunchOptions) -> Kind:
        """The kind of what is launched so; another folder, right or option is another kind."""
        parts = [
            str(installed.folder),
            installed.manifest,
            installed.granted,
            str(options.level),
            str(options.out or ""),
            list(options.arguments),
            dict(options.config),
        ]
        print_ = hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=6).hexdigest()
        return cls(f"{installed.name}@{installed.version}#{print_}", installed, options)

    @property
    def memory_mib(self) -> int:
        """What an instance may take."""
        needs = self.installed.manifest.needs.memory_bytes
        return -(-(needs or SandboxPolicy.memory_bytes) // MIB)

    @property
    def costs(self) -> dict[str, int]:
        """What a call costs in smallest units of money, as `pit.pool/1 configure` has it; the
        dearest of what the player provides."""
        rows = [provides.cost for provides in self.installed.manifest.provides]
        dearest = {
            "call": max(row.per_call for row in rows),
            "second": max(row.per_second for row in rows),
            "million_tokens": max(row.per_token for row in rows) * 1_000_000,
        }
        return {name: whole_cost(cost) for name, cost in dearest.items() if cost}

    @property
    def share(self) -> int:
        """So many calls may use one instance at the same time."""
        return self.installed.manifest.extension.share

    def row(self, warmth: Warmth, load_ms: int) -> dict[str, Any]:
        """One of the kinds of `pit.pool/1 configure`."""
        row: dict[str, Any] = {
            "kind": self.name,
            "player": self.installed.name,
            "memory_mib": self.memory_mib,
            "load_ms": load_ms,
            "cost": self.costs,
            "sticky": warmth.sticky,
            "share": self.share,
            "least": warmth.least,
            "most": warmth.most,
            "keep_ms": round(warmth.keep_s * 1000),
            "pinned": warmth.pinned,
        }
        if (probe := self.installed.manifest.probe) is not None:
            row["probe"] = {
                "capability": probe.capability,
                "args": probe.inputs,
                "every_ms": round(probe.every_s * 1000),
                "within_ms": round(probe.within_s * 1000),
            }
        return row


@dataclass(eq=False)
class Spawned:
    """An instance that the Pool Manager asked for."""

    id: str
    kind: Kind
    tenant: str | None
    task: asyncio.Task[Instance]
    leaving: bool = False
    instance: Instance | None = None


@dataclass
class Fleet:
    """All of them, by the ids of their spawns."""

    hub: Hub
    instances: Instances
    config: PitConfig
    on_died: Callable[[str, str], None] = lambda _name, _why: None
    kinds: dict[str, Kind] = field(default_factory=dict)
    _spawned: dict[str, Spawned] = field(default_factory=dict)
    _by_name: dict[str, Spawned] = field(default_factory=dict)
    _loads: dict[str, float] = field(default_factory=dict)  # milliseconds by player
    _failures: dict[str, tuple[float, Exception]] = field(default_factory=dict)  # by kind, and when

    def serve(self) -> None:
        """Begins to answer the Pool Manager."""
        self.hub.serve(CAPABILITY, self._answer)
        self.instances.on_ended.append(self._ended)

    def rows(self) -> list[dict[str, Any]]:
        """The kinds of `pit.pool/1 configure`."""
        return [
            kind.row(
                self.config.players.get(kind.installed.name, Warmth()),
                round(self._loads.get(kind.installed.name, FIRST_LOAD_MS)),
            )
            for kind in self.kinds.values()
        ]

    def get(self, name: str, kind: Kind | None = None) -> Instance | None:
        """The instance of that name, if it can be used, and for this kind where one is asked."""
        spawned = self._by_name.get(name)
        if spawned is None or spawned.leaving or (kind and spawned.kind.name != kind.name):
            return None
        return spawned.instance

    def failure(self, kind: Kind, since: float) -> Exception | None:
        """Why an instance of the kind could not be spawned, if that was after `since`."""
        when, error = self._failures.get(kind.name, (0.0, None))
        return error if when >= since else None

    def present(self, tenants: Mapping[str, str]) -> list[dict[str, Any]]:
        """The instances for `pit.pool/1 resync`; `tenants`: of those that are leased."""
        rows: list[dict[str, Any]] = []
        for name, spawned in self._by_name.items():
            active = name in tenants
            state = "leaving" if spawned.leaving else "active" if active else "warm"
            row: dict[str, Any] = {"instance": name, "kind": spawned.kind.name, "state": state}
            row["id"] = spawned.id
            if tenant := tenants.get(name) or spawned.tenant:
                row["tenant"] = tenant
            rows.append(row)
        return rows

    async def unload(self, name: str) -> None:
        """Ends an instance in peace. Idempotent."""
        if (spawned := self._by_name.get(name)) is not None:
            spawned.leaving = True
            if spawned.instance is not None:
                await self.instances.unload(spawned.instance)

    async def _answer(self, request: Request) -> object:
        methods = {"spawn": self._spawn, "unload": self._unload, "probe": self._probe}
        method = methods.get(request.method)
        if method is None:
            raise BusError(
                "bad-request",
                f"there is no method {request.method!r}",
                where=CAPABILITY,
                help=f"known are {', '.join(methods)}",
            )
        return await method(request.args)

    async def _spawn(self, args: dict[str, Any]) -> object:
        id_, kind = args.get("id"), self.kinds.get(args.get("kind", ""))
        if not isinstance(id_, str) or kind is None:
            raise BusError("not-found", "there is no such kind", where=str(args.get("kind")))
        spawned = self._spawned.get(id_)
        if spawned is None:
            task = asyncio.create_task(self._summon(kind))
            spawned = self._spawned[id_] = Spawned(id_, kind, args.get("tenant"), task)
        try:
            instance = await asyncio.shield(spawned.task)
        except asyncio.CancelledError:  # the pool gave up; what was begun ends
            self._spawned.pop(id_, None)
            spawned.task.cancel()
            raise
        except Exception as error:
            self._spawned.pop(id_, None)
            self._failures[kind.name] = time.monotonic(), error
            raise BusError("failed", str(error), where=kind.installed.name) from error
        if spawned.instance is None and not instance.ended.is_set():
            spawned.instance = instance
            self._by_name[instance.name] = spawned
        return {"instance": instance.name}

    async def _summon(self, kind: Kind) -> Instance:
        began = time.monotonic()
        instance = await self.instances.summon(kind.installed, kind.options)
        took_ms = (time.monotonic() - began) * 1000
        mean = self._loads.get(kind.installed.name, took_ms)
        self._loads[kind.installed.name] = mean + _WEIGHT * (took_ms - mean)
        return instance

    async def _unload(self, args: dict[str, Any]) -> object:
        spawned = self._by_name.get(args.get("instance", ""))
        if spawned is None:
            raise BusError("not-found", "there is no such instance", where=str(args["instance"]))
        reason = str(args.get("reason") or "")
        log.info("unloading", extra={"instance": args["instance"], "reason": reason})
        await self.unload(args["instance"])
        return {}

    async def _probe(self, args: dict[str, Any]) -> object:
        instance = self.get(args.get("instance", ""))
        if instance is None or instance.state is not State.ACTIVATED:
            raise BusError("overloaded", "the instance is at work", retry_after_ms=1_000)
        began = time.monotonic()
        await self.hub.call(
            args["capability"],
            args.get("method"),
            args.get("args") or {},
            instance=instance.name,
            ttl_ms=args["within_ms"],
        )
        return {"took_ms": round((time.monotonic() - began) * 1000)}

    def _ended(self, instance: Instance) -> None:
        spawned = self._by_name.pop(instance.name, None)
        if spawned is not None:
            self._spawned.pop(spawned.id, None)
            self.on_died(instance.name, instance.exit.text if instance.exit else "")
