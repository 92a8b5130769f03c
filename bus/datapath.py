"""The datapath's interface: a small switch that matches and forwards, told what to do by commands.

Only plain values cross it (text, bytes, integers), so that it can be implemented in another
language: names of peers, routing ids, encoded headers and bodies. Commands may be given from any
thread and take effect in the order given. The datapath calls nothing of the control plane but
`wake`, from any of its threads, when the queue of upcalls stops being empty; `wake` must be quick
and must not raise.
"""

from collections import Counter
from collections.abc import Callable
from threading import Lock
from typing import Final, NamedTuple, Protocol

KERNEL: Final = ""  # the name of the kernel, a peer of its own that has no connection

# What an upcall reports.
MESSAGE: Final = "message"  # from a peer, for the control plane to decide; see `Upcall`
DELIVERY: Final = "delivery"  # addressed to the kernel: a call to it or an answer for it
SILENT: Final = "silent"  # nothing was heard of this peer for the whole window
ENDED: Final = "ended"  # the datapath itself, by a bug of ours; the body is the report, UTF-8
VIOLATION: Final = "violation"  # this peer sent a message of more than `wire.MAX_FRAMES` frames

MAX_UPCALLS_PER_PEER: Final = 1_024
MAX_UPCALLS: Final = 16_384


class Flow(NamedTuple):
    """One entry of the flow table: messages of `caller` with this number go to `provider`."""

    number: int
    caller: str
    provider: str
    generation: int


class Upcall(NamedTuple):
    """Something for the control plane. `peer` is who sent the message, fell silent or is at fault.

    The header of a message decodes, with one exception: a peer that is not open may say hello in
    another version (`codec.is_foreign_hello`). SILENT and VIOLATION have neither header nor body.
    ENDED is the last upcall; nothing is forwarded any more and commands have no effect.
    After VIOLATION the peer's routing id is nobody's; the peer itself is known until expelled.
    """

    event: str
    peer: str
    header: bytes
    body: bytes


class Datapath(Protocol):
    """Matches and forwards; see `PROTOCOL.md` for what a peer may expect of it.

    A peer is *admitted* with a secret routing id, may say hello, and is *opened* once it was
    welcomed; only then is anything else that it sends looked at.
    """

    def start(self, wake: Callable[[], None], *, heartbeat_ms: int, liveness: int) -> None:
        """Starts to serve; returns when it does."""

    def close(self) -> None:
        """Stops and releases every endpoint; idempotent, bounded in time."""

    def bind(self, endpoint: str) -> None:
        """Listens at `endpoint` on return, and every command given before is in effect; raises
        BusError `io` if it cannot."""

    def unbind(self, endpoint: str) -> None:
        """Stops listening there and cuts the connections that came in through it."""

    def admit(self, peer: str, identity: bytes, *, console: bool = False) -> None:
        """Lets the holder of the routing id in as `peer`; for a console, every 32-byte routing
        id that begins with `identity`, each as a peer of its own named `peer/N`."""

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

    def inject(self, peer: str, header: bytes, body: bytes) -> None:
        """Handles a message as if `peer` had just sent it: a call that was an upcall, or the
        kernel's own messages."""

    def poll(self) -> list[Upcall]:
        """Takes all waiting upcalls, oldest first; never blocks."""

    def counters(self) -> dict[str, int]:
        """What was forwarded and what was dropped, by reason; since the start."""


class UpcallQueue:
    """The bounded way from a datapath to the control plane, safe between two threads."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._told = False
        self._lock = Lock()
        self._waiting: list[Upcall] = []
        self._by_peer: Counter[str] = Counter()

    def offer(self, upcall: Upcall, *, bounded: bool = True) -> bool:
        """Adds one; False if it is bounded and its peer, or all together, have too many."""
        with self._lock:
            full = (
                self._by_peer[upcall.peer] >= MAX_UPCALLS_PER_PEER
                or len(self._waiting) >= MAX_UPCALLS
            )
            if bounded and full:
                return False
            self._by_peer[upcall.peer] += 1
            self._waiting.append(upcall)
            return True

    def tell(self) -> None:
        """Wakes the control plane, once for all that it has not taken yet."""
        if self._waiting and not self._told:
            self._told = True
            self._wake()

    def take(self) -> list[Upcall]:
        """Empties the queue."""
        with self._lock:
            self._told = False
            taken, self._waiting = self._waiting, []
            self._by_peer.clear()
            return taken
