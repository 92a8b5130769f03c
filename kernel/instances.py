"""Instances of extensions: spawned in their sandboxes, registered, activated, leased, unloaded.

Every instance has a name, a bus socket, an inbox and an outbox of its own; all of them go when its
process ends. Its life follows the table in chambering.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec

from symphony.bus.errors import BusError
from symphony.bus.hub import Hub
from symphony.bus.messages import Hello
from symphony.sandboxes.launch import Launcher, Process
from symphony.sandboxes.policy import ExitReason, Level, SpawnSpec

from . import chambering
from .chambering import Event, State
from .errors import from_bus
from .kit import Installed
from .launchplan import LaunchOptions, argv, bus_grants, sandbox_policy
from .logs import complaint
from .places import Places
from .removal import Remover
from .space import full_disk, is_full

REGISTER_S = 20.0  # from spawn to hello, on a machine under load
ACTIVATE_S = 20.0
LAST_WORDS = 4096  # bytes of a log's end that are looked at
GRACE_S = 2.0  # from unload to the end of the process
REJECTIONS: Final = {  # what the hub's reasons mean
    "protocol": "it speaks another version of the bus protocol: build and install it again",
    "manifest": "it provides what its manifest does not name",
    "violation": "it sent what the bus protocol forbids",
}


class SpawnError(Exception):
    """An instance ended or was rejected before it could be used."""

    def __init__(self, instance: Instance, text: str) -> None:
        super().__init__(text)
        self.instance = instance.name
        self.player = instance.installed.name
        self.pid = instance.pid or None
        self.text = text
        self.log = instance.log
        self.rejected = instance.rejected is not None  # it would be again
        self.code = instance.exit.code if instance.exit else None
        self.last_lines = instance.last_lines()


@dataclass(eq=False)
class Instance:
    """One process of an extension."""

    name: str
    installed: Installed
    folder: Path
    socket: Path
    log: Path
    options: LaunchOptions
    log_start: int = 0  # bytes that an earlier instance of this name left there
    state: State = State.REQUESTED
    process: Process | None = None
    exit: ExitReason | None = None
    rejected: str | None = None
    starved: bool = False  # the home's disk was full when its process ended
    users: int = 0  # calls that it was leased for
    hello: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @cached_property
    def inbox(self) -> Path:
        """Where its inputs are staged (the instance sees it read-only)."""
        return self.folder / "inbox"

    @cached_property
    def outbox(self) -> Path:
        """Where it leaves its outputs."""
        return self.folder / "outbox"

    @property
    def pid(self) -> int:
        """The process id on the host; 0 before it was spawned."""
        return self.process.pid if self.process else 0

    @property
    def level(self) -> Level:
        """The sandbox level really in force."""
        return self.process.level if self.process else self.options.level

    def last_lines(self) -> list[str]:
        """What its process wrote last."""
        try:
            with self.log.open("rb") as file:
                size = self.log.stat().st_size
                start = self.log_start if self.log_start <= size else 0  # it was cut meanwhile
                file.seek(max(start, size - LAST_WORDS))
                return file.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return []

    def on(self, event: Event) -> None:
        """Moves along the chambering table."""
        self.state = chambering.step(self.state, event)

    def lease(self) -> None:
        """One more call has it; the first takes it into use."""
        if not self.users:
            self.on(Event.LEASE)
        self.users += 1

    def free(self) -> None:
        """One less; with the last it is free again, if it still can be used."""
        self.users -= 1
        if not self.users and self.state is State.IN_USE:
            self.on(Event.RELEASE)


EndedHook = Callable[[Instance], None]


class Instances:
    """All instances of this kernel."""

    def __init__(self, hub: Hub, launcher: Launcher, places: Places, remover: Remover) -> None:
        self._remover = remover
        self._hub = hub
        self._launcher = launcher
        self._places = places
        self._numbers = itertools.count(1)
        self._watchers: set[asyncio.Task[None]] = set()
        self.all: dict[str, Instance] = {}
        self.on_ended: list[EndedHook] = []

    async def summon(self, installed: Installed, options: LaunchOptions) -> Instance:
        """Spawns an instance and brings it to ``activated``.

        Raises :class:`SpawnError`; where the home or the sockets fail, OSError or `SymphonyError`.
        """
        instance = self._prepare(installed, options)
        try:
            await self._spawn(instance)
            await self._until_hello(instance)
            params: Mapping[str, object] = {}
            await self._hub.activate(
                instance.name, options.config, params, ttl_ms=int(ACTIVATE_S * 1000)
            )
            self._ready(instance)
        except BusError as error:
            await self.kill(instance)
            if instance.starved:
                raise full_disk(self._places.home, f"{instance.name} ended") from error
            if error.code == "io":
                raise from_bus(error) from error
            raise SpawnError(instance, error.message) from error
        except BaseException:
            await self.kill(instance)
            raise
        return instance

    async def unload(self, instance: Instance) -> None:
        """Ends an instance in peace, or by force after the grace period."""
        if instance.ended.is_set():
            return
        instance.on(Event.UNLOAD)
        self._hub.unload(instance.name, int(GRACE_S * 1000))
        await self._until_gone(instance)

    async def _until_gone(self, instance: Instance) -> None:
        try:
            async with asyncio.timeout(GRACE_S):
                await instance.ended.wait()
        except TimeoutError:
            await self.kill(instance)

    async def kill(self, instance: Instance) -> None:
        """Ends the instance's whole process tree now."""
        if instance.process is None:
            self._forget(instance)
            return
        if not instance.ended.is_set():
            instance.process.kill()
            await instance.ended.wait()

    async def close(self) -> None:
        """Ends all instances."""
        await asyncio.gather(*(self.unload(instance) for instance in list(self.all.values())))
        for watcher in list(self._watchers):
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    def registered(self, name: str, hello: Hello) -> None:
        """The hub welcomed the instance."""
        del hello
        if instance := self.all.get(name):
            instance.on(Event.HELLO)
            instance.hello.set()

    def rejected(self, name: str, reason: str) -> None:
        """The hub turned the instance away, or cut it off later for breaking the protocol."""
        if instance := self.all.get(name):
            instance.rejected = reason
            instance.hello.set()
            if instance.state is not State.REQUESTED:
                self.end(name, REJECTIONS[reason])

    def end(self, name: str, reason: str) -> None:
        """Kills an instance that cannot be used any more; `reason` is that of its process' end."""
        if (instance := self.all.get(name)) and instance.process:
            instance.process.kill(reason)

    def left(self, name: str) -> None:
        """The instance said bye: its process ends too, or is ended."""
        if (instance := self.all.get(name)) and instance.state not in chambering.ENDED:
            instance.on(Event.UNLOAD)
            self._keep(self._until_gone(instance))

    def _prepare(self, installed: Installed, options: LaunchOptions) -> Instance:
        number = next(self._numbers)
        name = f"{installed.name}-{number}"
        instance = Instance(
            name=name,
            installed=installed,
            folder=self._places.instances / name,
            socket=self._places.runtime / f"{number}.sock",
            log=self._places.log(name),
            options=options,
        )
        if instance.log.exists():
            instance.log_start = instance.log.stat().st_size
        for folder in (instance.inbox, instance.outbox):
            folder.mkdir(mode=0o700, parents=True)
        self.all[name] = instance
        return instance

    async def _spawn(self, instance: Instance) -> None:
        level = instance.options.level
        boxed = level is not Level.NONE
        uid = self._launcher.identity(level)
        ticket = self._hub.add_peer(
            instance.name,
            f"ipc://{instance.socket}",
            bus_grants(instance.installed),
            inside="ipc:///run/bus.sock" if boxed else None,
            uid=uid,
        )
        inbox, outbox = ("/inbox", "/outbox") if boxed else (instance.inbox, instance.outbox)
        ticket = msgspec.structs.replace(ticket, inbox=str(inbox), outbox=str(outbox))
        instance.process = await self._launcher.spawn(
            SpawnSpec(
                instance=instance.name,
                argv=argv(instance.installed, instance.options),
                policy=sandbox_policy(instance.installed, instance.options),
                code=instance.installed.folder,
                socket=instance.socket,
                inbox=instance.inbox,
                outbox=instance.outbox,
                stdin=ticket.to_json(),
                uid=uid,
                log=instance.log,
            )
        )
        if instance.pid:
            self._hub.expect(instance.name, instance.pid)
        self._keep(self._watch(instance, instance.process))

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        watcher = asyncio.create_task(work)
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    async def _watch(self, instance: Instance, process: Process) -> None:
        instance.exit = await process.wait()
        instance.starved = is_full(self._places.home)
        instance.on(Event.EXIT)
        self._forget(instance)
        for hook in self.on_ended:
            hook(instance)

    async def _until_hello(self, instance: Instance) -> None:
        hello = asyncio.ensure_future(instance.hello.wait())
        ended = asyncio.ensure_future(instance.ended.wait())
        waits = {hello, ended}
        try:
            done, _ = await asyncio.wait(
                waits, timeout=REGISTER_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        if instance.rejected is not None:
            raise SpawnError(instance, REJECTIONS[instance.rejected])
        if ended in done:
            if instance.starved:
                raise full_disk(self._places.home, f"{instance.name} ended before it registered")
            raise SpawnError(instance, f"ended before it registered ({how_ended(instance)})")
        if not done:
            raise SpawnError(instance, f"did not register within {REGISTER_S:g} s")

    def _ready(self, instance: Instance) -> None:
        if instance.ended.is_set():  # between its answer and our reading of it
            raise SpawnError(instance, "ended when it was activated")
        instance.on(Event.READY)

    def _forget(self, instance: Instance) -> None:
        self.all.pop(instance.name, None)
        self._hub.remove_peer(instance.name)
        self._remover.remove(instance.folder)
        instance.ended.set()


def how_ended(instance: Instance) -> str:
    """How its process ended, with what it said last."""
    reason = instance.exit
    if reason is None:
        return "it could not be started"
    how = f"exit code {reason.code}" if reason.kind == "error" else reason.text or reason.kind
    said = complaint(instance.last_lines())
    return how if said is None or said in how else f"{how}: {said}"
