"""Sends a dead letter again: a call as the kernel's own, an event to whoever subscribes now.

At least once: a letter is forgotten when its answer is there, so one whose kernel or command ended
before that is still kept, and may have arrived.
"""

from __future__ import annotations

import asyncio

from symphony.bus.errors import BusError, ProtocolError
from symphony.bus.hub import Hub

from .deadletters import DeadLetterBox


class Redriver:
    """Sends letters of one box over one hub, each at most once at a time: a home has one kernel,
    and that one redriver."""

    def __init__(self, hub: Hub, box: DeadLetterBox) -> None:
        self._hub = hub
        self._box = box
        self._busy: set[str] = set()

    async def redrive(self, letter: str, ttl_ms: int) -> None:
        """Sends a letter and forgets it. Raises BusError, and counts it, if it does not arrive;
        SymphonyError `not-found` if there is none."""
        if letter in self._busy:
            raise BusError(
                "conflict",
                "this letter is being sent already",
                where=letter,
                help="wait for the other `deadletter redrive`",
            )
        self._busy.add(letter)
        try:
            await self._send(letter, ttl_ms)
            await asyncio.to_thread(self._box.arrived, letter)
        except BusError:
            await asyncio.to_thread(self._box.again, letter)
            raise
        finally:
            self._busy.discard(letter)

    async def _send(self, letter: str, ttl_ms: int) -> None:
        try:
            found, body = await asyncio.to_thread(self._box.body, letter)
        except ProtocolError as error:
            raise _senseless(letter) from error
        if found.kind == "event":
            self._hub.publish(found.name, body)
            return
        if not isinstance(body, dict):
            raise _senseless(letter)
        try:
            await self._hub.call(found.name, found.method, body, ttl_ms=ttl_ms)
        except BusError as error:
            error.where = error.where or found.name
            if error.code == "unavailable":
                error.help = f"attach an extension that provides {found.name}, then redrive it"
            raise


def _senseless(letter: str) -> BusError:
    return BusError(
        "bad-request",
        "the letter does not hold what a call or event can carry",
        where=letter,
        help=f"symphony-kernel deadletter drop {letter}",
    )
