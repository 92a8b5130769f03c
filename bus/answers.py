"""What a provider remembers of its answers (`PROTOCOL.md` section 11), bounded."""

from collections import deque
from typing import Final

from . import wire
from .codec import encode
from .errors import BusError

CallId = tuple[int | None, int]  # flow, request
Answer = tuple[int, bytes]  # kind, body

FORGOTTEN: Final[Answer] = (
    wire.ERROR,
    encode(
        BusError(
            "crashed",
            "the bus started anew, and the answer of long ago is no longer remembered",
            fault="kernel",
        ).to_body()
    ),
)


class Answers:
    """The last answers, to be repeated when the same call is made again, and for longer the fact
    that a call was answered: it must not be done twice."""

    def __init__(self) -> None:
        self._answers: dict[CallId, Answer | None] = {}  # None: only the fact is known
        self._order: deque[CallId] = deque()  # of all of them, the oldest first
        self._whole: deque[CallId] = deque()  # of those that can be repeated
        self._bytes = 0

    def remember(self, call: CallId, kind: int, body: bytes) -> None:
        """Keeps an answer, and forgets the oldest ones that there is no room for."""
        answers, order, whole = self._answers, self._order, self._whole
        if call in answers:
            self.forget(call)
        answers[call] = (kind, body)
        order.append(call)
        whole.append(call)
        self._bytes += len(body)
        while len(whole) > wire.MAX_ANSWERS or self._bytes > wire.MAX_ANSWER_BYTES:
            self._drop_body(whole.popleft())
        if len(order) > wire.MAX_ANSWERED:
            del answers[order.popleft()]

    def recall(self, call: CallId) -> Answer | None:
        """The answer that this call got, `FORGOTTEN` if only that is known; None if it got none."""
        return (self._answers[call] or FORGOTTEN) if call in self._answers else None

    def forget(self, call: CallId) -> None:
        """The number is used for another call now, which is rare."""
        if call not in self._answers:
            return
        if self._answers[call] is not None:
            self._whole.remove(call)
            self._drop_body(call)
        self._order.remove(call)
        del self._answers[call]

    def _drop_body(self, call: CallId) -> None:
        answer = self._answers[call]
        self._answers[call] = None
        self._bytes -= len(answer[1]) if answer is not None else 0
