"""What a peer has said and its transport has not taken yet: in order, and bounded for events."""

from collections import deque
from collections.abc import Callable

from . import wire
from .errors import BusError

Send = Callable[[bytes, bytes], bool]


class Unsent:
    """Messages that wait for the transport. Calls, answers and credit always find room: open calls
    are bounded."""

    def __init__(self) -> None:
        self.messages: deque[tuple[bytes, bytes]] = deque()
        self._bytes = 0

    def send(self, out: list[tuple[bytes, bytes]], send: Send) -> None:
        """Sends what waits and then `out`, which is emptied, as far as the transport takes it."""
        messages = self.messages
        while messages and send(*messages[0]):
            self._bytes -= len(messages.popleft()[1])
        for header, body in out:
            if messages or not send(header, body):
                messages.append((header, body))
                self._bytes += len(body)
        out.clear()

    def require_room(self) -> None:
        """Raises BusError `overloaded` if so much waits that nothing more may be published."""
        if len(self.messages) < wire.MAX_QUEUED and self._bytes < wire.MAX_QUEUED_BYTES:
            return
        raise BusError(
            "overloaded",
            f"{len(self.messages):,} messages wait to be sent",
            where="messages of this peer",
            help="wait until the hub has taken them",
            retry_after_ms=wire.RETRY_MS,
            repeatable=True,
        )
