"""The datapath's interface: a small switch that matches and forwards, told what to do by commands.

Only plain values cross it (text, bytes, integers), so that it can be implemented in another
language: names of peers, routing ids, encoded headers and bodies. Commands may be given from any
thread and take effect in the order given. The datapath calls nothing of the control plane but
`wake`, from any of its threads, when the queue of upcalls stops being empty; `wake` must be quick
and must not raise. An event loop gives its `Bell`, which can be rung without the interpreter.
"""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final, NamedTuple, Protocol

KERNEL: Final = ""  # the name of the kernel, a peer of its own that has no connection

# What an upcall reports.
MESSAGE: Final = "message"  # from a peer, for the control plane to decide; see `Upcall`
DELIVERY: Final = "delivery"  # for the kernel: a call to it or an answer; from `peer`
CONSOLE: Final = "console"  # a console was heard for the first time; `body` is its routing id
SILENT: Final = "silent"  # nothing was heard of this peer for the whole window
OVERDUE: Final = "overdue"  # it owes the answer to a cancelled call for longer than the grace
UNDELIVERED: Final = "undelivered"  # a call or event to this peer that had to be given up
CONNECTING: Final = "connecting"  # somebody connects; wants a `verdict`
HANDSHAKE: Final = "handshake"  # so many (`header`) did not come to speak CURVE where it must be
FAILED: Final = "failed"  # the datapath itself ended; `header` says why
VIOLATION: Final = "violation"  # this peer sent a message of more than `wire.MAX_FRAMES` frames

ALL: Final = 2**32 - 1  # more upcalls than ever wait

MAX_UPCALLS_PER_PEER: Final = 1_024
MAX_UPCALLS: Final = 16_384
MAX_UPCALL_BYTES_PER_PEER: Final = 8 * 1024 * 1024  # once there are so many, no more is taken
MAX_UPCALL_BYTES: Final = 64 * 1024 * 1024


class Flow(NamedTuple):
    """One entry of the flow table: messages of `caller` with this number go to `provider`.

    `safe`: the contract lets a call be repeated, and errors of the switch then say so. `credit`:
    calls open at once, 0 for as many as the caller may have. `rate`: calls per second, 0 for any
    number, with `burst` at once. A call that is repeated (`again`) and not open is an upcall: the
    control plane knows whom it may have reached, and has those that were sent before it.
    """

    number: int
    caller: str
    provider: str
    generation: int
    safe: bool = False
    credit: int = 0
    rate: float = 0.0
    burst: int = 1


class Upcall(NamedTuple):
    """Something for the control plane. `peer` is who sent the message, fell silent or is at fault.

    The header of a message decodes, with one exception: a peer that is not open may say hello in
    another version (`codec.is_foreign_hello`). SILENT and VIOLATION have neither header nor body.
    FAILED is the last upcall of the datapath's own; nothing is forwarded any more and commands have
    no effect, but peers may have had more to say before.
    After VIOLATION the peer's routing id is nobody's; the peer itself is known until expelled.

    For `handshake`, `peer` is the domain and `header` their number in ASCII, at most one upcall a
    tick. For `connecting`, `peer` is the domain that its endpoint was bound with, `header` where it
    comes from (over ipc it ends in `:UID:GID:PID`) and `body` eight bytes that stand for the
    connection, followed by its public CURVE key if it has one.
    """

    event: str
    peer: str
    header: bytes
    body: bytes


LATENCY_BUCKETS: Final = 28


class FlowStats(NamedTuple):
    """What one flow has carried since it was first installed.

    `latency[i]` counts the answers that took less than 2^i microseconds and not less than half of
    that; the last one also counts all that took longer.
    """

    number: int
    calls: int
    results: int
    errors: int
    shed: int
    open: int
    latency: tuple[int, ...]


class PeerStats(NamedTuple):
    """What waits for one peer: messages, their bytes, calls it has open, answers it owes."""

    peer: str
    queued: int
    queued_bytes: int
    open_calls: int
    owed: int


class Datapath(Protocol):
    """Matches and forwards; see `PROTOCOL.md` for what a peer may expect of it.

    A peer is *admitted* with a secret routing id, may say hello, and is *opened* once it was
    welcomed; only then is anything else that it sends looked at.
    """

    def start(
        self, wake: Callable[[], None], *, heartbeat_ms: int, liveness: int, grace_ms: int
    ) -> None:
        """Starts to serve; returns when it does."""

    def close(self) -> None:
        """Stops and releases every endpoint; idempotent, bounded in time."""

    def bind(self, endpoint: str, *, domain: str = "", curve: bytes = b"", fd: int = -1) -> None:
        """Listens at `endpoint` on return, and every command given before is in effect; raises
        BusError `io` if it cannot.

        With a `domain`, whoever connects waits for a verdict; with `curve`, the hub's secret key
        (32 bytes), only CURVE is spoken there. `fd` is a socket that listens there already: it is
        duplicated, and its owner's to close and to unlink.
        """

    def unbind(self, endpoint: str) -> None:
        """Stops listening there and cuts the connections that came in through it."""

    def verdict(self, token: bytes, allowed: bool) -> None:
        """Decides about a connection that was reported with this token, the first eight bytes of
        the upcall's body. One that is never decided is refused in the end."""

    def admit(self, peer: str, identity: bytes, *, console: bool = False) -> None:
        """Lets the holder of the routing id in as `peer`; for a console, every 32-byte routing
        id that begins with `identity`, each as a peer of its own named `peer/N`, where no other
        has this name."""

    def open(self, peer: str) -> None:
        """Lets an admitted peer send more than hello."""

    def expel(self, peer: str) -> None:
        """Forgets a peer, with its flows: calls to it end as `crashed`, its own are cancelled."""

    def install(self, flow: Flow) -> None:
        """Adds a flow or gives its number a new provider."""

    def revoke(self, generation: int) -> None:
        """Makes every flow older than `generation` an upcall again; open calls stay open."""

    def send(self, peer: str, header: bytes, body: bytes) -> None:
        """Sends a message of the hub itself to a peer; to an unknown one it is dropped."""

    def event(self, peers: Sequence[str], header: bytes, body: bytes) -> None:
        """Sends an event to each of these peers that keeps up; the others get a `gap` later."""

    def inject(self, peer: str, header: bytes, body: bytes) -> None:
        """Handles a message as if `peer` had just sent it: a call that was an upcall, or the
        kernel's own messages."""

    def poll(self, limit: int = ALL) -> list[Upcall]:
        """Takes up to `limit` waiting upcalls, one of each peer in turn, those of one peer in the
        order in which they came; never blocks. Who got as many polls again: `wake` tells only of
        the first after none."""

    def counters(self) -> dict[str, int]:
        """What was forwarded and what was dropped, by reason; since the start."""

    def flows(self) -> list[FlowStats]:
        """The installed flows' figures, by number."""

    def peers(self) -> list[PeerStats]:
        """The admitted peers' figures, by name."""


class _Line:
    """What one peer has waiting, oldest first; `number` and `bytes` are of what is bounded."""

    def __init__(self) -> None:
        self.upcalls: deque[tuple[Upcall, bool]] = deque()
        self.number = 0
        self.bytes = 0

    def is_full(self) -> bool:
        return self.number >= MAX_UPCALLS_PER_PEER or self.bytes >= MAX_UPCALL_BYTES_PER_PEER


class UpcallQueue:
    """The bounded way from a datapath to the control plane, safe between two threads.

    Peers are heard in turn, each in its own order, so that one that says much keeps the others
    waiting for one message.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._told = False
        self._lock = Lock()
        self._lines: dict[str, _Line] = {}  # of the peers that have some
        self._turns: deque[str] = deque()  # the same peers, in the order of their turns
        self._upcalls = 0
        self._bytes = 0

    def offer(self, upcall: Upcall, *, bounded: bool = True) -> bool:
        """Adds one; False if it is bounded and its peer, or all together, have too many, or so
        many bytes."""
        peer = upcall.peer
        size = len(upcall.header) + len(upcall.body)
        with self._lock:
            line = self._lines.get(peer)
            if bounded and self._is_full(line):
                return False
            if line is None:
                line = self._lines[peer] = _Line()
                self._turns.append(peer)
            line.upcalls.append((upcall, bounded))
            if bounded:
                line.number += 1
                line.bytes += size
            self._upcalls += 1
            self._bytes += size
            return True

    def tell(self) -> None:
        """Wakes the control plane, once until it has taken all."""
        if self._upcalls and not self._told:
            self._told = True
            self._wake()

    def take(self, limit: int) -> list[Upcall]:
        """Takes no more than `limit`, one of each peer in turn."""
        taken: list[Upcall] = []
        with self._lock:
            lines, turns = self._lines, self._turns
            for _ in range(min(limit, self._upcalls)):
                peer = turns.popleft()
                line = lines[peer]
                upcall, bounded = line.upcalls.popleft()
                size = len(upcall.header) + len(upcall.body)
                if bounded:
                    line.number -= 1
                    line.bytes -= size
                self._bytes -= size
                if line.upcalls:
                    turns.append(peer)
                else:
                    del lines[peer]
                taken.append(upcall)
            self._upcalls -= len(taken)
            if not self._upcalls:
                self._told = False
        return taken

    def _is_full(self, line: _Line | None) -> bool:
        return (
            self._upcalls >= MAX_UPCALLS
            or self._bytes >= MAX_UPCALL_BYTES
            or (line is not None and line.is_full())
        )
