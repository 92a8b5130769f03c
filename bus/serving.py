"""A peer's side of the protocol as a provider: calls to it, their credit, its past answers."""

from typing import Any

from msgspec import Struct

from . import wire
from .answers import Answers, CallId
from .asking import Say
from .bodies import encode_body
from .codec import Buffer, Header, decode_as, encode, encode_header
from .errors import BusError, ProtocolError
from .heard import Called, CancelAsked, CreditGiven
from .messages import Progress


class Running(Struct):
    """A call to us that is not answered yet; `credit` is None if its caller takes no chunks."""

    credit: int | None


class Serving:
    """What is asked of us. `say` takes a message to send."""

    def __init__(self, say: Say, provides: tuple[str, ...]) -> None:
        self._say = say
        self._provides = provides
        self._meanings: dict[int, str] = {}
        self._running: dict[CallId, Running] = {}
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
        running = self._running.get((flow, request))
        if running is None or running.credit is None:
            return True
        if running.credit == 0:
            return False
        body = encode_body(value, "wrong-output")
        running.credit -= 1
        self._say(encode_header(wire.CHUNK, flow, request), body, now)
        return True

    def has_credit(self, flow: int, request: int) -> bool:
        """Whether a chunk can be sent now."""
        running = self._running.get((flow, request))
        return running is None or running.credit != 0

    def _end(self, flow: int | None, request: int, kind: int, body: bytes, now: float) -> None:
        if flow is not None:
            self._running.pop((flow, request), None)
            self._answers.remember((flow, request), kind, body)
        self._say(encode_header(kind, flow, request), body, now)

    # -- what we hear -----------------------------------------------------------------------

    def called(self, head: Header, flow: int, body: Buffer, now: float) -> Called | None:
        """A call to us; None if it was made before and is answered once for both."""
        key = (flow, head.request)
        options = head.options or {}
        meaning = options.get(wire.CAPABILITY_OPTION)
        if isinstance(meaning, str):
            self._meanings[flow] = meaning
        if options.get(wire.AGAIN_OPTION) is True:
            if key in self._running:
                return None
            answer = self._answers.recall(key)
            if answer is not None:
                kind, past = answer
                self._say(encode_header(kind, *key), past, now)
                return None
        credit = _credit(options.get(wire.STREAM_OPTION))
        self._answers.forget(key)
        self._running[key] = Running(credit)
        trace = options.get(wire.TRACE_OPTION)
        return Called(
            self._capability(flow),
            head.method or wire.DEFAULT_METHOD,
            flow,
            head.request,
            body,
            now + head.ttl / 1000 if head.ttl else None,
            credit is not None,
            trace if isinstance(trace, str) else None,
        )

    def cancelled(self, flow: int, request: int) -> CancelAsked | None:
        """The wish to end a call; None if it has ended."""
        return CancelAsked(flow, request) if (flow, request) in self._running else None

    def credited(self, head: Header, flow: int, body: Buffer) -> CreditGiven | None:
        """More credit for a stream; None if it has ended."""
        running = self._running.get((flow, head.request))
        if running is None or running.credit is None:
            return None
        more = decode_as(body, int)
        if more < 1:
            raise ProtocolError("credit is at least 1", where="body")
        running.credit = min(running.credit + more, wire.MAX_CREDIT)
        return CreditGiven(flow, head.request)

    def lose_streams(self) -> tuple[CancelAsked, ...]:
        """The streams that ended with the old hub: chunks may have been lost with it."""
        return tuple(
            CancelAsked(flow, request)
            for (flow, request), running in self._running.items()
            if flow is not None and running.credit is not None
        )

    def _capability(self, flow: int) -> str | None:
        known = self._meanings.get(flow)
        return self._provides[0] if known is None and len(self._provides) == 1 else known


def _credit(option: Any) -> int | None:
    return min(option, wire.MAX_CREDIT) if type(option) is int and option >= 0 else None
