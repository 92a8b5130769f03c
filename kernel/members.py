"""The Pit as the kernel sees it: its members, which are up, and what is lost without one.

A call to a member that is away waits until the supervisor has brought it back: running steps hold
their results meanwhile and nothing is lost. Every method of the contracts is safe to repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from symphony.bus.errors import BusError
from symphony.bus.hub import Hub

from . import health
from .errors import REMEDIES, ExitCode, SymphonyError
from .health import Health
from .instances import SpawnError

AWAY = frozenset({"unavailable", "crashed"})
MOST_ENDS = 10  # of a member, in a row, over one call
MOST_HANGS = 3  # of those, because it was taken for hung
NOT_ANSWERED = AWAY | {"deadline", "cancelled", "overloaded"}  # perhaps by the bus, not by it
NO_STORE = 6  # exit code of a member that cannot open its store


class AwayError(Exception):
    """The member does not serve now, or ended before it answered."""


@dataclass(frozen=True)
class MemberKind:
    """One of the five, or the archive: its extension, capability and what its absence means."""

    title: str
    extension: str
    capability: str
    effect: str
    remedy: str = "install the symphony-pit that belongs to this kernel (scripts/setup does)"

    @property
    def named(self) -> str:
        """As it stands in a sentence."""
        return self.title if self.title == "Arbitration" else f"the {self.title}"


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
ARCHIVE = MemberKind(  # only where pit.toml asks for one: else the Stale Manager's own folder is
    "Archive",
    "archive-object",
    "pit.archive/1",
    "nothing is archived, restored or deleted",
    "correct what it says; archive-object needs obstore (the extra `players`)",
)
REPLACEABLE = (*PIT, ARCHIVE)


def replaced(kinds: Iterable[MemberKind], by: Mapping[str, str]) -> tuple[MemberKind, ...]:
    """The members with the extensions that the configuration names, by capability, for ours."""
    return tuple(replace(kind, extension=by.get(kind.capability, kind.extension)) for kind in kinds)


@dataclass
class Member:
    """One member's standing, and the way to call it."""

    kind: MemberKind
    hub: Hub
    greet: Callable[[], Awaitable[None]] | None = None  # what it must be told before it serves
    on_hung: Callable[[str], None] = lambda _: None  # it does no work; why
    check: Callable[[str, Any], object] = lambda _method, _reply: None  # raises `SymphonyError`
    on_broken: Callable[[SymphonyError], None] = lambda _: None  # for whoever can do without it
    _up: asyncio.Event = field(default_factory=asyncio.Event)
    _gone: Exception | None = None
    _timer: asyncio.TimerHandle | None = None
    _probing: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._health = Health(self.kind.capability)

    @property
    def up(self) -> bool:
        """Whether it is registered and serves."""
        return self._up.is_set() and self._gone is None

    @property
    def given_up(self) -> bool:
        """Whether it will not come back by itself."""
        return self._gone is not None

    @property
    def why(self) -> str | None:
        """Why it will not come back by itself."""
        match self._gone:
            case None:
                return None
            case SymphonyError() as error:
                known = not error.where or error.where in error.message
                return error.message if known else f"{error.message} ({error.where})"
            case error:
                return str(error)

    async def settled(self) -> None:
        """Waits until it serves or is given up."""
        await self._up.wait()

    async def welcome(self) -> None:
        """It is registered: it is told what it must know, and then serves."""
        if self.greet is not None:
            await self.greet()
        self._came()

    def _came(self) -> None:
        self._gone = None
        self._up.set()

    def _doubt(self) -> None:
        """A call met its end. Whoever was told that it is given up already need not wait."""
        if self._gone is None and not self.hub.providers(self.kind.capability):
            self._up.clear()

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

    async def ask(self, method: str, args: Mapping[str, object], ttl_ms: int = 0) -> Any:
        """One call for whoever can do without the member: raises `AwayError` where it is not there
        or does not keep to its contract, :class:`BusError` for the rest."""
        if not self.up:
            raise AwayError(self.kind.title)
        try:
            reply = await self._send(self._health.asked(method), args, ttl_ms)
            self.check(method, reply)
        except BusError as error:
            if error.code not in AWAY:
                raise
            self._doubt()
            raise AwayError(self.kind.title) from error
        except SymphonyError as error:
            self.on_broken(error)
            raise AwayError(self.kind.title) from error
        return reply

    async def tell(self, method: str, args: Mapping[str, object]) -> Any:
        """One call while it is greeted. Raises :class:`BusError`, `SymphonyError`."""
        reply = await self.hub.call(self.kind.capability, method, args)
        self.check(method, reply)
        return reply

    def worked(self) -> None:
        """It told of its progress."""
        self._health.worked()

    async def _send(self, job: health.Job, args: Mapping[str, object], ttl_ms: int = 0) -> Any:
        self._beat_later()
        answered = False
        try:
            reply = await self.hub.call(self.kind.capability, job.method, args, ttl_ms=ttl_ms)
            answered = True
        except BusError as error:
            answered = error.code not in NOT_ANSWERED
            raise
        else:
            return reply
        finally:
            self._health.over(job, answered=answered)

    def _beat_later(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(health.BEAT_S, self._beat)

    def _beat(self) -> None:
        self._timer = None
        if not self._health.busy:
            return
        self._beat_later()
        if (why := self._health.beat()) is not None:
            self.on_hung(why)
        elif self._health.waited_for:
            self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        with contextlib.suppress(BusError):  # any answer will do
            await self._send(self._health.asked(health.PROBE), {})

    async def call(
        self,
        method: str,
        args: Mapping[str, object],
        *,
        repeat: bool = True,
        again: Callable[[], None] | None = None,
    ) -> Any:
        """One call that outlives restarts of the member. Raises :class:`BusError` for the rest.

        ``repeat=False``: a call that may have had its effect is not sent again by itself.
        ``again`` undoes, in a thread, what such a call may have left before it is sent again.
        One over which the member ends or hangs again and again, or whose reply its contract does
        not know, ends too: `SymphonyError`.
        """
        ended = hung = 0
        while True:
            await self.ready()
            job = self._health.asked(method)
            try:
                reply = await self._send(job, args)
            except BusError as error:
                if error.code not in AWAY or not repeat:
                    raise
                ended += error.code == "crashed"
                hung += job.hung
                if hung == MOST_HANGS:
                    why = f"it did not answer `{method}` {hung} times and was taken for hung"
                    raise unavailable(self.kind, why) from error
                if ended == MOST_ENDS:
                    why = f"its process ended {ended} times over `{method}`"
                    raise unavailable(self.kind, why) from error
                if again is not None:
                    await asyncio.to_thread(again)
                self._doubt()
            else:
                self.check(method, reply)
                return reply


def unavailable(kind: MemberKind, why: str) -> SymphonyError:
    """The member worked, and does not any more."""
    return _unavailable(kind, why, "nothing that was finished is lost: repeat the command")


def _unavailable(kind: MemberKind, why: str, help_: str) -> SymphonyError:
    return SymphonyError(
        ExitCode.UNAVAILABLE,
        f"{kind.named} is not available: {why}",
        where=kind.capability,
        help=f"{help_}; its log is in the home's folder logs",
        fault="environment",
    )


def not_started(kind: MemberKind, error: Exception, store: Path) -> Exception:
    """What kept the member from being started, for whoever needs it; a bug of ours as it is."""
    match error:
        case SpawnError(code=code) if code == NO_STORE:
            return _no_store(kind, error.last_lines, store)
        case SpawnError():
            return _unavailable(kind, error.text, f"{kind.remedy} and start again")
        case OSError():
            return SymphonyError(
                ExitCode.IO,
                f"{kind.named} cannot be started: {error.strerror or error}",
                where=str(error.filename or store.parent),
                help=REMEDIES["io"],
                fault="environment",
            )
        case _:
            return error


def _no_store(kind: MemberKind, said: list[str], store: Path) -> SymphonyError:
    """The member's own error; it ends with the lines `error: WHAT` and `help: REMEDY`."""
    lines = dict(line.split(": ", 1) for line in said if line.startswith(("error: ", "help: ")))
    why = lines.get("error", "it does not say why").removesuffix(f" ({store})")
    return SymphonyError(
        ExitCode.IO,
        f"{kind.named} cannot open its store: {why}",
        where=str(store),
        help=lines.get("help", REMEDIES["io"]),
        fault="environment",
    )
