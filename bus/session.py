"""A peer's side of the protocol, without a socket or a clock.

Messages and the time go in; messages to send (`out`) and events come out. The clients, the
extension SDK and the fake differ only in how they move the bytes.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from . import wire
from .codec import Header, decode, decode_as, decode_header, encode, encode_header
from .errors import BusError, ProtocolError
from .liveness import Watch
from .messages import Activate, Bye, Hello, Progress, Unload, Welcome

SDK: Final = "symphony-python/0.1.0"


@dataclass(frozen=True)
class Welcomed:
    """The hub let us in."""

    welcome: Welcome


@dataclass(frozen=True)
class Called:
    """A call to us. `deadline` is in seconds of the session's clock, None without one."""

    capability: str | None
    method: str
    flow: int
    request: int
    body: bytes
    deadline: float | None


@dataclass(frozen=True)
class CancelAsked:
    """The caller no longer wants the answer to this call."""

    flow: int
    request: int


@dataclass(frozen=True)
class Answered:
    """The end of a call of ours: `error` or else `value`."""

    request: int
    value: Any = None
    error: BusError | None = None


@dataclass(frozen=True)
class Progressed:
    """A call of ours goes on."""

    request: int
    progress: Progress


@dataclass(frozen=True)
class Published:
    """An event of a topic that we subscribe to."""

    topic: str
    body: bytes


@dataclass(frozen=True)
class Activated:
    """Configuration and parameters; to be answered."""

    request: int
    message: Activate


@dataclass(frozen=True)
class UnloadAsked:
    """We are to end within `grace_ms`."""

    grace_ms: int


@dataclass(frozen=True)
class Dismissed:
    """The hub said bye."""

    reason: str


Event = (
    Welcomed
    | Called
    | CancelAsked
    | Answered
    | Progressed
    | Published
    | Activated
    | UnloadAsked
    | Dismissed
)


@dataclass
class Session:
    """One peer's state. Times are seconds of one monotonic clock."""

    now: float
    provides: tuple[str, ...] = ()
    out: list[tuple[bytes, bytes]] = field(default_factory=list)
    dropped: int = 0
    welcome: Welcome | None = None

    def __post_init__(self) -> None:
        self._heard = self._sent = self._beaten = self.now
        self._watch = Watch(wire.HEARTBEAT_MS / 1000, wire.LIVENESS, self.now)
        self._last_request = 0
        self._open: dict[int, str] = {}  # request -> capability
        self._flows: dict[str, int] = {}  # as a caller
        self._meanings: dict[int, str] = {}  # as a provider
        hello = Hello(wire.VERSION, SDK, os.getpid(), list(self.provides))
        self._say(encode_header(wire.HELLO), encode(hello), self.now)

    # -- what we say ------------------------------------------------------------------------

    def call(
        self,
        capability: str,
        method: str | None,
        args: Mapping[str, object],
        ttl_ms: int,
        now: float,
        options: Mapping[str, object] | None = None,
    ) -> int:
        """Opens a call; returns its request number. Raises BusError for what cannot be sent."""
        body = encode_body(dict(args))
        if len(self._open) >= wire.MAX_OPEN_CALLS:
            raise BusError("overloaded", "too many open calls", retry_after_ms=50)
        self._last_request = request = self._last_request % wire.MAX_REQUEST + 1
        target = self._flows.get(capability, capability)
        header = encode_header(wire.CALL, target, request, ttl_ms, method, options)
        try:
            decode_header(header)  # the hub drops what it cannot read, and nobody would answer
        except ProtocolError as error:
            raise BusError("bad-request", error.message, where="header") from None
        self._say(header, body, now)
        self._open[request] = capability
        return request

    def cancel(self, request: int, now: float) -> None:
        """Asks for the end of an open call; its answer still comes."""
        capability = self._open.get(request)
        if capability is not None:
            target = self._flows.get(capability, capability)
            self._say(encode_header(wire.CANCEL, target, request), b"", now)

    def answer(self, flow: int | None, request: int, value: object, now: float) -> None:
        """Ends a call to us (or, without a flow, an activation) with a result.

        Raises BusError `wrong-output` for what cannot be sent; the call is then still open.
        """
        body = encode_body(value, "wrong-output")
        self._say(encode_header(wire.RESULT, flow, request), body, now)

    def fail(self, flow: int | None, request: int, error: BusError, now: float) -> None:
        """Ends a call to us (or, without a flow, an activation) with an error."""
        self._say(encode_header(wire.ERROR, flow, request), encode(error.to_body()), now)

    def progress(self, flow: int, request: int, progress: Progress, now: float) -> None:
        """Reports how far a call to us is."""
        self._say(encode_header(wire.PROGRESS, flow, request), encode(progress), now)

    def publish(self, topic: str, value: object, now: float) -> None:
        """Publishes an event."""
        self._say(encode_header(wire.EVENT, topic), encode_body(value), now)

    def bye(self, reason: str, now: float) -> None:
        """Says that we leave."""
        self._say(encode_header(wire.BYE), encode(Bye(reason)), now)

    # -- time -------------------------------------------------------------------------------

    @property
    def heartbeat_s(self) -> float:
        """How long this peer may be silent."""
        return self._watch.heartbeat_s

    def tick(self, now: float, *, may_beat: bool = True) -> bool:
        """Sends a heartbeat if one is due; False if the hub is dead."""
        if may_beat and self._watch.beat_due(
            sent=self._sent, heard=self._heard, beaten=self._beaten, now=now
        ):
            self._beaten = now
            self._say(encode_header(wire.HEARTBEAT), b"", now)
        return self._heard >= self._watch.horizon(now)

    # -- what we hear -----------------------------------------------------------------------

    def receive(self, header: bytes, body: bytes, now: float) -> Event | None:
        """Handles one message; what breaks the protocol is dropped and counted."""
        self._heard = now
        try:
            return self._handle(decode_header(header), body, now)
        except ProtocolError:
            self.dropped += 1
            return None

    def lost(self) -> list[int]:
        """Forgets all open calls, which will never be answered; returns their numbers."""
        requests = list(self._open)
        self._open.clear()
        return requests

    def _handle(self, head: Header, body: bytes, now: float) -> Event | None:
        kind, target = head.kind, head.target
        if kind in (wire.RESULT, wire.ERROR):
            return self._answered(head, body)
        if kind == wire.CALL and isinstance(target, int):
            return self._called(head, target, body, now)
        if kind == wire.PROGRESS:
            if head.request in self._open:
                return Progressed(head.request, decode_as(body, Progress))
        elif kind == wire.CANCEL and isinstance(target, int):
            return CancelAsked(target, head.request)
        elif kind == wire.EVENT and isinstance(target, str):
            return Published(target, body)
        elif kind == wire.WELCOME:
            self.welcome = decode_as(body, Welcome)
            heartbeat_s = self.welcome.heartbeat_ms / 1000
            self._watch = Watch(heartbeat_s, self.welcome.liveness, now)
            return Welcomed(self.welcome)
        elif kind == wire.ACTIVATE:
            return Activated(head.request, decode_as(body, Activate))
        elif kind == wire.UNLOAD:
            return UnloadAsked(decode_as(body, Unload).grace_ms)
        elif kind == wire.BYE:
            return Dismissed(decode_as(body, Bye).reason)
        elif kind != wire.HEARTBEAT:
            self.dropped += 1
        return None

    def _called(self, head: Header, flow: int, body: bytes, now: float) -> Called:
        meaning = (head.options or {}).get(wire.CAPABILITY_OPTION)
        if isinstance(meaning, str):
            self._meanings[flow] = meaning
        capability = self._meanings.get(flow)
        if capability is None and len(self.provides) == 1:
            capability = self.provides[0]
        deadline = now + head.ttl / 1000 if head.ttl else None
        method = head.method or wire.DEFAULT_METHOD
        return Called(capability, method, flow, head.request, body, deadline)

    def _answered(self, head: Header, body: bytes) -> Answered | None:
        capability = self._open.pop(head.request, None)
        if capability is None:
            self.dropped += 1
            return None
        try:
            value = decode(body)
        except ProtocolError as error:
            return Answered(head.request, error=error)
        if head.kind == wire.ERROR:
            return Answered(head.request, error=BusError.from_body(value))
        if isinstance(head.target, int):
            self._flows[capability] = head.target
        return Answered(head.request, value=value)

    def _say(self, header: bytes, body: bytes, now: float) -> None:
        if len(header) > wire.MAX_HEADER:
            raise BusError("bad-request", "the header is too long", where="header")
        self._sent = now
        self.out.append((header, body))


def encode_body(value: object, code: str = "bad-request") -> bytes:
    """One body within the limits; raises BusError `code` for what cannot be sent."""
    try:
        body = encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BusError(code, f"the value cannot be sent: {error}") from None
    if len(body) > wire.MAX_BODY:
        raise BusError(
            code,
            f"the body has {len(body)} bytes, more than {wire.MAX_BODY}",
            help="pass large data as a file",
        )
    return body
