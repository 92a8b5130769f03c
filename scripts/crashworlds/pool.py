"""Pool Manager: no lease lost, no instance leased twice. The kernel is a table of names."""

import asyncio
from typing import Any, ClassVar

from crashstage import Member

from crashworlds.world import TS, Worker, World
from symphony.bus.errors import BusError
from symphony.bus.hub import Request

INSTANCES = 8
WORKERS = 12
KINDS = {"k": "a", "l": "b"}  # the tenant of each
KERNEL = "kernel.instances/1"


class Caller(Worker):
    """Acquires, works, releases."""

    def __init__(self, world: "PoolWorld", kind: str) -> None:
        super().__init__(world)
        self.world, self.kind = world, kind
        self.lease: str | None = None
        self.instance = ""

    @property
    def is_idle(self) -> bool:
        return not self.asked and self.lease is None

    def next(self) -> tuple[str, dict[str, Any]]:
        name = f"i{self.world.number()}"
        if self.lease is None:
            args = {"id": name, "kind": self.kind, "run": "r", "tenant": KINDS[self.kind]}
            return "acquire", {**args, "ts": TS}
        return "release", {"id": name, "lease": self.lease, "outcome": "ok", "ts": TS}

    def answered(self, method: str, args: dict[str, Any], answer: Any) -> None:  # noqa: ARG002
        if method == "release":
            self.lease = None
            return
        self.world.leased(self.kind, answer["lease"], answer["instance"])
        self.lease, self.instance = answer["lease"], answer["instance"]


class PoolWorld(World):
    program: ClassVar[str] = "symphony-pool-manager"
    capability: ClassVar[str] = "pit.pool/1"
    asks: ClassVar[tuple[str, ...]] = (KERNEL,)
    changes: ClassVar[int] = 200

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._callers = [Caller(self, "k" if at % 3 else "l") for at in range(WORKERS)]
        self._leases: set[str] = set()  # every one that was told
        self._instances: dict[str, tuple[str, str]] = {}  # kind, and the spawn that it comes from
        self._spawns: dict[str, str] = {}

    async def prepare(self) -> None:
        self.stage.hub.serve(KERNEL, self._kernel)

    async def _kernel(self, request: Request) -> object:
        if request.method == "unload":
            name = request.args["instance"]
            if name not in self._instances:
                raise BusError("not-found", "no such instance", where=name)
            if name in self._leased():
                self.wrong(f"{name} is to be unloaded and has a lease")
            self._instances.pop(name)
            return {}
        spawn = request.args["id"]
        if spawn in self._spawns:
            self.wrong(f"the spawn {spawn} is used again")
        name = self._spawns[spawn] = f"player-{len(self._spawns) + 1}"
        self._instances[name] = (request.args["kind"], spawn)
        return {"instance": name}

    def _leased(self) -> dict[str, str]:
        """Instances that are certainly leased, and their leases."""
        return {
            caller.instance: caller.lease
            for caller in self._callers
            if caller.lease is not None and not caller.asked
        }

    def leased(self, kind: str, lease: str, instance: str) -> None:
        if lease in self._leases:
            self.wrong(f"{lease} was given twice")
        if instance in self._leased():
            self.wrong(f"{instance} is leased as {self._leased()[instance]} and as {lease}")
        if self._instances.get(instance, ("", ""))[0] != kind:
            self.wrong(f"{lease} is of {instance}, which is no {kind}")
        self._leases.add(lease)

    async def first(self, member: Member) -> None:
        await member.call("list")

    async def check(self, member: Member, *, powerless: bool) -> None:  # noqa: ARG002
        rows = [{"kind": kind, "player": "p", "memory_mib": 1, "load_ms": 5} for kind in KINDS]
        await member.call("configure", limits={"instances": INSTANCES}, kinds=rows)
        leased = self._leased()
        releasing = {caller.lease for caller in self._callers if caller.lease and caller.asked}
        busy = leased.keys() | {caller.instance for caller in self._callers if caller.lease}
        rows = [
            {
                "instance": name,
                "kind": kind,
                "tenant": KINDS[kind],
                "state": "active" if name in busy else "warm",
                "id": spawn,
            }
            for name, (kind, spawn) in self._instances.items()
        ]
        leases = sorted({*leased.values(), *releasing})
        answer = await member.call("resync", instances=rows, leases=leases, ts=TS)
        for lease in set(answer["lost"]) & set(leased.values()):
            self.wrong(f"{lease} was told and is lost")
        for name in answer["kill"]:
            if name in leased:
                self.wrong(f"{name} has the lease {leased[name]} and is to go")
        known = {
            lease: row["instance"]
            for kind in (await member.call("list"))["kinds"]
            for row in kind["instances"]
            for lease in row["leases"]
        }
        for name, lease in leased.items():
            if known.get(lease) != name:
                self.wrong(f"{lease} of {name} is now of {known.get(lease)}")

    def tasks(self, member: Member) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(caller.work(member)) for caller in self._callers]

    async def finish(self, member: Member) -> None:
        await asyncio.gather(*(caller.settle(member) for caller in self._callers))
        stats = await member.call("stats")
        if stats["leases"] or stats["waiting"]:
            self.wrong(f"at the end there are still leases: {stats}")
        await member.leave()
