"""Sends a dead letter again: a call as the kernel's own, an event to whoever subscribes now.

At least once: a letter is forgotten when its answer is there, or its event is on the way to
somebody; one whose kernel or command ended before that is still kept, and may have arrived.
"""

from __future__ import annotations

import asyncio

from symphony.bus.errors import BusError, ProtocolError
from symphony.bus.hub import Hub

from .deadletters import DeadLetterBox, Parcel


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
            parcel = await self._unpack(letter)
            await self._send(parcel, ttl_ms)
            await asyncio.to_thread(self._box.arrived, parcel)
        except BusError:
            await asyncio.to_thread(self._box.again, letter)
            raise
        finally:
            self._busy.discard(letter)

    async def _unpack(self, letter: str) -> Parcel:
        try:
            return await asyncio.to_thread(self._box.parcel, letter)
        except ProtocolError as error:
            raise _senseless(letter) from error

    async def _send(self, parcel: Parcel, ttl_ms: int) -> None:
        name = parcel.name
        if parcel.kind == "event":
            if not self._hub.subscribers(name):
                raise BusError(
                    "unavailable",
                    f"nobody subscribes to {name}",
                    where=name,
                    help=f"attach an extension that subscribes to {name}, then redrive it",
                )
            self._hub.publish(name, parcel.body, keep=parcel.keep)
            return
        if not isinstance(parcel.body, dict):
            raise _senseless(parcel.letter)
        try:
            await self._hub.call(name, parcel.method, parcel.body, ttl_ms=ttl_ms)
        except BusError as error:
            error.where = error.where or name
            if error.code == "unavailable":
                error.help = f"attach an extension that provides {name}, then redrive it"
            raise


def _senseless(letter: str) -> BusError:
    return BusError(
        "bad-request",
        "the letter does not hold what a call or event can carry",
        where=letter,
        help=f"symphony-kernel deadletter drop {letter}",
    )
