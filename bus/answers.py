"""What a provider remembers of its answers (`PROTOCOL.md` section 11), bounded."""

from collections import OrderedDict
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
        self._answers: OrderedDict[CallId, Answer] = OrderedDict()
        self._answered: OrderedDict[CallId, None] = OrderedDict()
        self._bytes = 0

    def remember(self, call: CallId, kind: int, body: bytes) -> None:
        """Keeps an answer, and forgets the oldest ones that there is no room for."""
        answers, answered = self._answers, self._answered
        if call in answered:
            self.forget(call)
        answers[call] = (kind, body)
        answered[call] = None
        self._bytes += len(body)
        while len(answers) > wire.MAX_ANSWERS or self._bytes > wire.MAX_ANSWER_BYTES:
            _, (_, oldest) = answers.popitem(last=False)
            self._bytes -= len(oldest)
        if len(answered) > wire.MAX_ANSWERED:
            answered.popitem(last=False)

    def recall(self, call: CallId) -> Answer | None:
        """The answer that this call got, `FORGOTTEN` if only that is known; None if it got none."""
        return self._answers.get(call) or (FORGOTTEN if call in self._answered else None)

    def forget(self, call: CallId) -> None:
        """The number is used for another call now."""
        if call not in self._answered:
            return
        del self._answered[call]
        answer = self._answers.pop(call, None)
        if answer is not None:
            self._bytes -= len(answer[1])
