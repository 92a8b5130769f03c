"""The door for consoles elsewhere: tcp, CURVE and nothing else, for those whose key is known.

They may ask what the kernel does, stop it, look at dead letters and send them again; whatever else
reads or starts something on this machine is left to consoles of this machine.
"""

from __future__ import annotations

import asyncio
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
        self._hub.remove_peer(NAME)
        deadline = time.monotonic() + _FREE_S
        while True:  # the transport closes a listener when it comes to it, and says nothing then
            try:
                return await self.open()
            except SymphonyError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_LOOK_S)
