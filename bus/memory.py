"""The datapath in memory: the same switch over queues, single-threaded and deterministic.

For tests, for the fake that authors of extensions use, and for simulation. Every command and every
message takes effect before the call returns; time is what the injected clock says, and passes for
deadlines only in `tick`.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence

from . import wire
from .datapath import (
    ALL,
    CONNECTING,
    FAILED,
    KERNEL,
    Flow,
    FlowStats,
    PeerStats,
    Upcall,
    UpcallQueue,
)
from .egress import Egress, Refusal
from .errors import BusError
from .link import Message
from .switch import Switch
from .zap import TOKEN_BYTES, VERDICT_S

CAPACITY = 256  # messages a peer's inbox takes before the hub must queue, as the real transport


class MemoryPeer:
    """One connection to a `MemoryDatapath`: sends frames, holds what it received."""

    def __init__(self, datapath: "MemoryDatapath", identity: bytes, endpoint: str) -> None:
        self.identity = identity
        self.endpoint = endpoint
        self.inbox: deque[tuple[bytes, bytes]] = deque()
        self.on_message: Callable[[], object] | None = None
        self.held: list[tuple[bytes, ...]] = []  # sent before it was let in
        self._lent = 0  # bytes of large bodies in the inbox
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
        self._lent -= _lent(message[1])
        self._datapath.flush()
        return message

    def deliver(self, header: bytes, body: bytes) -> bool:
        """Puts a message into the inbox; False if it is full, as the real transport would be."""
        lent = _lent(body)
        crowded = self._lent > 0 and lent > 0 and self._lent + lent > wire.MAX_LENT_BYTES
        if crowded or len(self.inbox) >= CAPACITY:
            return False
        self._lent += lent
        self.inbox.append((header, body))
        if self.on_message is not None:
            self.on_message()
        return True

    def take(self, limit: int) -> list[Message]:
        """As `link.Link`."""
        taken: list[Message] = []
        while len(taken) < limit and (message := self.receive()) is not None:
            taken.append(message)
        return taken

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
        self._endpoints: dict[str, str] = {}  # their domains
        self._connections: dict[bytes, MemoryPeer] = {}
        self._asked: dict[bytes, tuple[float, MemoryPeer]] = {}  # by token: until when, who
        self._failed = False
        self._flushing = False

    def start(
        self, wake: Callable[[], None], *, heartbeat_ms: int, liveness: int, grace_ms: int
    ) -> None:
        self._upcalls = UpcallQueue(wake)
        self._switch = Switch(
            self._upcalls,
            heartbeat_ms=heartbeat_ms,
            liveness=liveness,
            grace_ms=grace_ms,
            now=self._clock(),
        )
        self._egress = Egress(self._switch, self._deliver, self._clock)

    def close(self) -> None:
        self._endpoints.clear()
        self._connections.clear()
        self._asked.clear()

    def bind(self, endpoint: str, *, domain: str = "", curve: bytes = b"", fd: int = -1) -> None:
        del curve, fd  # there is no transport
        if self._failed:
            raise BusError("unavailable", "the bus has ended")
        if endpoint in self._endpoints:
            raise BusError("io", "another peer's endpoint has this name", where=endpoint)
        self._endpoints[endpoint] = domain

    def unbind(self, endpoint: str) -> None:
        self._endpoints.pop(endpoint, None)
        for peer in [peer for peer in self._connections.values() if peer.endpoint == endpoint]:
            self.disconnect(peer)

    def verdict(self, token: bytes, allowed: bool) -> None:
        _, peer = self._asked.pop(token, (0.0, None))
        if peer is None:
            return
        if not allowed:
            self._switch.counts["connection-refused"] += 1
            return
        self._join(peer)
        for frames in peer.held:
            self.receive(peer, frames)
        peer.held.clear()

    def admit(self, peer: str, identity: bytes, *, console: bool = False) -> None:
        self._switch.admit(peer, identity, self._clock(), console=console)

    def open(self, peer: str) -> None:
        self._switch.open(peer, self._clock())

    def expel(self, peer: str) -> None:
        self._switch.expel(peer, self._clock())
        self.flush()

    def install(self, flow: Flow) -> None:
        self._switch.install(flow)

    def revoke(self, generation: int) -> None:
        self._switch.revoke(generation)

    def send(self, peer: str, header: bytes, body: bytes) -> None:
        self._switch.send(peer, header, body)
        self.flush()

    def event(self, peers: Sequence[str], header: bytes, body: bytes) -> None:
        self._switch.event(peers, header, body)
        self.flush()

    def inject(self, peer: str, header: bytes, body: bytes) -> None:
        self._switch.inject(peer, header, body, self._clock())
        self.flush()

    def poll(self, limit: int = ALL) -> list[Upcall]:
        return self._upcalls.take(limit)

    def counters(self) -> dict[str, int]:
        return {**self._switch.counts, "forwarded": self._egress.taken}

    def flows(self) -> list[FlowStats]:
        return self._switch.flows()

    def peers(self) -> list[PeerStats]:
        return self._switch.peers()

    def _crash(self) -> None:
        """Ends as a bug would end it; only for tests."""
        self.close()
        self._failed = True
        self._upcalls.offer(Upcall(FAILED, KERNEL, b"crashed on purpose", b""), bounded=False)
        self._upcalls.tell()

    # -- beyond the interface: connections and time -----------------------------------------

    def connect(
        self, endpoint: str, identity: bytes, *, address: bytes = b"", key: bytes = b""
    ) -> MemoryPeer:
        """Connects as a DEALER would; a second connection with one routing id gets nothing.

        `address` (of this process if empty) and `key` are what is reported where the endpoint has
        a domain.
        """
        if endpoint not in self._endpoints:
            raise BusError("unavailable", "nobody listens at this endpoint", where=endpoint)
        peer = MemoryPeer(self, identity, endpoint)
        domain = self._endpoints[endpoint]
        if not domain:
            self._join(peer)
            return peer
        token = os.urandom(TOKEN_BYTES)
        address = address or f"localhost:{os.getuid()}:{os.getgid()}:{os.getpid()}".encode()
        self._asked[token] = (self._clock() + VERDICT_S, peer)
        if not self._upcalls.offer(Upcall(CONNECTING, domain, address, token + key)):
            self.verdict(token, allowed=False)
        self._upcalls.tell()
        return peer

    def _join(self, peer: MemoryPeer) -> None:
        self._connections.setdefault(peer.identity, peer)
        self._egress.retry_absent()
        self.flush()

    def disconnect(self, peer: MemoryPeer) -> None:
        """Ends a connection."""
        if self._connections.get(peer.identity) is peer:
            del self._connections[peer.identity]

    def receive(self, peer: MemoryPeer, frames: tuple[bytes, ...]) -> None:
        """Takes one message from a connection."""
        if any(asked is peer for _, asked in self._asked.values()):
            peer.held.append(frames)
            return
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
        now = self._clock()
        for token in [token for token, (until, _) in self._asked.items() if until <= now]:
            self.verdict(token, allowed=False)
        self._switch.tick(now)
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
        return None if peer.deliver(header, body) else Refusal.BUSY


def _lent(body: bytes) -> int:
    return len(body) if len(body) >= wire.LARGE_BODY else 0
