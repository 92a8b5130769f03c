"""Members of the Pit that decide and wait, on a stage: how the tests talk to them."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pit_stage import PATIENCE_S, Stage, ended

from symphony.bus.errors import BusError
from symphony.bus.hub import Request

TTL_MS = 20_000
TS = "2026-01-01T00:00:00.000Z"
KERNEL = "kernel.instances/1"


class Member:
    """A binary of the Pit with its store, to be called, killed and started again."""

    program: str
    capability: str
    calls: str | None = None

    def __init__(self, stage: Stage, store: Path) -> None:
        self.stage = stage
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._process = await self.stage.member(
            self.program, self.capability, self._store, calls=self.calls
        )

    async def kill(self) -> None:
        """Ends it as kill -9 does."""
        assert self._process is not None
        self._process.kill()
        await ended(self._process)
        self.stage.hub.remove_peer(self.program)

    async def leave(self) -> str:
        """Asks it to end, as the kernel does; what it wrote to standard error."""
        assert self._process is not None
        self.stage.hub.unload(self.program, 5_000)
        assert await self.stage.seen.expect("left", self.program) == "unload"
        code, text = await ended(self._process)
        assert code == 0, text
        return text

    async def call(self, method: str, **args: object) -> Any:
        return await self.stage.hub.call(self.capability, method, args, ttl_ms=TTL_MS)

    async def refused(self, method: str, **args: object) -> BusError:
        """A call that must fail; its error."""
        try:
            answer = await self.call(method, **args)
        except BusError as error:
            return error
        raise AssertionError(answer)

    async def until(self, method: str, condition: Callable[[Any], object]) -> Any:
        """Asks until the answer is as wanted: what another call waits for happens in between."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition(answer := await self.call(method)):
                pass
        return answer


class Arbitration(Member):
    """Who gets scarce things."""

    program, capability = "symphony-arbitration", "pit.arbitration/1"

    async def configure(self, capacity: int) -> Any:
        return await self.call("configure", resources={"slots": {"capacity": capacity}})

    def request(self, name: str, slots: int = 1, **more: object) -> Awaitable[Any]:
        needs = {"slots": slots}
        return self.call("request", id=name, run=f"run of {name}", needs=needs, ts=TS, **more)

    def waiting(self, name: str) -> asyncio.Task[Any]:
        """A request that is not to be answered at once."""

        async def request() -> Any:
            return await self.request(name)

        return asyncio.create_task(request())

    async def release(self, name: str, grant: str) -> Any:
        return await self.call("release", id=name, grant=grant, outcome="ok", ts=TS)

    async def queued(self, *names: str) -> None:
        """Returns once exactly these wait."""
        await self.until("queue", lambda queue: {row["id"] for row in queue["waiting"]} == {*names})

    async def held(self) -> dict[str, str]:
        """The run of each grant that is out."""
        queue = await self.call("queue")
        return {row["grant"]: row["run"] for row in queue["held"]}


class Kernel:
    """What the kernel serves to the pool: instances that are no more than names."""

    def __init__(self, stage: Stage) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.callers: set[str] = set()
        self.open = asyncio.Event()  # whether spawning comes to its end
        self.open.set()
        self.begun = asyncio.Event()
        self._instances: dict[str, str] = {}  # by the spawn's id
        self._numbers = itertools.count(1)
        stage.hub.serve(KERNEL, self._serve)

    @property
    def instances(self) -> list[str]:
        """Those that there are."""
        return list(self._instances.values())

    def times(self, method: str) -> int:
        return [asked for asked, _ in self.asked].count(method)

    async def _serve(self, request: Request) -> object:
        self.asked.append((request.method, request.args))
        self.callers.add(request.caller)
        if request.method == "unload":
            self._unload(request.args["instance"])
            return {}
        self.begun.set()
        await self.open.wait()
        if request.args["kind"] == "broken":
            raise BusError("failed", "no such program")
        name = f"player-{next(self._numbers)}"
        return {"instance": self._instances.setdefault(request.args["id"], name)}

    def _unload(self, instance: str) -> None:
        left = self._instances.items()
        self._instances = {id_: name for id_, name in left if name != instance}


class Pool(Member):
    """The life of every model process."""

    program, capability, calls = "symphony-pool-manager", "pit.pool/1", KERNEL

    async def configure(self, *kinds: str, instances: int = 8) -> Any:
        row = {"player": "p", "memory_mib": 100, "load_ms": 1_000}
        rows = [{"kind": kind, **row} for kind in kinds]
        return await self.call("configure", limits={"instances": instances}, kinds=rows)

    async def resync(self, *instances: tuple[str, str], leases: tuple[str, ...] = ()) -> Any:
        rows = [
            {"instance": name, "kind": "k", "state": state, "tenant": "t"}
            for name, state in instances
        ]
        return await self.call("resync", instances=rows, leases=list(leases), ts=TS)

    def acquire(self, name: str, kind: str = "k") -> asyncio.Task[Any]:
        async def acquire() -> Any:
            return await self.call("acquire", id=name, kind=kind, run="r", tenant="t", ts=TS)

        return asyncio.create_task(acquire())

    async def release(self, name: str, lease: str) -> Any:
        return await self.call("release", id=name, lease=lease, outcome="ok", ts=TS)
