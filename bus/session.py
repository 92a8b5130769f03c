"""A peer's side of the protocol, without a socket or a clock.

Messages and the time go in; messages to send (`out`) and what was heard come out. The clients, the
extension SDK and the fake differ only in how they move the bytes.
"""

import os
from typing import Final

from . import wire
from .asking import Asking
from .bodies import encode_body
from .codec import Buffer, Heading, decode_as, encode, encode_header, read_heading, salvage
from .errors import BusError, ProtocolError
from .heard import Activated, Dismissed, Heard, Rejoined, UnloadAsked, Welcomed
from .liveness import Watch
from .messages import Activate, Bye, Hello, Unload, Welcome
from .readable import require_short
from .serving import Serving
from .unsent import Unsent

__all__ = ["SDK", "Session", "encode_body"]

SDK: Final = "symphony-python/0.2.0"


class Session:
    """One peer's state: `asking` as a caller, `serving` as a provider.

    Times are seconds of one monotonic clock.
    """

    def __init__(self, now: float, provides: tuple[str, ...] = ()) -> None:
        self.out: list[tuple[bytes, bytes]] = []
        self.dropped = 0
        self.welcome: Welcome | None = None
        self.unsent = Unsent()
        self.asking = Asking(self._say, self.unsent)
        self.serving = Serving(self._say, provides)
        self._heard = self._sent = self._beaten = now
        self._watch = Watch(wire.HEARTBEAT_MS / 1000, wire.LIVENESS, now)
        self._hello = encode(Hello(wire.VERSION, SDK, os.getpid(), list(provides)))
        self._say(encode_header(wire.HELLO), self._hello, now)

    def bye(self, reason: str, now: float) -> None:
        """Says that we leave."""
        self._say(encode_header(wire.BYE), encode(Bye(reason)), now)

    # -- time -------------------------------------------------------------------------------

    @property
    def heartbeat_s(self) -> float:
        """How long this peer may be silent."""
        return self._watch.heartbeat_s

    @property
    def grace_s(self) -> float:
        """What a provider gets to answer a call that was cancelled."""
        return (self.welcome.grace_ms if self.welcome else wire.GRACE_MS) / 1000

    def tick(self, now: float, *, may_beat: bool = True) -> bool:
        """Sends a heartbeat if one is due; False if the hub is dead.

        Until it was answered that is the hello again: the first may have gone with a hub that
        ended just then.
        """
        if may_beat and self._watch.beat_due(
            sent=self._sent, heard=self._heard, beaten=self._beaten, now=now
        ):
            self._beaten = now
            if self.welcome is None:
                self._say(encode_header(wire.HELLO), self._hello, now)
            else:
                self._say(encode_header(wire.HEARTBEAT), b"", now)
        return self._heard >= self._watch.horizon(now)

    # -- what we hear -----------------------------------------------------------------------

    def receive(self, header: Buffer, body: Buffer, now: float) -> Heard | None:
        """Handles one message; what breaks the protocol is dropped and counted, but a call is
        answered if that is possible."""
        self._heard = now
        try:
            head = read_heading(header)
            kind = head.kind
            if kind == wire.CALL:
                return self.serving.called(head, body, now)
            if kind == wire.RESULT or kind == wire.ERROR:
                return self.asking.answered(head, body)
            return self._handle(head, body, now)
        except ProtocolError as error:
            self.dropped += 1
            call = salvage(header)
            if call is not None:
                broken = BusError("bad-request", error.message, where="header")
                self._say(encode_header(wire.ERROR, *call), encode(broken.to_body()), now)
            return None

    def _handle(self, head: Heading, body: Buffer, now: float) -> Heard | None:
        kind, target = head.kind, head.target
        if kind == wire.CHUNK:
            return self.asking.chunked(head, body, now)
        if kind == wire.PROGRESS:
            return self.asking.progressed(head, body)
        if isinstance(target, int):
            if kind == wire.CANCEL:
                return self.serving.cancelled(target, head.request)
            if kind == wire.CREDIT:
                return self.serving.credited(head, target, body)
        elif kind == wire.EVENT and isinstance(target, str):
            return self.asking.event(head, target, body)
        elif kind == wire.WELCOME:
            return self._welcomed(decode_as(body, Welcome), now)
        elif kind == wire.ACTIVATE:
            return Activated(head.request, decode_as(body, Activate))
        elif kind == wire.UNLOAD:
            return UnloadAsked(decode_as(body, Unload).grace_ms)
        elif kind == wire.BYE:
            return Dismissed(decode_as(body, Bye).reason)
        elif kind == wire.HEARTBEAT:
            return None
        raise ProtocolError("this kind does not come from the hub", where="header")

    def _welcomed(self, welcome: Welcome, now: float) -> Welcomed | Rejoined | None:
        before, self.welcome = self.welcome, welcome
        self._watch = Watch(welcome.heartbeat_ms / 1000, welcome.liveness, now)
        if before is None:
            return Welcomed(welcome)
        if before.epoch == welcome.epoch:
            return None
        return Rejoined(self.asking.repeat(now), self.serving.lose_streams())

    def _say(self, header: bytes, body: bytes, now: float) -> None:
        require_short(header)
        self._sent = now
        self.out.append((header, body))
