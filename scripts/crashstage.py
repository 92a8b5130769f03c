"""A hub with members of the Pit on it: started, called, killed and timed."""

import asyncio
import os
import sysconfig
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchlib import BenchError
from benchproc import end_with_the_benchmark

from symphony.bus.datapaths import REFERENCE, choose
from symphony.bus.errors import BusError
from symphony.bus.grants import ANY, Grants
from symphony.bus.hub import Hub
from symphony.bus.listener import DeadLetter
from symphony.bus.messages import Hello

PATIENCE_S = 30.0
TTL_MS = 30_000
GONE = frozenset({"crashed", "unavailable", "cancelled"})


class Gone(Exception):  # noqa: N818 - it is no error
    """A call was not answered: its member was killed."""


def binary(name: str) -> Path:
    """Where the kernel would find it; raises BenchError if it is not there."""
    folder = os.environ.get("SYMPHONY_PROGRAMS") or sysconfig.get_path("scripts")
    path = Path(folder, name)
    if not path.is_file():
        raise BenchError(f"{path} is not there", "install the wheel symphony-pit")
    return path


class Stage:
    """The hub. It is told of peers; of them only who has joined matters here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub = Hub(lambda: choose(REFERENCE), listener=self)
        self.joined: dict[str, asyncio.Event] = {}
        self.faults: list[str] = []

    def registered(self, instance: str, hello: Hello) -> None:  # noqa: ARG002
        self.joined[instance].set()

    def rejected(self, instance: str, reason: str) -> None:
        self.faults.append(f"{instance} was rejected: {reason}")

    def silent(self, instance: str) -> None:
        """A machine may be slow."""

    def left(self, instance: str, reason: str) -> None:
        """Whoever asked it to waits for the process."""

    def overdue(self, instance: str) -> None:
        """As `silent`."""

    def undelivered(self, letter: DeadLetter) -> None:
        """Its caller is told."""

    def bus_ended(self, reason: str) -> None:
        self.faults.append(f"the hub ended: {reason}")


class Member:
    """One binary of the Pit on its store."""

    def __init__(self, stage: Stage, program: str, capability: str, asks: tuple[str, ...]) -> None:
        self.program, self.capability = program, capability
        self._stage = stage
        self._grants = Grants(
            provides=frozenset({capability}), calls=frozenset(asks), publishes=frozenset({ANY})
        )
        self._process: Process | None = None
        self.said = b""

    async def start(self, store: Path, environment: dict[str, str] | None = None) -> bool:
        """Starts it and waits until it has joined; false where it ended before that."""
        hub, name = self._stage.hub, self.program
        ticket = hub.add_peer(name, f"ipc://{self._stage.folder}/{name}.sock", self._grants)
        joined = self._stage.joined[name] = asyncio.Event()
        self._process = await asyncio.create_subprocess_exec(
            binary(name),
            *("--store", str(store)),
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=PIPE,
            env={**os.environ, "SYMPHONY_TICKET": "fd:0", **(environment or {})},
            preexec_fn=end_with_the_benchmark,
        )
        self._ended = asyncio.create_task(self._communicate(ticket.to_json()))
        joining = asyncio.create_task(joined.wait())
        await asyncio.wait(
            (joining, self._ended), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
        )
        joining.cancel()
        if joined.is_set():
            return True
        if not self._ended.done():
            raise BenchError(f"{name} does not join")
        return False

    @property
    def code(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._process.returncode if self._process else None

    async def ended(self, within_s: float) -> bool:
        """Whether it ends by itself in this time."""
        done, _ = await asyncio.wait((self._ended,), timeout=within_s)
        return bool(done)

    async def kill(self) -> None:
        """Ends it as kill -9 does."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._ended

    async def leave(self) -> None:
        """Asks it to end, as the kernel does."""
        self._stage.hub.unload(self.program, 10_000)
        if not await self.ended(PATIENCE_S) or self.code:
            raise BenchError(f"{self.program} does not end: {self.code} {self.said.decode()}")

    async def call(self, method: str, **args: object) -> Any:
        """Raises Gone where the member was killed, BusError for its own errors."""
        return await self.ask(method, args)

    async def ask(self, method: str, args: dict[str, Any]) -> Any:
        try:
            return await self._stage.hub.call(self.capability, method, args, ttl_ms=TTL_MS)
        except BusError as error:
            if error.code in GONE:
                raise Gone from None
            raise

    async def _communicate(self, ticket: bytes) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.write(ticket)
            await self._process.stdin.drain()
        self._process.stdin.close()
        self.said = (await self._process.stderr.read())[-4_000:]
        await self._process.wait()
        self._stage.hub.remove_peer(self.program)  # as the kernel does when it sees a process end


def milliseconds_since(begun: float) -> float:
    return (time.monotonic() - begun) * 1000
