"""The fake's other players: a generator that stands in for a capability which streams."""

from collections.abc import Callable, Generator
from typing import Any

from . import wire
from .bodies import encode_body
from .codec import encode
from .errors import BusError
from .messages import Progress

Say = Callable[[int, bytes], None]  # kind and body of a message about the call


class StandIn:
    """Answers one call with what a generator yields, chunks and `Progress`, and returns."""

    def __init__(self, parts: Generator[Any, None, Any], credit: int | None, say: Say) -> None:
        self._parts = parts
        self._credit = credit  # None: the caller takes no chunks
        self._say = say
        self._held: list[bytes] = []  # a chunk without credit

    def go(self) -> bool:
        """Sends what the caller takes; whether the call is over."""
        try:
            while not self._held or self._credit:
                self._send_held()
                part = next(self._parts)
                if isinstance(part, Progress):
                    self._say(wire.PROGRESS, encode(part))
                elif self._credit is not None:
                    self._held.append(encode_body(part, "wrong-output"))
        except StopIteration as end:
            self._say(wire.RESULT, encode_body(end.value, "wrong-output"))
        except BusError as error:
            self._say(wire.ERROR, encode(error.to_body()))
        else:
            return False
        return True

    def give(self, chunks: int) -> bool:
        """The caller takes so many more; as `go`."""
        if self._credit is not None:
            self._credit += chunks
        return self.go()

    def cancel(self) -> None:
        """The caller wants no more."""
        self._parts.close()
        self._say(wire.ERROR, encode(BusError("cancelled", "the call was cancelled").to_body()))

    def _send_held(self) -> None:
        if self._held and self._credit:
            self._credit -= 1
            self._say(wire.CHUNK, self._held.pop())
