"""The door for consoles elsewhere: tcp, CURVE and nothing else, for those whose key is known.

They may ask what the kernel does, stop it, look at dead letters and send them again; whatever else
reads or starts something on this machine is left to consoles of this machine.

Anybody can connect there, and each connection takes one of the kernel's descriptors until it is
clear that nobody with a key is behind it. When they are too many the door is shut for a while.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from symphony.bus.errors import BusError
from symphony.bus.grants import Grants
from symphony.bus.hub import Curve, Hub

from .errors import ExitCode, SymphonyError
from .keys import KeyRing, raw

NAME: Final = "remote"  # of these consoles on the bus
METHODS: Final = frozenset({"status", "bus", "letters", "letter", "redrive", "stop"})
_FREE_S: Final = 5.0  # that the system may take to free the port
_LOOK_S: Final = 0.01
_REST_S: Final = 2.0  # that the door stays shut after it was crowded
_CALM_S: Final = 60.0  # after that another crowd is news

log = logging.getLogger(__name__)


def is_remote(caller: str) -> bool:
    """Whether a caller came through this door."""
    return caller.partition("/")[0] == NAME


class RemoteDoor:
    """One endpoint that can be closed and opened with other keys."""

    def __init__(self, hub: Hub, keys: KeyRing, endpoint: str, calls: frozenset[str]) -> None:
        self._hub = hub
        self._keys = keys
        self._endpoint = endpoint
        self._calls = calls
        self._shut = asyncio.Lock()  # held from when it is closed until it is open again
        self._calm_at = 0.0

    async def open(self) -> None:
        """Lets consoles in. Raises SymphonyError if the endpoint cannot be had."""
        pair = self._keys.hub()
        try:
            self._hub.add_console(
                self._endpoint,
                Grants(calls=self._calls),
                name=NAME,
                secret=bytes.fromhex(pair.console),
                curve=Curve(raw(pair.secret), self._keys.allows),
            )
        except BusError as error:
            raise SymphonyError(
                ExitCode.IO,
                error.message,
                where=self._endpoint,
                help="choose another address or port with --listen",
                fault="environment",
            ) from error

    async def reopen(self) -> None:
        """Cuts every console off; who still has a key can come back."""
        async with self._shut:
            self._hub.remove_peer(NAME)
            await self._open_freed()

    async def crowded(self, count: int) -> None:
        """Cuts everybody off, because so many are connected, and lets nobody in for a while."""
        if self._shut.locked():
            return
        async with self._shut:
            now = time.monotonic()
            if now >= self._calm_at:
                reason = f"{count} connections at once: shut while there are so many"
                log.warning("crowded", extra={"endpoint": self._endpoint, "reason": reason})
            self._calm_at = now + _CALM_S
            self._hub.crowded(NAME, count)
            is_open = False
            while not is_open:
                await asyncio.sleep(_REST_S)
                try:
                    await self._open_freed()
                    is_open = True
                except SymphonyError as error:
                    log.warning("not open again", extra={"reason": str(error)})

    async def _open_freed(self) -> None:
        deadline = time.monotonic() + _FREE_S
        while True:  # the transport closes a listener when it comes to it, and says nothing then
            try:
                return await self.open()
            except SymphonyError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_LOOK_S)
