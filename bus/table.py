"""What the switch remembers: peers, flows with what they have carried, open calls."""

from collections import deque
from math import ceil, inf
from typing import Final

from msgspec import Struct

from . import wire
from .codec import Header
from .datapath import LATENCY_BUCKETS, Flow, FlowStats, PeerStats
from .gaps import Gaps

Target = int | str | None  # of a message

_BITS: Final = 64  # of a time in microseconds
_LAST: Final = LATENCY_BUCKETS - 1


class Peer:
    """One admitted routing id."""

    __slots__ = (
        "gaps",
        "heard",
        "identity",
        "name",
        "open_calls",
        "opened",
        "owed",
        "queue",
        "queued_bytes",
        "told",
    )

    def __init__(self, name: str, identity: bytes, now: float) -> None:
        self.name = name
        self.identity = identity
        self.heard = now
        self.opened = False
        self.told = False  # the control plane knows of its silence
        self.open_calls: dict[int, OpenCall] = {}  # as a caller, by request number
        self.owed: dict[tuple[Target, int], OpenCall] = {}  # as a provider, by flow and request
        self.gaps = Gaps()
        self.queue: deque[tuple[bytes, bytes]] = deque()  # what the transport would not take yet
        self.queued_bytes = 0

    @property
    def is_console(self) -> bool:
        """Whether it came by itself, and goes when it is not heard of, welcomed or not."""
        return len(self.identity) == wire.CONSOLE_IDENTITY_BYTES

    def stats(self) -> PeerStats:
        """Its figures now."""
        return PeerStats(
            self.name, len(self.queue), self.queued_bytes, len(self.open_calls), len(self.owed)
        )


class Route:
    """A flow of one caller: where it leads, what it may carry, what it has carried.

    The figures and the bucket of tokens outlast a change of the provider or of the limits.
    """

    __slots__ = (
        "_filled",
        "_tokens",
        "burst",
        "caller",
        "calls",
        "credit",
        "errors",
        "generation",
        "latency",
        "limited",
        "number",
        "open",
        "provider",
        "rate",
        "results",
        "safe",
        "shed",
    )

    def __init__(self, number: int, caller: Peer) -> None:
        self.number = number
        self.caller = caller
        self.provider: Peer | None = None
        self.calls = self.results = self.errors = self.shed = self.open = 0
        self.latency = [0] * (_BITS + 1)  # by the bits of the time in whole microseconds
        self._tokens = inf  # the first call finds the bucket full
        self._filled = 0.0

    def install(self, flow: Flow, provider: Peer) -> None:
        """Leads to this provider, within these limits."""
        self.provider = provider
        self.generation = flow.generation
        self.safe = flow.safe
        self.credit = flow.credit
        self.rate = flow.rate
        self.burst = flow.burst
        self.limited = flow.credit > 0 or flow.rate > 0

    def take_token(self, now: float) -> int:
        """0 if the rate allows a call now, else the milliseconds until it does."""
        tokens = min(float(self.burst), self._tokens + (now - self._filled) * self.rate)
        self._filled = now
        if tokens < 1.0:
            self._tokens = tokens
            wait_ms = (1.0 - tokens) / self.rate * 1000.0
            return ceil(wait_ms) if wait_ms < wire.MAX_RETRY_MS else wire.MAX_RETRY_MS
        self._tokens = tokens - 1.0
        return 0

    def stats(self) -> FlowStats:
        """Its figures now."""
        latency = (*self.latency[:_LAST], sum(self.latency[_LAST:]))
        return FlowStats(
            self.number, self.calls, self.results, self.errors, self.shed, self.open, latency
        )


class OpenCall(Struct, eq=False):
    """A call that was forwarded and is not answered; a struct because it is made in half the time
    of a plain object."""

    route: Route
    provider: Peer
    sent: float
    credit: int | None  # chunks that the provider may still send; None: not a stream
    owed_until: float = 0.0  # set once the provider was told to end it


Routes = dict[Target, Route]


def find_call(routes: Routes, provider: Peer, head: Header) -> OpenCall | None:
    """The open call that a message to or from its provider is about."""
    route = routes.get(head.target)
    if route is None:
        return None
    call = route.caller.open_calls.get(head.request)
    return call if call and call.provider is provider and call.route is route else None
