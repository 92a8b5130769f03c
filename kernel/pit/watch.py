"""Starts the members of the Pit, watches them, and starts them again by the supervisor's rules."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path

from symphony.bus.errors import BusError
from symphony.bus.hub import Hub
from symphony.sandboxes.policy import Level

from ..answers import Degraded
from ..errors import ExitCode, SymphonyError
from ..instances import Instance, Instances, SpawnError, how_ended
from ..kit import Installed, Kit
from ..launchplan import LaunchOptions, program
from ..members import (
    ARBITRATION,
    ARTIFACT_STORE,
    DAG_TRACKER,
    NO_STORE,
    POOL_MANAGER,
    Member,
    MemberKind,
    not_started,
    unavailable,
)
from ..replies import checked
from ..space import full_disk
from ..supervisor import Child, Quarantine, Start, Stop, Supervision, Supervisor

log = logging.getLogger(__name__)

GREET_S = 60.0  # for all that a member is told before it serves
MOST_HANGS = 3  # of a member within HANGS_S; ends that take long come too seldom for the usual rule
HANGS_S = 3600.0
INDISPENSABLE = (DAG_TRACKER.capability, ARTIFACT_STORE.capability)
CHECKED = (DAG_TRACKER, ARBITRATION, POOL_MANAGER)  # the others' replies are where they are read

Background = Callable[[Coroutine[None, None, None]], None]


class Watch:
    """The members of one kernel: `members` by capability, in the order in which they start."""

    def __init__(
        self,
        kinds: Sequence[MemberKind],
        kit: Kit,
        hub: Hub,
        instances: Instances,
        home: Path,
        background: Background,
    ) -> None:
        self.members = {kind.capability: Member(kind, hub) for kind in kinds}
        self._kinds = kinds
        self._kit = kit
        self._instances = instances
        self._home = home
        self._background = background
        self._serving: dict[str, Instance] = {}
        self._hung: dict[str, str] = {}  # those that are being ended for it, and why
        self._closing = False
        self.on_notice: Callable[[str], None] = lambda _: None  # whoever watches this kernel
        for name, member in self.members.items():
            member.on_hung = partial(self._take_for_hung, name)
            member.on_broken = partial(self._refuse, name)
        for kind in CHECKED:
            self.members[kind.capability].check = partial(checked, kind.capability)
        instances.on_ended.append(self._instance_ended)

    def start(self) -> None:
        """Starts them all; they register in the background.

        Runs are impossible without the first two (raises `SymphonyError`); without another one
        there is less.
        """
        children: list[Child] = []
        for kind in self._kinds:
            if (where := _lacks(self._kit, kind)) is None:
                children.append(Child(kind.capability))
                continue
            why = _missing(kind, where)
            if kind.capability in INDISPENSABLE:
                raise why
            log.warning("member missing", extra={"member": kind.capability, "reason": where})
            self.members[kind.capability].gave_up(why)
        self._supervisor = Supervisor(Supervision(tuple(children)))
        seldom = Supervision(tuple(children), intensity=MOST_HANGS - 1, period_s=HANGS_S)
        self._patient = Supervisor(seldom)
        for name in self._supervisor.start_order():
            self._background(self._start(name))

    def close(self) -> None:
        """Members that end from here on are not started again."""
        self._closing = True

    async def settled(self, limit_s: float) -> None:
        """Waits, no longer than that, until each member serves or is given up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await asyncio.gather(*(member.settled() for member in self.members.values()))

    def degraded(self) -> list[Degraded]:
        """Who is away, and what that means."""
        return [
            self._row(kind.capability)
            for kind in self._kinds
            if not self.members[kind.capability].up
        ]

    def lost(self) -> list[Degraded]:
        """Who will not come by itself."""
        return [row for row in self.degraded() if row.reason is not None]

    async def _start(self, name: str, delay_s: float = 0.0) -> None:
        await asyncio.sleep(delay_s)
        began = time.monotonic()
        member = self.members[name]
        extension = member.kind.extension
        store = self._home / extension.removeprefix("pit-")
        options = LaunchOptions(level=Level.NONE, arguments=("--store", str(store)))
        try:
            instance = await self._instances.summon(self._required(extension), options)
        except Exception as error:  # whatever it was: others wait for this member
            why = not_started(member.kind, error, store)
            log.warning("member failed to start", extra={"member": name, "reason": str(why)})
            if isinstance(error, SpawnError) and (error.rejected or error.code == NO_STORE):
                self._give_up(name, why)  # trying again changes nothing
            elif not self._closing:
                self._ended(name, why, slow=_took_long(began))
            return
        self._serving[name] = instance
        try:
            async with asyncio.timeout(GREET_S):
                await member.welcome()
        except Exception as error:  # of another's member it may be any
            if isinstance(error, BusError) and error.code == "bad-request":
                del self._serving[name]  # it would refuse the same again
                self._give_up(name, _refused(member.kind, error))
            elif isinstance(error, SymphonyError):
                del self._serving[name]  # it would answer the same again
                self._give_up(name, error)
            elif isinstance(error, TimeoutError):
                said = f"it did not take in {GREET_S:g} s what it is told to begin with"
                self._hung[name] = f"{said}: taken for hung"
            log.warning("member not ready", extra={"member": name, "reason": str(error)})
            await self._instances.kill(instance)  # it is started again, by the rules
            return
        log.info("member up", extra={"member": name, "pid": instance.pid})

    def _take_for_hung(self, name: str, why: str) -> None:
        if (instance := self._serving.get(name)) is not None and not self._closing:
            log.warning("member hung", extra={"member": name, "reason": why})
            self._hung[name] = why
            self._instances.end(instance.name, why)

    def _refuse(self, name: str, why: SymphonyError) -> None:
        """It does not keep to its contract: nobody asks it any more."""
        instance = self._serving.pop(name, None)
        if instance is not None and not self._closing:
            log.error("member breaks its contract", extra={"member": name, "reason": why.message})
            self._give_up(name, why)
            self._background(self._instances.kill(instance))

    def _instance_ended(self, instance: Instance) -> None:
        name = next((name for name, it in self._serving.items() if it is instance), None)
        if name is not None and not self._closing:
            del self._serving[name]
            hung = self._hung.pop(name, None)
            text = hung or f"its process ended ({how_ended(instance)})"
            log.warning("member ended", extra={"member": name, "reason": text})
            kind = self.members[name].kind
            full = full_disk(self._home, f"{kind.named} ended")
            why = full if instance.starved else unavailable(kind, text)
            self._ended(name, why, slow=hung is not None)
            if hung is not None and not self.members[name].given_up:
                self.on_notice(str(self._row(name, hung)))

    def _ended(self, name: str, why: Exception, *, slow: bool) -> None:
        self.members[name].went()
        rules = self._patient if slow else self._supervisor
        for action in rules.exited(name, crashed=True, now=time.monotonic()):
            match action:
                case Start(child, delay_s):
                    self._background(self._start(child, delay_s))
                case Stop(child):
                    if other := self._serving.pop(child, None):
                        self._background(self._instances.unload(other))
                case Quarantine(child, often):
                    log.error("member quarantined", extra={"member": child, "reason": often})
                    self._give_up(child, _too_often(why, often))

    def _give_up(self, name: str, why: Exception) -> None:
        self.members[name].gave_up(why)
        self.on_notice(str(self._row(name)))

    def _row(self, name: str, why: str | None = None) -> Degraded:
        member = self.members[name]
        kind = member.kind
        return Degraded(member=kind.title, effect=kind.effect, reason=why or member.why)

    def _required(self, name: str) -> Installed:
        installed = self._kit.get(name)
        if installed is None:
            raise KeyError(name)
        return installed


def _lacks(kit: Kit, kind: MemberKind) -> str | None:
    """What is not there of a member that should be installed; None if it all is."""
    installed = kit.get(kind.extension)
    if installed is None or installed.manifest.provided(kind.capability) is None:
        return f"an extension {kind.extension} that provides {kind.capability}"
    entry = installed.manifest.extension.entry
    if entry.program and not program(entry.program).is_file():
        return str(program(entry.program))
    return None


def _took_long(began: float) -> bool:
    """Whether ends like this come too seldom for the usual rule."""
    return time.monotonic() - began > Supervision.period_s / Supervision.intensity


def _too_often(why: Exception, often: str) -> Exception:
    if not isinstance(why, SymphonyError):
        return why
    return SymphonyError(
        why.code,
        f"{why.message}; {often}, and is not started again",
        where=why.where,
        help=why.help,
        fault=why.fault,
        name=why.name,
    )


def _refused(kind: MemberKind, error: BusError) -> SymphonyError:
    return SymphonyError(
        ExitCode.UNAVAILABLE,
        f"{kind.named} refuses what it is told to begin with: {error.message}",
        where=error.where or kind.capability,
        help="correct pit.toml, and start again",
        fault="caller",
    )


def _missing(kind: MemberKind, where: str) -> SymphonyError:
    ours = kind.extension.startswith("pit-")
    wheel = "install the wheel symphony-pit into the kernel's environment (scripts/setup does)"
    return SymphonyError(
        ExitCode.UNAVAILABLE,
        f"{kind.named} is not installed",
        where=where,
        help=wheel if ours else "install it in the home's folder extensions, or correct pit.toml",
        fault="environment",
    )
