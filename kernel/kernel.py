"""The Conductor's process: brings up hub, guard and Pit, watches them, and takes them down.

The only place where the parts meet. Decisions are elsewhere: restarts in supervisor.py, what a run
does in conductor.py, who may talk to whom in the hub.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from symphony.bus import datapaths, native
from symphony.bus.hub import DeadLetter, Hub
from symphony.bus.messages import Hello
from symphony.sandboxes.launch import LocalLauncher
from symphony.sandboxes.policy import Level

from . import VERSION, descriptors, trim
from .answers import DatapathName, Degraded, InstanceInfo, RunSummary, Status
from .apart import require_showable
from .artifacts import Artifacts
from .calling import Caller
from .deadletters import DeadLetterBox
from .errors import ExitCode, SymphonyError
from .instances import Instance, Instances, SpawnError
from .kit import Installed, load_kit
from .launchplan import LaunchOptions, program
from .letterwriter import LetterWriter
from .logs import close_log, open_log
from .members import (
    ARTIFACT_STORE,
    DAG_TRACKER,
    PIT,
    Member,
    MemberKind,
    not_started,
    unavailable,
)
from .places import HomeLock, Places
from .remote import RemoteDoor
from .removal import Remover
from .space import full_disk
from .supervisor import Child, Quarantine, Start, Stop, Supervision, Supervisor

log = logging.getLogger(__name__)


class BusBrokenError(Exception):
    """The kernel's bus is gone; its notes hold the report."""


@dataclass(frozen=True)
class Settings:
    """Everything a kernel is told at its start; nobody reads the environment later."""

    places: Places
    level: Level | None = None  # asked for by the user for all players; None: as granted
    extensions: tuple[Path, ...] = ()
    slots: int = len(os.sched_getaffinity(0))
    datapath: DatapathName | None = None  # its name; None: the best that is installed
    listen: str | None = None  # tcp endpoint for consoles elsewhere


class Kernel:
    """One kernel on one home."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.places = settings.places
        for folder in settings.extensions:
            require_showable(folder, self.places)
        self.kit = load_kit(settings.places.home, attached=settings.extensions)
        self.stop = asyncio.Event()
        self.failure: BusBrokenError | None = None  # told when the kernel has ended for it
        self.remote_door: RemoteDoor | None = None  # once it is open
        self.datapath = settings.datapath or _best_datapath()
        self.letters = DeadLetterBox(settings.places.home)
        self.letter_writer = LetterWriter(self.letters)
        self.playing: dict[str, RunSummary] = {}
        self._lock = HomeLock(settings.places.lock)
        self._started = time.monotonic()
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._member_instances: dict[str, Instance] = {}

    async def start(self) -> None:
        """Locks the home and brings everything up; members register in the background."""
        _require_datapath(self.datapath)
        self.places.create()
        self._lock.acquire()
        self._log = open_log(self.places.logs / "kernel.log")
        self._remover = Remover(self.places.trash)
        self._clear_leftovers()
        self.hub = Hub(partial(datapaths.choose, self.datapath), listener=self)
        self.launcher = LocalLauncher(
            keep_fds=(self._lock.fd,),
            scratch=self.places.runtime,
            open_files=descriptors.raise_limit(),
        )
        self.instances = Instances(self.hub, self.launcher, self.places, self._remover)
        self.instances.on_ended.append(self._instance_ended)
        self.members = {kind.extension: Member(kind, self.hub) for kind in PIT}
        self.dag = self.members[DAG_TRACKER.extension]
        self.store = self.members[ARTIFACT_STORE.extension]
        self.artifacts = Artifacts(self.store, self._remover)
        self.caller = Caller(self.hub, self.artifacts, self._remover)
        try:
            await asyncio.gather(self.hub.start(), self.launcher.start())
            self._start_members()
            self._spawn_task(trim.give_back())
            self._spawn_task(descriptors.watch(self._exposed, self._crowded))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Ends every instance, the guard and the hub, in this order; idempotent."""
        if self._closing:
            return
        self._closing = True
        self.stop.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.instances.close()
        await self.launcher.close()
        await self.hub.close()
        await asyncio.to_thread(self.letter_writer.close)
        await self._remover.close()
        self.places.clear_runtime()
        with contextlib.suppress(OSError):
            self.places.runtime.rmdir()
        close_log(self._log)
        self._lock.release()

    def status(self) -> Status:
        """The answer of ``status``."""
        degraded = [
            Degraded(member=kind.title, effect=kind.effect)
            for kind in PIT
            if not self.members[kind.extension].up
        ]
        return Status(
            state="stopping" if self.stop.is_set() else "degraded" if degraded else "running",
            version=VERSION,
            pid=os.getpid(),
            uptime_s=round(time.monotonic() - self._started, 3),
            runs=list(self.playing.values()),
            extensions=[self._info(instance) for instance in self.instances.all.values()],
            degraded=degraded,
            datapath=self.datapath,
            restarts=self.hub.counters()["restarts"],
            refusals=sum(self.hub.refusals().values()),
            listen=self.settings.listen,
        )

    def absent(self) -> list[MemberKind]:
        """The members of the Pit that are not installed at all."""
        return [kind for kind in PIT if self.kit.get(kind.extension) is None]

    def options_for(
        self, installed: Installed, out: Path | None, level: Level | None
    ) -> LaunchOptions:
        """How a player is launched: strict, unless another level was granted or asked for."""
        chosen = level or self.settings.level or Level(installed.sandbox)
        return LaunchOptions(level=chosen, out=out if installed.granted.out else None)

    # The hub's listener: called on the event loop.

    def registered(self, instance: str, hello: Hello) -> None:
        """A peer was welcomed."""
        self.instances.registered(instance, hello)

    def rejected(self, instance: str, reason: str) -> None:
        """A peer was turned away."""
        log.warning("rejected", extra={"instance": instance, "reason": reason})
        self.instances.rejected(instance, reason)

    def silent(self, instance: str) -> None:
        """A peer has not been heard of for too long."""
        log.warning("silent", extra={"instance": instance})
        self.instances.end(instance, "silent on the bus for too long: taken for hung")

    def left(self, instance: str, reason: str) -> None:
        """A peer said bye."""
        log.debug("left", extra={"instance": instance, "reason": reason})
        self.instances.left(instance)

    def overdue(self, instance: str) -> None:
        """A peer does not end a call that was cancelled: it is taken for hung and killed."""
        log.warning("overdue", extra={"instance": instance})
        self.instances.end(instance, "did not end a cancelled call in time: taken for hung")

    def undelivered(self, letter: DeadLetter) -> None:
        """A call or event reached nobody."""
        self.letter_writer.put(letter)

    def bus_ended(self, reason: str) -> None:
        """Without its bus nothing can be played, asked or stopped in peace."""
        log.critical("bus ended", extra={"reason": reason})
        self.failure = BusBrokenError(
            f"the {self.datapath} bus ended and could not be started anew: {reason}"
        )
        self.stop.set()

    def _exposed(self) -> bool:
        """Whether anybody whom the kernel does not trust can connect to it."""
        players = any(i.level is not Level.NONE for i in self.instances.all.values())
        return players or self.remote_door is not None

    def _crowded(self, path: descriptors.Place, count: int) -> None:
        """The kernel's descriptors are running out, and too many of them are connections there."""
        if isinstance(path, int):
            if self.remote_door is not None:
                self._spawn_task(self.remote_door.crowded(count))
            return
        for instance in self.instances.all.values():
            if str(instance.socket) == path and instance.process is not None:
                reason = f"held {count} connections to its bus socket"
                log.warning("crowded", extra={"instance": instance.name, "reason": reason})
                instance.process.kill(reason)
                self.hub.remove_peer(instance.name)
                return

    # The Pit.

    def _start_members(self) -> None:
        present = [kind for kind in PIT if self.kit.get(kind.extension) is not None]
        children = tuple(Child(kind.extension) for kind in present)
        self._supervisor = Supervisor(Supervision(children))
        for kind in (DAG_TRACKER, ARTIFACT_STORE):
            if kind not in present:
                raise _member_missing(kind, kind.extension)
        for name in self._supervisor.start_order():
            entry = self._required(name).manifest.extension.entry
            if entry.program and not program(entry.program).is_file():
                raise _member_missing(self.members[name].kind, str(program(entry.program)))
            self._spawn_task(self._start_member(name))

    async def _start_member(self, name: str, delay_s: float = 0.0) -> None:
        await asyncio.sleep(delay_s)
        member = self.members[name]
        store = self.places.home / name.removeprefix("pit-")
        options = LaunchOptions(level=Level.NONE, arguments=("--store", str(store)))
        try:
            instance = await self.instances.summon(self._required(name), options)
        except Exception as error:  # whatever it was: others wait for this member
            why = not_started(member.kind, error, store)
            log.warning("member failed to start", extra={"member": name, "reason": str(why)})
            rejected = isinstance(error, SpawnError) and error.rejected
            if rejected or not member.was_up:  # trying again changes nothing
                member.gave_up(why)
            elif not self._closing:
                self._member_ended(name, why)
            return
        self._member_instances[name] = instance
        member.came()
        log.info("member up", extra={"member": name, "pid": instance.pid})

    def _instance_ended(self, instance: Instance) -> None:
        name = instance.installed.name
        if self._member_instances.get(name) is instance and not self._closing:
            del self._member_instances[name]
            text = instance.exit.text if instance.exit else ""
            log.warning("member ended", extra={"member": name, "reason": text})
            kind = self.members[name].kind
            full = full_disk(self.places.home, f"the {kind.title} ended")
            self._member_ended(name, full if instance.starved else unavailable(kind, text))

    def _member_ended(self, name: str, why: Exception) -> None:
        self.members[name].went()
        for action in self._supervisor.exited(name, crashed=True, now=time.monotonic()):
            match action:
                case Start(child, delay_s):
                    self._spawn_task(self._start_member(child, delay_s))
                case Stop(child):
                    if other := self._member_instances.pop(child, None):
                        self._spawn_task(self.instances.unload(other))
                case Quarantine(child, reason):
                    log.error("member quarantined", extra={"member": child, "reason": reason})
                    self.members[child].gave_up(why)

    def _required(self, name: str) -> Installed:
        installed = self.kit.get(name)
        if installed is None:
            raise KeyError(name)
        return installed

    def _info(self, instance: Instance) -> InstanceInfo:
        manifest = instance.installed.manifest
        return InstanceInfo(
            name=manifest.name,
            version=manifest.version,
            instance=instance.name,
            state=str(instance.state),
            sandbox=str(instance.level),
            pid=instance.pid or None,
            provides=[provided.capability for provided in manifest.provides],
        )

    def _clear_leftovers(self) -> None:
        """What a killed kernel left: its processes are gone, their folders and sockets are not."""
        for folder in (self.places.instances, self.places.spool):
            for entry in folder.iterdir():
                self._remover.remove(entry)
        self._remover.sweep()
        self.places.clear_runtime()

    def _spawn_task(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _best_datapath() -> DatapathName:
    return "native" if native.available() else "reference"


def _require_datapath(name: DatapathName) -> None:
    """Raises `BusError` if it cannot be had, before anything is locked or started."""
    if name == "native":
        native.load()


def _member_missing(kind: MemberKind, where: str) -> SymphonyError:
    return SymphonyError(
        ExitCode.UNAVAILABLE,
        f"the {kind.title} is not installed",
        where=where,
        help="install the wheel symphony-pit into the kernel's environment (scripts/setup does)",
        fault="environment",
    )
