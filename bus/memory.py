"""The datapath in memory: the same switch over queues, single-threaded and deterministic.

For tests, for the fake that authors of extensions use, and for simulation. Every command and every
message takes effect before the call returns; time is what the injected clock says, and passes for
deadlines only in `tick`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from . import wire
from .datapath import Flow, Upcall, UpcallQueue
from .egress import Egress, Refusal
from .errors import BusError
from .switch import Switch

CAPACITY = 256  # messages a peer's inbox takes before the hub must queue, as the real transport


class MemoryPeer:
    """One connection to a `MemoryDatapath`: sends frames, holds what it received."""

    def __init__(self, datapath: "MemoryDatapath", identity: bytes, endpoint: str) -> None:
        self.identity = identity
        self.endpoint = endpoint
        self.inbox: deque[tuple[bytes, bytes]] = deque()
        self.on_message: Callable[[], object] | None = None
        self._datapath = datapath

    def send(self, *frames: bytes) -> bool:
        """Sends one message; of another number of frames than two it is dropped and counted."""
        self._datapath.receive(self, frames)
        return True

    def receive(self) -> tuple[bytes, bytes] | None:
        """Takes the oldest message, None if there is none."""
        if not self.inbox:
            return None
        message = self.inbox.popleft()
        self._datapath.flush()
        return message

    def attach(self, loop: asyncio.AbstractEventLoop, pump: Callable[[], None]) -> None:
        """Calls `pump` on the loop after each message."""
        self.on_message = lambda: loop.call_soon(pump)

    def detach(self, loop: asyncio.AbstractEventLoop) -> None:  # noqa: ARG002 - as `link.Link`
        """Undoes `attach`."""
        self.on_message = None

    def close(self) -> None:
        """Ends the connection; what is sent to it from now on is undeliverable."""
        self._datapath.disconnect(self)


class MemoryDatapath:
    """See `datapath.Datapath`. `clock` gives seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._endpoints: set[str] = set()
        self._connections: dict[bytes, MemoryPeer] = {}
        self._flushing = False

    def start(self, wake: Callable[[], None], *, heartbeat_ms: int, liveness: int) -> None:
        self._upcalls = UpcallQueue(wake)
        self._switch = Switch(
            self._upcalls, heartbeat_ms=heartbeat_ms, liveness=liveness, now=self._clock()
        )
        self._egress = Egress(self._switch, self._deliver)

    def close(self) -> None:
        self._endpoints.clear()
        self._connections.clear()

    def bind(self, endpoint: str) -> None:
        if endpoint in self._endpoints:
            raise BusError("io", "another peer's endpoint has this name", where=endpoint)
        self._endpoints.add(endpoint)

    def unbind(self, endpoint: str) -> None:
        self._endpoints.discard(endpoint)
        for peer in [peer for peer in self._connections.values() if peer.endpoint == endpoint]:
            self.disconnect(peer)

    def admit(self, peer: str, identity: bytes, *, console: bool = False) -> None:
        self._switch.admit(peer, identity, self._clock(), console=console)

    def open(self, peer: str) -> None:
        self._switch.open(peer, self._clock())

    def expel(self, peer: str) -> None:
        self._switch.expel(peer)
        self.flush()

    def install(self, flow: Flow) -> None:
        self._switch.install(flow)

    def revoke(self, generation: int) -> None:
        self._switch.revoke(generation)

    def send(self, peer: str, header: bytes, body: bytes) -> None:
        self._switch.send(peer, header, body)
        self.flush()

    def inject(self, peer: str, header: bytes, body: bytes) -> None:
        self._switch.inject(peer, header, body, self._clock())
        self.flush()

    def poll(self) -> list[Upcall]:
        return self._upcalls.take()

    def counters(self) -> dict[str, int]:
        return {**self._switch.counts, "forwarded": self._egress.taken}

    # -- beyond the interface: connections and time -----------------------------------------

    def connect(self, endpoint: str, identity: bytes) -> MemoryPeer:
        """Connects as a DEALER would; a second connection with one routing id gets nothing."""
        if endpoint not in self._endpoints:
            raise BusError("unavailable", "nobody listens at this endpoint", where=endpoint)
        peer = MemoryPeer(self, identity, endpoint)
        self._connections.setdefault(identity, peer)
        return peer

    def disconnect(self, peer: MemoryPeer) -> None:
        """Ends a connection."""
        if self._connections.get(peer.identity) is peer:
            del self._connections[peer.identity]

    def receive(self, peer: MemoryPeer, frames: tuple[bytes, ...]) -> None:
        """Takes one message from a connection."""
        if self._connections.get(peer.identity) is not peer:
            return
        if any(len(frame) > wire.MAX_BODY for frame in frames):
            self.disconnect(peer)
        elif len(frames) != 2:
            self._switch.counts["frames"] += 1
            if len(frames) > wire.MAX_FRAMES:
                self._switch.violated(peer.identity, self._clock())
        elif not self._switch.receive(peer.identity, frames[0], frames[1], self._clock()):
            self._switch.counts["unknown-identity"] += 1
        self.flush()

    def tick(self) -> None:
        """Lets the time that the clock shows take effect."""
        self._switch.tick(self._clock())
        self.flush()

    def flush(self) -> None:
        """Delivers what can be delivered."""
        if self._flushing:  # a delivery made its receiver send: the outer call goes on
            return
        self._flushing = True
        try:
            self._egress.flush()
        finally:
            self._flushing = False
        self._upcalls.tell()

    def _deliver(self, identity: bytes, header: bytes, body: bytes) -> Refusal | None:
        peer = self._connections.get(identity)
        if peer is None:
            return Refusal.GONE
        if len(peer.inbox) >= CAPACITY:
            return Refusal.BUSY
        peer.inbox.append((header, body))
        if peer.on_message is not None:
            peer.on_message()
        return None
