"""A peer's side of the protocol as a caller: its open calls, streams, flows and subscriptions."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from . import wire
from .bodies import encode_body
from .codec import (
    NO_OPTIONS,
    Buffer,
    Heading,
    decode,
    decode_as,
    encode,
    encode_header,
)
from .errors import BusError, ProtocolError
from .heard import Answered, Chunked, Event, Progressed
from .messages import Progress
from .names import check_topic
from .readable import require_readable, surely_readable
from .unsent import Unsent

Say = Callable[[bytes, bytes, float], None]  # header, body, now

_BROKEN: Final = "the stream broke off when the hub started anew"


class Open(Struct):
    """A call or subscription that is not answered yet, with all it takes to repeat it."""

    capability: str  # or the topic
    method: str | None
    body: bytes
    deadline: float | None
    options: Mapping[str, object] | None
    type: Any = Any
    chunk_type: Any = Any
    streaming: bool = False
    subscribing: bool = False
    cancelled: bool = False


class Asking:
    """What we ask for. `say` takes a message to send; while too much is `unsent`, nothing is
    published. Calls are bounded by their number."""

    def __init__(self, say: Say, unsent: Unsent) -> None:
        self._say = say
        self._unsent = unsent
        self._last_request = 0
        self._open: dict[int, Open] = {}
        self._flows: dict[str, int] = {}
        self._topics: set[str] = set()

    def call(
        self,
        capability: str,
        method: str | None,
        args: Mapping[str, object],
        ttl_ms: int,
        now: float,
        *,
        options: Mapping[str, object] | None = None,
        type: Any = Any,  # noqa: A002 - as the clients name it
        chunk_type: Any = Any,
    ) -> int:
        """Opens a call, with the option `stream` a streaming one; returns its request number.

        The result is read as `type`, chunks as `chunk_type`. Raises BusError for what cannot be
        sent.
        """
        streaming = options is not None and wire.STREAM_OPTION in options
        if options is not None and streaming:
            _require_credit(options[wire.STREAM_OPTION])
        body = encode_body(args)
        open_call = Open(
            capability,
            method,
            body,
            now + ttl_ms / 1000 if ttl_ms else None,
            options,
            type,
            chunk_type,
            streaming,
        )
        request = self._next_request()
        flow = self._flows.get(capability)
        target = capability if flow is None else flow
        header = encode_header(wire.CALL, target, request, ttl_ms, method, options)
        if flow is None or not surely_readable(method, options):
            require_readable(header)
        self._say(header, body, now)
        self._open[request] = open_call
        return request

    def subscribe(self, topic: str, now: float, *, begin: bool = True) -> int:
        """Asks for a topic's events, or for no more of them; returns the request number.

        Raises BusError `bad-request` for what is no topic.
        """
        check_topic(topic)
        request = self._next_request()
        body = encode(begin)
        self._say(encode_header(wire.SUBSCRIBE, topic, request), body, now)
        self._open[request] = Open(topic, None, body, None, None, subscribing=True)
        if begin:
            self._topics.add(topic)
        else:
            self._topics.discard(topic)
        return request

    def credit(self, request: int, chunks: int, now: float) -> None:
        """Lets the provider of an open stream send so many more chunks."""
        open_call = self._open.get(request)
        if open_call is not None:
            header = encode_header(wire.CREDIT, self._target(open_call), request)
            self._say(header, encode(chunks), now)

    def cancel(self, request: int, now: float) -> None:
        """Asks for the end of an open call; its answer still comes."""
        open_call = self._open.get(request)
        if open_call is not None and not open_call.subscribing and not open_call.cancelled:
            open_call.cancelled = True
            self._say(encode_header(wire.CANCEL, self._target(open_call), request), b"", now)

    def abandon(self, request: int, now: float) -> None:
        """As `cancel`, but the answer is of no more interest."""
        self.cancel(request, now)
        self._open.pop(request, None)

    def publish(self, topic: str, value: object, now: float, *, keep: bool = False) -> None:
        """Publishes an event; the hub keeps it for late subscribers if it is to `keep`.

        Raises BusError `bad-request` for what is no topic or cannot be sent, `overloaded` if too
        much waits to be sent.
        """
        check_topic(topic)
        self._unsent.require_room()
        options = {wire.KEEP_OPTION: True} if keep else None
        header = encode_header(wire.EVENT, topic, options=options)
        self._say(header, encode_body(value), now)

    # -- what we hear -----------------------------------------------------------------------

    def answered(self, head: Heading, body: Buffer) -> Answered:
        """The end of an open call. Raises ProtocolError if there is no such call."""
        open_call = self._open.pop(head.request, None)
        if open_call is None:
            raise ProtocolError("an answer to no open call", where="request")
        try:
            if head.kind == wire.ERROR:
                error = BusError.from_body(decode(body))
                if open_call.subscribing:
                    self._topics.discard(open_call.capability)
                return Answered(head.request, error=error)
            if isinstance(head.target, int):
                self._flows[open_call.capability] = head.target
            kind = open_call.type
            return Answered(head.request, decode(body) if kind is Any else decode_as(body, kind))
        except ProtocolError as error:
            return Answered(head.request, error=_unreadable(error, open_call.type))

    def progressed(self, head: Heading, body: Buffer) -> Progressed | None:
        """Progress of an open call."""
        return (
            Progressed(head.request, decode_as(body, Progress))
            if head.request in self._open
            else None
        )

    def chunked(self, head: Heading, body: Buffer, now: float) -> Chunked | Answered | None:
        """The next part of an open stream; one that cannot be read ends the stream."""
        open_call = self._open.get(head.request)
        if open_call is None:
            return None  # it was abandoned
        if isinstance(head.target, int):
            self._flows[open_call.capability] = head.target
        try:
            return Chunked(head.request, _read(body, open_call.chunk_type))
        except ProtocolError as error:
            self.abandon(head.request, now)
            return Answered(head.request, error=_unreadable(error, open_call.chunk_type))

    def event(self, head: Heading, topic: str, body: Buffer) -> Event | None:
        """An event of a topic that we have subscribed to."""
        if topic not in self._topics:
            return None
        options = head.options or NO_OPTIONS
        snapshot = bool(options.snapshot)
        return Event(topic, decode(body), head.request, options.gap or 0, snapshot)

    # -- a hub that starts anew ---------------------------------------------------------------

    def repeat(self, now: float) -> tuple[Answered, ...]:
        """Asks again for all that is open; returns the ends of what cannot go on.

        A stream cannot: chunks may have been lost with the old hub.
        """
        ended = []
        for request, open_call in list(self._open.items()):
            if open_call.subscribing:
                header = encode_header(wire.SUBSCRIBE, open_call.capability, request)
                self._say(header, open_call.body, now)
            elif open_call.cancelled or open_call.streaming:
                ended.append(Answered(request, error=_broken_off(open_call)))
                self.abandon(request, now)
            else:
                self._call_again(request, open_call, now)
        asked = {entry.capability for entry in self._open.values() if entry.subscribing}
        for topic in sorted(self._topics - asked):
            self.subscribe(topic, now)
        return tuple(ended)

    def _call_again(self, request: int, open_call: Open, now: float) -> None:
        ttl_ms = 0
        if open_call.deadline is not None:
            ttl_ms = max(1, int((open_call.deadline - now) * 1000))
        options = {**(open_call.options or {}), wire.AGAIN_OPTION: True}
        target = self._target(open_call)
        header = encode_header(wire.CALL, target, request, ttl_ms, open_call.method, options)
        self._say(header, open_call.body, now)

    def _target(self, open_call: Open) -> int | str:
        return self._flows.get(open_call.capability, open_call.capability)

    def _next_request(self) -> int:
        if len(self._open) >= wire.MAX_OPEN_CALLS:
            raise BusError(
                "overloaded", "too many open calls", retry_after_ms=wire.RETRY_MS, repeatable=True
            )
        self._last_request = self._last_request % wire.MAX_REQUEST + 1
        return self._last_request


def _require_credit(credit: object) -> None:
    """Raises BusError for a credit with which no chunk, or none of the bus, would ever come."""
    if type(credit) is not int or not 1 <= credit <= wire.MAX_CREDIT:
        raise BusError("bad-request", f"credit is 1 to {wire.MAX_CREDIT:,}", where="credit")


def _read(body: Buffer, kind: Any) -> Any:
    return decode(body) if kind is Any else decode_as(body, kind)


def _unreadable(error: ProtocolError, kind: Any) -> BusError:
    if kind is Any:
        return error
    return BusError("wrong-output", error.message, where=error.where)


def _broken_off(open_call: Open) -> BusError:
    if open_call.cancelled:
        return BusError("cancelled", "the call was cancelled")
    return BusError("unavailable", _BROKEN, fault="kernel", help="call again")
