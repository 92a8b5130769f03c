"""What one run holds: for each attempt a grant of Arbitration and an instance of the Pool Manager.

A player that costs nothing may be kept for the run's next step: its grant lasts for a *turn*, so a
chain of short steps asks once and not for every step. Whatever failed is never used again.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from symphony.sandboxes.policy import ExitReason

from .chambering import State
from .instances import Instance, Instances
from .pit.arbiter import Arbiter, Grant, Outcome, Wish
from .pit.candidates import Candidate
from .pit.fleet import Kind
from .pit.pool import Lease, Pool

TURN_S: Final = 0.25  # how long a grant may serve one step after another
LINGER_S: Final = 0.05  # how long it may lie idle between them
NO_SIGN: Final = {"done": 0, "total": None, "message": ""}  # of progress: what is not worth telling


@dataclass(frozen=True)
class Terms:
    """What all of a run's attempts have in common."""

    run: str
    tenant: str


@dataclass(frozen=True)
class Part:
    """A player in this run: how it is launched, and what each of its calls needs, in smallest
    units by resource."""

    kind: Kind
    needs: Mapping[str, int]


@dataclass(frozen=True)
class Attempt:
    """What one attempt of a step asks for. It is played by one of `parts`, preferred first: of
    several, Arbitration chooses by what `candidates` say of them."""

    step: str
    number: int
    parts: Sequence[Part]
    priority: int = 50
    deadline_s: float | None = None  # from now: what is granted later makes the run late
    candidates: Sequence[Candidate] = ()


@dataclass(eq=False)
class Held:
    """A grant with the instance that it was given for."""

    grant: Grant
    lease: Lease
    since: float
    began: float
    sign: Mapping[str, Any] = field(default_factory=dict)  # the last of its progress
    spent: Mapping[str, int] = field(default_factory=dict)  # as the player itself tells it
    idle: asyncio.TimerHandle | None = field(default=None)

    @property
    def instance(self) -> Instance:
        """Who plays."""
        return self.lease.instance

    @property
    def player(self) -> str:
        """The extension's name."""
        return self.instance.installed.name


class Leases:
    """Everything that one run holds."""

    def __init__(
        self,
        terms: Terms,
        arbiter: Arbiter,
        pool: Pool,
        instances: Instances,
        warn: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        self._terms = terms
        self._arbiter = arbiter
        self._pool = pool
        self._instances = instances
        self._warn = warn  # of a budget of which most is spent
        self._idle: dict[str, list[Held]] = defaultdict(list)  # by kind
        self._busy: set[Held] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._expected: Mapping[str, int] = {}

    async def take(self, attempt: Attempt) -> Held:
        """An activated instance, idle or new, now in use.

        Raises SpawnError and what `Instances.summon` raises, BusError if nothing is granted.
        """
        now = time.monotonic()
        idle = (self._kept(part.kind, now) for part in attempt.parts)
        held = next(filter(None, idle), None) or await self._granted(attempt, now)
        held.instance.lease()
        held.began, held.sign = now, NO_SIGN
        self._busy.add(held)
        return held

    async def _granted(self, attempt: Attempt, now: float) -> Held:
        terms, parts = self._terms, attempt.parts
        kind = parts[0].kind
        shared = len(parts) == 1 and kind.share > 1
        wish = Wish(
            terms.run,
            attempt.step,
            attempt.number,
            terms.tenant,
            _largest(part.needs for part in parts),
            attempt.priority,
            attempt.deadline_s,
            _largest(_estimate(part.kind) for part in parts),
            attempt.candidates if len(parts) > 1 else (),
            kind.name if shared else None,
            kind.share,
        )
        grant = await self._arbiter.request(wish)
        chosen = (part.kind for part in parts if part.kind.installed.name == grant.player)
        kind = next(chosen, kind)
        try:
            lease = await self._pool.acquire(kind, terms.run, terms.tenant, grant.name)
        except BaseException:
            self._arbiter.release(grant, "failed")
            raise
        return Held(grant, lease, now, now)

    async def give_back(self, held: Held) -> None:
        """The step is done with it and the run's next one, or anybody, may have it."""
        self._busy.discard(held)
        now = time.monotonic()
        kind, well = held.lease.kind, held.instance.state is State.IN_USE
        held.instance.free()
        if well:
            free = not kind.costs and not held.spent
            if free and kind.share == 1 and now < held.since + TURN_S:
                loop = asyncio.get_running_loop()
                held.idle = loop.call_later(LINGER_S, self._part, held)
                self._idle[kind.name].append(held)
                return
            outcome: Outcome = "ok"
        else:
            outcome = "lost"
            if not held.instance.ended.is_set():  # it said bye: it need not stay
                self._end(self._instances.kill(held.instance))
        if kind.costs or held.spent:
            await self._settle(held, outcome, now)
        else:
            self._end(self._settle(held, outcome, now))

    async def discard(self, held: Held) -> str | None:
        """Ends the instance, at once unless others use it too; the reason of its process' end."""
        self._busy.discard(held)
        now = time.monotonic()
        held.instance.free()
        if held.instance.users:
            await self._settle(held, "failed", now)  # and nobody new gets it
            return None
        await self._instances.kill(held.instance)
        await self._settle(held, "failed", now)
        reason = held.instance.exit
        return _in_words(reason) if reason else "never started"

    def expect(self, soon: Mapping[str, int]) -> None:
        """The run will need these kinds before long (with the chance in thousandths); what it
        holds already it need not be given twice."""
        held = {held.lease.kind.name for held in self._busy}
        held |= {kind for kind, rows in self._idle.items() if rows}
        wanted = {kind: chance for kind, chance in soon.items() if kind not in held}
        if wanted and wanted != self._expected:
            self._expected = wanted
            self._end(self._pool.expect(self._terms.run, {k: (0, p) for k, p in wanted.items()}))

    async def close(self) -> None:
        """Gives back what is left: idle ones in peace, busy ones end by force."""
        for rows in list(self._idle.values()):
            for held in list(rows):
                self._part(held)
        if self._expected:
            self._end(self._pool.expect(self._terms.run, {}))
        await asyncio.gather(*(self.discard(held) for held in list(self._busy)))
        await asyncio.gather(*self._endings)

    def _kept(self, kind: Kind, now: float) -> Held | None:
        """One that the run has from an earlier step."""
        rows = self._idle[kind.name]
        while rows:
            held = rows.pop()
            if held.idle is not None:
                held.idle.cancel()
            if held.instance.state is State.ACTIVATED and now < held.since + TURN_S:
                return held
            self._end(self._settle(held, "ok", now))
        return None

    def _part(self, held: Held) -> None:
        """Nobody took it in time."""
        if held.idle is not None:
            held.idle.cancel()
        self._idle[held.lease.kind.name].remove(held)
        self._end(self._settle(held, "ok", time.monotonic()))

    async def _settle(self, held: Held, outcome: Outcome, now: float) -> None:
        """Gives back instance and grant, and has what the use cost booked."""
        if held.instance.ended.is_set() and outcome == "ok":
            outcome = "lost"
        busy_ms = round((now - held.began) * 1000)
        try:
            spend = await self._pool.release(held.lease, outcome, busy_ms, held.spent)
            if spend:
                for row in await self._arbiter.charge(held.grant, spend):
                    await self._warn(row)
        finally:
            self._arbiter.release(held.grant, outcome)

    def _end(self, work: Coroutine[None, None, None]) -> None:
        ending = asyncio.create_task(work)
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


def _estimate(kind: Kind) -> dict[str, int]:
    """What a call probably spends."""
    return {"money": call} if (call := kind.costs.get("call")) else {}


def _largest(amounts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Of each resource what the neediest takes."""
    found: dict[str, int] = {}
    for row in amounts:
        for name, amount in row.items():
            found[name] = max(amount, found.get(name, 0))
    return found


def _in_words(reason: ExitReason) -> str:
    """Why a process ended; what it last said is told only where it ended by its own will."""
    if reason.kind == "signal" and reason.signal is not None:
        return f"ended by {signal.Signals(reason.signal).name}"
    if reason.kind == "error":
        return f"exit code {reason.code}" + (f": {reason.text}" if reason.text else "")
    return reason.text or reason.kind
