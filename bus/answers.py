"""What a provider remembers of its answers (`PROTOCOL.md` section 11), bounded."""

from collections import OrderedDict

from . import wire

CallId = tuple[int | None, int]  # flow, request
Answer = tuple[int, bytes]  # kind, body


class Answers:
    """The last answers, to be repeated when the same call is made again."""

    def __init__(self) -> None:
        self._answers: OrderedDict[CallId, Answer] = OrderedDict()
        self._bytes = 0

    def remember(self, call: CallId, kind: int, body: bytes) -> None:
        """Keeps an answer, and forgets the oldest ones that there is no room for."""
        self.forget(call)
        self._answers[call] = (kind, body)
        self._bytes += len(body)
        while len(self._answers) > wire.MAX_ANSWERS or self._bytes > wire.MAX_ANSWER_BYTES:
            _, (_, oldest) = self._answers.popitem(last=False)
            self._bytes -= len(oldest)

    def recall(self, call: CallId) -> Answer | None:
        """The answer that this call got, if it is still remembered."""
        return self._answers.get(call)

    def forget(self, call: CallId) -> None:
        """The number is used for another call now."""
        answer = self._answers.pop(call, None)
        if answer is not None:
            self._bytes -= len(answer[1])
