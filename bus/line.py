"""The hub's datapath with all that it listens at, and its replacement when it ends."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from . import wire
from .bell import Bell
from .datapath import Datapath
from .errors import BusError
from .listening import ListeningSocket, is_local

MAX_RESTARTS: Final = 5  # within RESTARTS_S
RESTARTS_S: Final = 10.0

_log = logging.getLogger("symphony.bus")


@dataclass(frozen=True)
class Curve:
    """Encryption of an endpoint: the hub's secret key, and whether a peer's public key (both 32
    bytes) is let in."""

    secret: bytes
    allows: Callable[[bytes], bool]

    def __repr__(self) -> str:
        return "Curve(...)"


@dataclass(frozen=True)
class Endpoint:
    """Where a peer is listened for. `guarded`: whoever connects waits for a verdict."""

    address: str
    guarded: bool
    curve: Curve | None


class Line:
    """One datapath at a time.

    `make` makes them; a datapath itself is used as it is and not replaced. `bell` is rung when
    there is something to poll.
    """

    def __init__(
        self,
        make: Callable[[], Datapath] | Datapath,
        heartbeat_ms: int,
        liveness: int,
    ) -> None:
        self._make = make if callable(make) else None
        self.datapath = make() if callable(make) else make
        self.ended = False  # for good
        self.bell = Bell()
        self._heartbeat_ms = heartbeat_ms
        self._liveness = liveness
        self._endpoints: dict[str, Endpoint] = {}
        self._sockets: dict[str, ListeningSocket] = {}
        self._restarts: deque[float] = deque(maxlen=MAX_RESTARTS)
        self._earlier: dict[str, int] = {}  # what the datapaths before this one have counted

    def __contains__(self, name: str) -> bool:
        return name in self._endpoints

    def start(self) -> None:
        """Starts the datapath."""
        self.datapath.start(
            self.bell,
            heartbeat_ms=self._heartbeat_ms,
            liveness=self._liveness,
            grace_ms=wire.GRACE_MS,
        )

    def listen(self, name: str, endpoint: Endpoint) -> None:
        """Binds an endpoint; raises BusError `io`, or `unavailable` if the datapath has ended."""
        listening = ListeningSocket(endpoint.address) if is_local(endpoint.address) else None
        try:
            self._bind(name, endpoint, listening)
        except BaseException:
            if listening is not None:
                listening.close()
            raise
        self._endpoints[name] = endpoint
        if listening is not None:
            self._sockets[name] = listening

    def _bind(self, name: str, endpoint: Endpoint, listening: ListeningSocket | None) -> None:
        self.datapath.bind(
            endpoint.address,
            domain=name if endpoint.guarded else "",
            curve=endpoint.curve.secret if endpoint.curve else b"",
            fd=listening.fd if listening is not None else -1,
        )

    def unlisten(self, name: str) -> None:
        """Unbinds it and cuts who came in through it."""
        endpoint = self._endpoints.pop(name, None)
        listening = self._sockets.pop(name, None)
        if listening is not None:
            listening.close()
        if endpoint is not None:
            self.datapath.unbind(endpoint.address)

    def close(self) -> None:
        """Ends the datapath and listens nowhere any more."""
        self.datapath.close()
        for listening in self._sockets.values():
            listening.close()
        self.bell.close()

    def replace(self) -> bool:
        """Starts a new datapath for one that has ended, still without its endpoints; False if that
        cannot be, or happened too often: then there is none any more."""
        now = time.monotonic()
        often = len(self._restarts) == MAX_RESTARTS and now - self._restarts[0] < RESTARTS_S
        if self._make is None or often:
            self.ended = True
            return False
        self._restarts.append(now)
        self._earlier = self.counters()
        self.datapath.close()
        self.datapath = self._make()
        self.start()
        return True

    def listen_again(self) -> list[str]:
        """Binds every endpoint at the new datapath; returns whose could not be had."""
        lost = []
        for name, endpoint in list(self._endpoints.items()):
            try:
                self._bind(name, endpoint, self._sockets.get(name))
            except BusError:
                _log.exception("cannot listen again", extra={"peer": name})
                lost.append(name)
        return lost

    def counters(self) -> dict[str, int]:
        """What all datapaths have counted."""
        counts = dict(self._earlier)
        for reason, times in self.datapath.counters().items():
            counts[reason] = counts.get(reason, 0) + times
        return counts
