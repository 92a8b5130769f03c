"""The Pit as the kernel sees it: its members, which are up, and what is lost without one.

A call to a member that is away waits until the supervisor has brought it back: running steps hold
their results meanwhile and nothing is lost. Every method of the contracts is safe to repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from symphony.bus.errors import BusError
from symphony.bus.hub import Hub

from .errors import REMEDIES, ExitCode, SymphonyError
from .instances import SpawnError

AWAY = frozenset({"unavailable", "crashed"})
NO_STORE = 6  # exit code of a member that cannot open its store


@dataclass(frozen=True)
class MemberKind:
    """One of the five: its extension, capability and what its absence means (DESIGN section 5)."""

    title: str
    extension: str
    capability: str
    effect: str


DAG_TRACKER = MemberKind(
    "DAG Tracker",
    "pit-dag",
    "pit.dag/1",
    "new work waits; running steps finish and their results are held on disk",
)
ARTIFACT_STORE = MemberKind(
    "Artifact Store",
    "pit-artifacts",
    "pit.artifacts/1",
    "new work waits; running steps finish and their results are held on disk",
)
POOL_MANAGER = MemberKind(
    "Pool Manager", "pit-pool", "pit.pool/1", "instances are spawned on demand, without warming"
)
ARBITRATION = MemberKind(
    "Arbitration",
    "pit-arbitration",
    "pit.arbitration/1",
    "first come first served within static limits",
)
STALE_MANAGER = MemberKind(
    "Stale Manager", "pit-stale", "pit.stale/1", "nothing is archived or deleted"
)
PIT = (DAG_TRACKER, ARTIFACT_STORE, POOL_MANAGER, ARBITRATION, STALE_MANAGER)


@dataclass
class Member:
    """One member's standing, and the way to call it."""

    kind: MemberKind
    hub: Hub
    was_up: bool = False  # since this kernel began
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _gone: Exception | None = None

    @property
    def up(self) -> bool:
        """Whether it is registered and serves."""
        return self._up.is_set() and self._gone is None

    def came(self) -> None:
        """It is registered."""
        self._gone = None
        self.was_up = True
        self._up.set()

    def went(self) -> None:
        """Its process ended; it is being started again."""
        self._up.clear()

    def gave_up(self, reason: Exception) -> None:
        """It will not come back by itself; whoever waits gets the reason raised."""
        self._gone = reason
        self._up.set()

    async def ready(self) -> None:
        """Waits until it serves; raises if it is given up."""
        await self._up.wait()
        if self._gone is not None:
            raise self._gone

    async def call(self, method: str, args: Mapping[str, object], *, repeat: bool = True) -> Any:
        """One call that outlives restarts of the member. Raises :class:`BusError` for the rest.

        ``repeat=False``: a call that may have had its effect is not sent again by itself.
        """
        while True:
            await self.ready()
            try:
                return await self.hub.call(self.kind.capability, method, args)
            except BusError as error:
                if error.code not in AWAY or not repeat:
                    raise
                if not self.hub.providers(self.kind.capability):
                    self._up.clear()


def unavailable(kind: MemberKind, why: str) -> SymphonyError:
    """The member does not work, and what was installed is the first thing to look at."""
    return SymphonyError(
        ExitCode.UNAVAILABLE,
        f"the {kind.title} is not available: {why}",
        where=kind.capability,
        help="install the symphony-pit that belongs to this kernel (scripts/setup does) "
        "and start again; its log is in the home's folder logs",
        fault="environment",
    )


def not_started(kind: MemberKind, error: Exception, store: Path) -> Exception:
    """What kept the member from being started, for whoever needs it; a bug of ours as it is."""
    match error:
        case SpawnError(code=code) if code == NO_STORE:
            return _no_store(kind, error.last_lines, store)
        case SpawnError():
            return unavailable(kind, error.text)
        case OSError():
            return SymphonyError(
                ExitCode.IO,
                f"the {kind.title} cannot be started: {error.strerror or error}",
                where=str(error.filename or store.parent),
                help=REMEDIES["io"],
                fault="environment",
            )
        case _:
            return error


def _no_store(kind: MemberKind, said: list[str], store: Path) -> SymphonyError:
    """The member's own error; it ends with the lines `error: WHAT` and `help: REMEDY`."""
    lines = dict(line.split(": ", 1) for line in said if line.startswith(("error: ", "help: ")))
    return SymphonyError(
        ExitCode.IO,
        f"the {kind.title} cannot open its store: {lines.get('error', 'it does not say why')}",
        where=str(store),
        help=lines.get("help", REMEDIES["io"]),
        fault="environment",
    )
