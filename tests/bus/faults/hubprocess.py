"""A hub in a process of its own, that can hang, run out of descriptors and be measured."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from symphony.bus.ticket import Ticket

from .ground import HERE, Ground, Peer


class HubProcess:
    """Says lines and is told lines; see `hub.py`."""

    def __init__(self, ground: Ground, peer: Peer) -> None:
        self._ground = ground
        self._peer = peer
        self._said: list[str] = []
        self.pid = peer.process.pid

    @classmethod
    async def start(cls, ground: Ground, datapath: str, descriptors: int = 0) -> "HubProcess":
        """One with at most so many descriptors; 0 for as many as this process may have."""
        command = [str(HERE / "hub.py"), datapath, str(ground.folder), str(descriptors)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdin=PIPE, stdout=PIPE
        )
        ground.peers.append(Peer("hub", process))
        hub = cls(ground, ground.peers[-1])
        assert await hub._line() == "ready"
        return hub

    async def peer(self, program: str, name: str = "") -> Peer:
        """A new provider or caller; it has not registered yet."""
        return await self._ground.spawn(program, await self.ticket(program, name or program))

    async def ticket(self, what: str, name: str) -> Ticket:
        return Ticket.from_json((await self.ask(f"{what} {name}")).encode())

    async def told(self, notice: str) -> None:
        """Waits for a notice, which it remembers."""
        while notice not in self._said:
            self._said.append(await self._line())

    async def ask(self, command: str) -> str:
        """A command's answer."""
        assert self._peer.process.stdin is not None
        self._peer.process.stdin.write(command.encode() + b"\n")
        while not (line := await self._line()).startswith("answer "):
            self._said.append(line)
        return line.removeprefix("answer ")

    async def counters(self) -> dict[str, int]:
        return json.loads(await self.ask("counters"))  # type: ignore[no-any-return]

    async def _line(self) -> str:
        assert self._peer.process.stdout is not None
        line = await self._peer.process.stdout.readline()
        assert line, "the hub has ended"
        return line.decode().rstrip("\n")

    def descriptors(self) -> int:
        """How many it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    async def exhausted(self, descriptors: int) -> None:
        """Waits until it has so many."""
        while self.descriptors() < descriptors:  # noqa: ASYNC110 - the system tells nobody
            await asyncio.sleep(0.01)

    async def down_to(self, descriptors: int) -> None:
        """Waits until it has no more than so many."""
        while self.descriptors() > descriptors:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
