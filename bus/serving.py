"""A peer's side of the protocol as a provider: calls to it, their credit, its past answers."""

from msgspec import UNSET

from . import wire
from .answers import Answers, CallId
from .asking import Say
from .bodies import encode_body
from .codec import NO_OPTIONS, Buffer, Heading, decode_as, encode, encode_header
from .errors import BusError, ProtocolError
from .heard import Called, CancelAsked, CreditGiven
from .messages import Progress


class Serving:
    """What is asked of us. `say` takes a message to send."""

    def __init__(self, say: Say, provides: tuple[str, ...]) -> None:
        self._say = say
        self._only = provides[0] if len(provides) == 1 else None  # what else could be meant
        self._meanings: dict[int, str] = {}
        self._running: dict[CallId, int | None] = {}  # credit; None: the caller takes no chunks
        self._answers = Answers()

    # -- what we say ------------------------------------------------------------------------

    def answer(self, flow: int | None, request: int, value: object, now: float) -> None:
        """Ends a call to us (or, without a flow, an activation) with a result.

        Raises BusError `wrong-output` for what cannot be sent; the call is then still open.
        """
        body = encode_body(value, "wrong-output")
        self._end(flow, request, wire.RESULT, body, now)

    def fail(self, flow: int | None, request: int, error: BusError, now: float) -> None:
        """Ends a call to us (or, without a flow, an activation) with an error."""
        body = encode(error.to_body())
        self._end(flow, request, wire.ERROR, body, now)

    def progress(self, flow: int, request: int, progress: Progress, now: float) -> None:
        """Reports how far a call to us is."""
        self._say(encode_header(wire.PROGRESS, flow, request), encode(progress), now)

    def chunk(self, flow: int, request: int, value: object, now: float) -> bool:
        """Sends the next part of an answer; False if there is no credit for it now.

        A caller that takes no chunks is sent none. Raises BusError `wrong-output` for what cannot
        be sent.
        """
        credit = self._running.get((flow, request))
        if credit is None:
            return True
        if credit == 0:
            return False
        body = encode_body(value, "wrong-output")
        self._running[flow, request] = credit - 1
        self._say(encode_header(wire.CHUNK, flow, request), body, now)
        return True

    def is_open(self, flow: int, request: int) -> bool:
        """Whether a call to us is still to be answered."""
        return (flow, request) in self._running

    def has_credit(self, flow: int, request: int) -> bool:
        """Whether a chunk can be sent now."""
        return self._running.get((flow, request)) != 0

    def _end(self, flow: int | None, request: int, kind: int, body: bytes, now: float) -> None:
        if flow is not None:
            self._running.pop((flow, request), None)
            self._answers.remember((flow, request), kind, body)
        self._say(encode_header(kind, flow, request), body, now)

    # -- what we hear -----------------------------------------------------------------------

    def called(self, head: Heading, body: Buffer, now: float) -> Called | None:
        """A call to us; None if it was made before and is answered once for both."""
        flow, request = head.target, head.request
        if not isinstance(flow, int):
            raise ProtocolError("a call to us names a flow", where="header")
        key = (flow, request)
        options = head.options or NO_OPTIONS
        if options.cap:
            self._meanings[flow] = options.cap
        if options.again:
            if key in self._running:
                return None
            answer = self._answers.recall(key)
            if answer is not None:
                kind, past = answer
                self._say(encode_header(kind, *key), past, now)
                return None
        stream = options.stream
        credit = None if stream is UNSET else min(stream, wire.MAX_CREDIT)
        self._answers.forget(key)
        self._running[key] = credit
        return Called(
            self._meanings.get(flow, self._only),
            head.method or wire.DEFAULT_METHOD,
            flow,
            request,
            body,
            now + head.ttl / 1000 if head.ttl else None,
            credit is not None,
            options.trace or None,
        )

    def cancelled(self, flow: int, request: int) -> CancelAsked | None:
        """The wish to end a call; None if it has ended."""
        return CancelAsked(flow, request) if (flow, request) in self._running else None

    def credited(self, head: Heading, flow: int, body: Buffer) -> CreditGiven | None:
        """More credit for a stream; None if it has ended."""
        key = (flow, head.request)
        credit = self._running.get(key)
        if credit is None:
            return None
        more = decode_as(body, int)
        if more < 1:
            raise ProtocolError("credit is at least 1", where="body")
        self._running[key] = min(credit + more, wire.MAX_CREDIT)
        return CreditGiven(flow, head.request)

    def lose_streams(self) -> tuple[CancelAsked, ...]:
        """The streams that ended with the old hub: chunks may have been lost with it."""
        return tuple(
            CancelAsked(flow, request)
            for (flow, request), credit in self._running.items()
            if flow is not None and credit is not None
        )
