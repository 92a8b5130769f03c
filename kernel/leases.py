"""Instances lent to steps: one step at a time, kept for the next step of the same run.

Without a Pool Manager nothing is warmed: an instance is spawned when a step needs it. It is never
shared between runs, and never used again after a failed attempt.
"""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict
from collections.abc import Coroutine

from symphony.sandboxes.policy import ExitReason

from .chambering import Event, State
from .instances import Instance, Instances
from .kit import Installed
from .launchplan import LaunchOptions


class Leases:
    """The instances of one run."""

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        self._idle: dict[str, list[Instance]] = defaultdict(list)
        self._busy: set[Instance] = set()
        self._endings: set[asyncio.Task[None]] = set()

    async def take(self, installed: Installed, options: LaunchOptions) -> Instance:
        """An activated instance, idle or new, now in use."""
        idle = self._idle[installed.name]
        while idle:
            instance = idle.pop()
            if instance.state is State.ACTIVATED:
                break
        else:
            instance = await self._instances.summon(installed, options)
        instance.on(Event.LEASE)
        self._busy.add(instance)
        return instance

    def adopt(self, instance: Instance) -> None:
        """Takes an instance that already runs, and is kept by somebody else."""
        instance.on(Event.LEASE)
        self._busy.add(instance)

    def give_back(self, instance: Instance) -> None:
        """The step is done with it and another one may have it."""
        self._busy.discard(instance)
        if instance.state is State.IN_USE:
            instance.on(Event.RELEASE)
            self._idle[instance.installed.name].append(instance)
        elif not instance.ended.is_set():  # it said bye: it need not stay until the run ends
            self._end(self._instances.kill(instance))

    async def discard(self, instance: Instance) -> str:
        """Ends the instance now; returns the reason of its process' end."""
        self._busy.discard(instance)
        await self._instances.kill(instance)
        return _in_words(instance.exit) if instance.exit else "never started"

    def retire(self, player: str) -> None:
        """No further step needs the player: its idle instances end in the background."""
        for instance in self._idle.pop(player, []):
            self._end(self._instances.unload(instance))

    def _end(self, work: Coroutine[None, None, None]) -> None:
        ending = asyncio.create_task(work)
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def close(self) -> None:
        """Ends what is left: idle ones in peace, busy ones by force."""
        for player in list(self._idle):
            self.retire(player)
        busy = [self._instances.kill(instance) for instance in self._busy]
        await asyncio.gather(*self._endings, *busy)


def _in_words(reason: ExitReason) -> str:
    """Why a process ended; what it last said is told only where it ended by its own will."""
    if reason.kind == "signal" and reason.signal is not None:
        return f"ended by {signal.Signals(reason.signal).name}"
    if reason.kind == "error":
        return f"exit code {reason.code}" + (f": {reason.text}" if reason.text else "")
    return reason.text or reason.kind
