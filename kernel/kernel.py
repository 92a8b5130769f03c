"""The Conductor's process: brings up hub, guard and Pit, watches them, and takes them down.

The only place where the parts meet. Decisions are elsewhere: restarts in supervisor.py, what a run
does in conductor.py, who may talk to whom in the hub.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
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
from .instances import Instance, Instances
from .kit import Installed, load_kit
from .launchplan import LaunchOptions
from .letterwriter import LetterWriter
from .logs import close_log, open_log
from .members import (
    ARBITRATION,
    ARTIFACT_STORE,
    DAG_TRACKER,
    POOL_MANAGER,
    STALE_MANAGER,
)
from .pit.appraisal import Appraiser
from .pit.arbiter import Arbiter
from .pit.config import PARTS, load_pit_config, whole_amounts
from .pit.curator import Curator
from .pit.ended import Ended
from .pit.fleet import Fleet, Kind
from .pit.pending import PendingCharges
from .pit.pool import Pool
from .pit.spending import Spending
from .pit.watch import Watch
from .places import HomeLock, Places
from .presence import Presence
from .remote import RemoteDoor
from .removal import Remover

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
        self.config = load_pit_config(settings.places.home, self.kit)
        self.kinds = self.config.kinds()
        self._capacities = self.config.capacities(settings.slots)
        self.slots = max(1, self._capacities["cpu"] // PARTS["cpu"])  # steps of a run at once
        self.stop = asyncio.Event()
        self.failure: BusBrokenError | None = None  # told when the kernel has ended for it
        self.remote_door: RemoteDoor | None = None  # once it is open
        self.datapath = settings.datapath or _best_datapath()
        self.letters = DeadLetterBox(settings.places.home)
        self.letter_writer = LetterWriter(self.letters)
        self.playing: dict[str, Callable[[], RunSummary]] = {}  # as of when it is asked
        self._lock = HomeLock(settings.places.lock)
        self._started = time.monotonic()
        self._closing = False
        self._member_ends: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Locks the home and brings everything up; members register in the background."""
        _require_datapath(self.datapath)
        self.places.create()
        self._lock.acquire()
        self._log = open_log(self.places.logs / "kernel.log")
        self.presence = Presence(self.places.home, self.kinds)
        self.presence.began()
        self._remover = Remover(self.places.trash)
        self._clear_leftovers()
        self.hub = Hub(partial(datapaths.choose, self.datapath), listener=self)
        self.launcher = LocalLauncher(
            keep_fds=self._lock.fds,
            scratch=self.places.runtime,
            open_files=descriptors.raise_limit(),
        )
        self.instances = Instances(self.hub, self.launcher, self.places, self._remover)
        self.watch = Watch(
            self.kinds, self.kit, self.hub, self.instances, self.places.home, self._spawn_task
        )
        self.instances.on_ended.append(self._member_ended)
        self.members = self.watch.members
        self.dag = self.members[DAG_TRACKER.capability]
        self.store = self.members[ARTIFACT_STORE.capability]
        curator = self.members[STALE_MANAGER.capability]
        self.artifacts = Artifacts(self.store, curator, self._remover)
        self._open_pit()
        self.caller = Caller(self.hub, self.artifacts, self._remover)
        try:
            await asyncio.gather(self.hub.start(), self.launcher.start())
            self.watch.start()
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
        self.watch.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(self.arbiter.close(), self.appraiser.close(), self.curator.close())
        await self.instances.close()
        self.presence.look()
        await self.pool.close()
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
        degraded = self.watch.degraded()
        return Status(
            state="stopping" if self.stop.is_set() else "degraded" if degraded else "running",
            version=VERSION,
            pid=os.getpid(),
            uptime_s=round(time.monotonic() - self._started, 3),
            runs=[summary() for summary in self.playing.values()],
            extensions=[self._info(instance) for instance in self.instances.all.values()],
            degraded=degraded,
            datapath=self.datapath,
            restarts=self.hub.counters()["restarts"],
            member_ends=dict(self._member_ends),
            refusals=sum(self.hub.refusals().values()),
            listen=self.settings.listen,
        )

    def lost(self) -> list[Degraded]:
        """The members of the Pit that are not installed, or do not start."""
        return self.watch.lost()

    async def settled(self, limit_s: float) -> None:
        """Waits, no longer than that, until each member serves or is given up."""
        await self.watch.settled(limit_s)
        self.presence.look()

    def needs_of(self, kind: Kind) -> Mapping[str, int]:
        """What a call of the kind takes of the resources, in smallest units."""
        asked = {"cpu": PARTS["cpu"], "memory": kind.memory_mib}
        # The memory is a limit, not a use: a machine with less plays it alone.
        asked = {name: min(amount, self._capacities[name]) for name, amount in asked.items()}
        warmth = self.config.players.get(kind.installed.name)
        return asked | (whole_amounts(warmth.needs) if warmth else {})

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

    def _open_pit(self) -> None:
        """The ways to the members that decide; they are told of everything when they come up."""
        epoch = secrets.token_hex(6)
        pending = PendingCharges(self.places.home / "charges.pending")
        settings = self.config.arbitration(self.settings.slots)
        spending = Spending(settings["budgets"], self.places.home / "budgets.last")
        arbitration = self.members[ARBITRATION.capability]
        ended = Ended(self.places.home / "epochs.ended")
        self.arbiter = Arbiter(arbitration, settings, pending, spending, ended, epoch)
        fleet = Fleet(self.hub, self.instances, self.config)
        fleet.serve()
        self.pool = Pool(self.members[POOL_MANAGER.capability], fleet, self.config, epoch)
        self.appraiser = Appraiser(self.store)
        self.curator = Curator(
            self.members[STALE_MANAGER.capability],
            self.config.curator(),
            self.places.dead,
            self._remover,
        )

    def _member_ended(self, instance: Instance) -> None:
        for kind in self.kinds:
            if kind.extension == instance.installed.name and not self._closing:
                self._member_ends[kind.title] += 1

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
        for entry in self.places.instances.iterdir():  # names begin anew with each kernel
            entry.rename(self.places.dead / f"{secrets.token_hex(4)}-{entry.name}")
        for entry in self.places.spool.iterdir():
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
