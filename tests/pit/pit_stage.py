"""A hub with the Pit's real binaries on it: started, waited for and ended with the test."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from symphony.bus.hub import DeadLetter, Grants, Hub
from symphony.bus.messages import Hello
from symphony.bus.reference import ReferenceDatapath
from symphony.bus.ticket import Ticket

PATIENCE_S = 20.0


def binary(name: str) -> Path:
    """Where the kernel would find it."""
    folder = os.environ.get("SYMPHONY_PROGRAMS") or sysconfig.get_path("scripts")
    path = Path(folder) / name
    assert path.is_file(), f"{path} is not there: install the wheel symphony-pit"
    return path


class Seen:
    """What the hub told the kernel, as events to wait for."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[tuple[str, str, object]] = asyncio.Queue()

    def registered(self, instance: str, hello: Hello) -> None:
        self.events.put_nowait(("registered", instance, hello))

    def rejected(self, instance: str, reason: str) -> None:
        self.events.put_nowait(("rejected", instance, reason))

    def silent(self, instance: str) -> None:
        self.events.put_nowait(("silent", instance, None))

    def left(self, instance: str, reason: str) -> None:
        self.events.put_nowait(("left", instance, reason))

    def overdue(self, instance: str) -> None:
        self.events.put_nowait(("overdue", instance, None))

    def undelivered(self, letter: DeadLetter) -> None:
        """Tested elsewhere."""

    def bus_ended(self, reason: str) -> None:
        raise AssertionError(reason)

    async def expect(self, what: str, instance: str) -> object:
        """The next event, which must be this one."""
        async with asyncio.timeout(PATIENCE_S):
            found, name, detail = await self.events.get()
        assert (found, name) == (what, instance), detail
        return detail


class Stage:
    """A hub and the processes started on it."""

    def __init__(self, folder: Path, *, heartbeat_ms: int = 1000) -> None:
        self.folder = folder
        self.seen = Seen()
        self.hub = Hub(ReferenceDatapath, heartbeat_ms=heartbeat_ms, listener=self.seen)
        self._processes: list[subprocess.Popen[bytes]] = []

    def ticket(self, instance: str, capability: str, calls: str | None = None) -> Ticket:
        provides, asks = frozenset({capability}), frozenset({calls} if calls else ())
        grants = Grants(provides=provides, calls=asks)
        return self.hub.add_peer(instance, f"ipc://{self.folder}/{instance}.sock", grants)

    def start(self, name: str, ticket: Ticket, store: Path) -> subprocess.Popen[bytes]:
        """Starts a binary with the ticket on its standard input."""
        process = launch(name, ticket, store)
        self._processes.append(process)
        return process

    async def member(
        self, name: str, capability: str, store: Path, *, calls: str | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a binary as the instance of the same name and waits until it is registered."""
        process = self.start(name, self.ticket(name, capability, calls), store)
        hello = await self.seen.expect("registered", name)
        assert isinstance(hello, Hello)
        assert hello.pid == process.pid
        return process

    async def close(self) -> None:
        await self.hub.close()
        for process in self._processes:
            process.kill()
            process.communicate()


def launch(name: str, ticket: Ticket | None, store: Path) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if key != "SYMPHONY_TICKET"}
    if ticket is not None:
        environment["SYMPHONY_TICKET"] = "fd:0"
    process = subprocess.Popen(
        [binary(name), "--store", store],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdin is not None
    process.stdin.write(ticket.to_json() if ticket else b"")
    process.stdin.close()
    process.stdin = None
    return process


async def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Exit code and standard error."""
    _, text = await asyncio.to_thread(process.communicate, timeout=PATIENCE_S)
    return process.returncode, text.decode()


@asynccontextmanager
async def staged(folder: Path, heartbeat_ms: int = 1000) -> AsyncIterator[Stage]:
    stage = Stage(folder, heartbeat_ms=heartbeat_ms)
    await stage.hub.start()
    try:
        yield stage
    finally:
        await stage.close()


Test = Callable[[Stage], Awaitable[None]]
Play = Callable[..., None]
