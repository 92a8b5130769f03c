"""What all of them have in common."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any, ClassVar

from crashstage import Gone, Member, Stage

TS = "2026-01-01T00:00:00.000Z"


class World(ABC):
    """One member's load, the ledger of what it acknowledged, and the checks.

    An operation that was not answered stays open: after the next start it is asked again, as a
    caller would, and must have one effect.
    """

    program: ClassVar[str]
    capability: ClassVar[str]
    asks: ClassVar[tuple[str, ...]] = ()
    # How many changes of the disk one life makes; a kill comes at one of them.
    changes: ClassVar[int] = 400

    def __init__(self, stage: Stage, dice: random.Random) -> None:
        self.stage = stage
        self.dice = dice
        self.acknowledged: Counter[str] = Counter()  # by method
        self.faults: list[str] = []
        self.troubled = False  # the disk is known to refuse what is asked of it

    async def prepare(self) -> None:  # noqa: B027 - most members ask nobody
        """Starts what the member asks. Once, before its first life."""

    async def close(self) -> None:  # noqa: B027
        """Ends what `prepare` started."""

    @abstractmethod
    async def finish(self, member: Member) -> None:
        """The last checks, of everything; the member leaves."""

    @abstractmethod
    async def first(self, member: Member) -> None:
        """A question whose answer needs what the store holds: with it, the member has recovered."""

    @abstractmethod
    async def check(self, member: Member, *, powerless: bool) -> None:
        """What was acknowledged is there, once and whole; `powerless`: what was not synced may
        be gone."""

    @abstractmethod
    def tasks(self, member: Member) -> list[asyncio.Task[None]]:
        """Begins the load; it ends when the member does."""

    def wrong(self, what: str) -> None:
        self.faults.append(what)

    def number(self) -> int:
        """A number that no other operation of this world has."""
        self._last = getattr(self, "_last", 0) + 1
        return self._last


class Worker:
    """Does one thing after another; what was not answered is done again."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.asked: tuple[str, dict[str, Any]] | None = None

    async def work(self, member: Member) -> None:
        try:
            while True:
                await self.step(member)
        except Gone:
            return

    async def settle(self, member: Member) -> None:
        """Brings what it began to its end. All workers at once: one may wait for another."""
        while not self.is_idle:
            await self.step(member)

    @property
    def is_idle(self) -> bool:
        """Whether it began nothing that is not over."""
        raise NotImplementedError

    async def step(self, member: Member) -> None:
        if self.asked is None:
            self.asked = self.next()
        method, args = self.asked
        answer = await member.ask(method, args)
        self.asked = None
        self._world.acknowledged[method] += 1
        self.answered(method, args, answer)

    def next(self) -> tuple[str, dict[str, Any]]:
        raise NotImplementedError

    def answered(self, method: str, args: dict[str, Any], answer: Any) -> None:
        raise NotImplementedError
