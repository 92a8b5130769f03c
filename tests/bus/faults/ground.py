"""A hub with peers that are processes of their own, to be killed and stopped."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from symphony.bus.datapaths import choose
from symphony.bus.grants import Grants
from symphony.bus.ticket import Ticket

from ..test_hub import World

HERE = Path(__file__).parent
ECHO = "test.echo/1"
TOPIC = "test.topic"
PROVIDES = Grants(provides=frozenset({ECHO}))
CALLS = Grants(calls=frozenset({ECHO}), subscribes=frozenset({TOPIC}))
LIMIT_S = 60.0


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what nobody is told of: figures of the hub, files of other processes."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


class Peer:
    """A process with a ticket."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process

    def send(self, sign: signal.Signals) -> None:
        self.process.send_signal(sign)

    async def say(self, **what: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what).encode() + b"\n")
        await self.process.stdin.drain()

    async def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line, f"{self.name} has ended"
        return json.loads(line)  # type: ignore[no-any-return]

    async def call(self, id: str, **how: object) -> dict[str, Any]:  # noqa: A002
        await self.say(id=id, **how)
        return await self.hear()

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.communicate()


class Ground(World):
    """A hub, its peers, and what of the kernel they need: whoever is silent, overdue or has ended
    is removed; `ledger` counts the lines that providers wrote."""

    def __init__(self, datapath: str, folder: Path, **more: Any) -> None:
        super().__init__(partial(choose, datapath), **more)
        self.folder = folder
        self.peers: list[Peer] = []
        self._ledger = folder / "ledger"

    def silent(self, instance: str) -> None:
        super().silent(instance)
        self.hub.remove_peer(instance)

    def overdue(self, instance: str) -> None:
        super().overdue(instance)
        self.hub.remove_peer(instance)

    def ledger(self) -> Counter[str]:
        return Counter(self._ledger.read_text().splitlines())

    def ticket(self, name: str, grants: Grants) -> Ticket:
        ticket = self.hub.add_peer(name, f"ipc://{self.folder}/{name}", grants)
        folders = {"inbox": str(self.folder), "outbox": str(self.folder)}
        return msgspec.structs.replace(ticket, **folders)

    async def spawn(self, program: str, ticket: Ticket) -> Peer:
        place = self.folder / f"{ticket.instance}-{len(self.peers)}.ticket"
        place.touch(mode=0o600)
        place.write_bytes(ticket.to_json())
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / f"{program}.py"),
            str(self._ledger),
            stdin=PIPE,
            stdout=PIPE,
            env=os.environ | {"SYMPHONY_TICKET": f"file:{place}"},
        )
        self.peers.append(Peer(ticket.instance, process))
        return self.peers[-1]

    async def provider(self, name: str) -> Peer:
        peer = await self.spawn("provider", self.ticket(name, PROVIDES))
        await self.told("registered", name)
        return peer

    async def caller(self, name: str) -> Peer:
        peer = await self.spawn("caller", self.ticket(name, CALLS))
        assert await peer.hear() == {"joined": True}
        return peer

    async def died(self, *peers: Peer) -> None:
        """Does what the kernel does when it is told of the end of a child."""
        for peer in peers:
            await peer.process.wait()
            self.hub.remove_peer(peer.name)

    async def noted(self, *lines: str) -> None:
        """Waits until providers have written these."""
        await until(lambda: self._ledger.exists() and set(lines) <= set(self.ledger()))

    async def asked_by(self, name: str) -> None:
        """Waits until the hub has a call of this peer that is not answered."""
        await until(lambda: any(r.open_calls for r in self.hub.peers() if r.peer == name))

    def open_calls(self) -> int:
        return sum(row.open_calls + row.owed for row in self.hub.peers())


@asynccontextmanager
async def _opened(ground: Ground) -> AsyncIterator[Ground]:
    await ground.hub.start()
    try:
        yield ground
    finally:
        for peer in ground.peers:
            await peer.end()
        await ground.hub.close()


def play(datapath: str, folder: Path, test: Callable[[Ground], Any], **more: Any) -> None:
    """Runs a test on a ground of its own."""

    async def main() -> None:
        async with asyncio.timeout(LIMIT_S), _opened(Ground(datapath, folder, **more)) as ground:
            await test(ground)

    asyncio.run(main())
