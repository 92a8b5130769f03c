"""The Stale Manager: told what it should keep, which runs ended, and what the dead left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from symphony.bus.errors import BusError

from ..clock import timestamp
from ..members import AwayError, Member
from ..removal import Remover
from ..units import size

log = logging.getLogger(__name__)

MOST_DEAD: Final = 1_000  # instances in one call


MOVING: Final = "pit.stale.moving"
PROGRESS: Final = "pit.stale.progress"


class Amount(Struct, frozen=True):
    """Of one action."""

    items: int
    bytes: int


class Moving(Struct, frozen=True):
    """The event's body: what is about to be archived and freed, in which run of the curator."""

    id: str
    archive: Amount
    free: Amount
    place: str

    def __str__(self) -> str:
        told = []
        if self.archive.items:
            told.append(f"{_amount(self.archive)} to be archived ({self.place})")
        if self.free.items:
            told.append(f"{_amount(self.free)} that are archived to be freed here")
        said = f"artifacts are about to move: {', '.join(told)}"
        return f"{said}; `symphony-kernel stale pin` and `hold` keep them here"


class Curator:
    """The kernel's way to the Stale Manager. While it is away nothing is archived or deleted, and
    what ended meanwhile it learns from the DAG Tracker."""

    def __init__(
        self, member: Member, settings: dict[str, Any], dead: Path, remover: Remover
    ) -> None:
        """`dead` holds a folder for every instance that died with its kernel."""
        self._member = member
        self._settings = settings
        self._dead = dead
        self._remover = remover
        self._work: set[asyncio.Task[None]] = set()
        self.on_notice: Callable[[str], None] = lambda _: None  # whoever watches this kernel
        member.greet = self._greet
        member.hub.hear(MOVING, self._moving)
        member.hub.hear(PROGRESS, lambda _: member.worked())

    def ended(self, run: str, outcome: str, tenant: str) -> None:
        """A run is over; told in the background."""
        task = asyncio.create_task(self._note(run, outcome, tenant))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def close(self) -> None:
        """What was begun in the background comes to its end."""
        await asyncio.gather(*self._work, return_exceptions=True)

    def _moving(self, body: object) -> None:
        try:
            text = str(msgspec.convert(body, Moving))
        except msgspec.ValidationError as error:  # another Stale Manager's
            text = f"artifacts are about to move: {error}"
        log.warning("moving", extra={"reason": text})
        self.on_notice(text)

    async def _note(self, run: str, outcome: str, tenant: str) -> None:
        args = {"id": f"ended/{run}", "run": run, "outcome": outcome, "tenant": tenant}
        try:
            await self._member.ask("note", {**args, "ts": timestamp()})
        except (AwayError, BusError) as error:
            log.debug("not noted", extra={"run": run, "reason": str(error)})

    async def _greet(self) -> None:
        await self._call("configure", self._settings)
        try:
            await self._clean_up()
        except BusError as error:  # the next start asks again
            log.warning("nothing cleaned up", extra={"reason": str(error)})

    async def _clean_up(self) -> None:
        dead = [
            {"instance": folder.name, "folders": [str(folder)]}
            for folder in sorted(self._dead.iterdir())[:MOST_DEAD]
        ]
        if dead:
            reply = await self._call("cleanup", {"dead": dead, "ts": timestamp()})
            for path in map(Path, reply["remove"]):
                if path.parent == self._dead:
                    self._remover.remove(path)

    async def _call(self, method: str, args: dict[str, Any]) -> Any:
        return await self._member.hub.call(self._member.kind.capability, method, args)


def _amount(amount: Amount) -> str:
    return f"{amount.items} ({size(amount.bytes)})"
