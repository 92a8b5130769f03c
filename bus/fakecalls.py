"""The calls that somebody makes on the fake's bus, on the thread of the test."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from .ask import Ask, OnProgress
from .asking import Asking
from .errors import BusError
from .heard import Answered, Chunked, Heard, Progressed


class FakeCalls:
    """One peer's calls. `pump` moves messages until nothing is left to do; what is then not
    answered never will be, and is `unanswered`."""

    def __init__(
        self, asking: Asking, pump: Callable[[], None], unanswered: Callable[[], BusError]
    ) -> None:
        self._asking = asking
        self._pump = pump
        self._unanswered = unanswered
        self._answers: dict[int, Answered] = {}
        self._chunks: dict[int, deque[Any]] = {}
        self._hearing: dict[int, OnProgress] = {}

    def start(self, ask: Ask) -> int:
        """Makes a call; returns its request number."""
        request = ask.open(self._asking, time.monotonic())
        self._chunks[request] = deque()
        if ask.on_progress is not None:
            self._hearing[request] = ask.on_progress
        self._pump()
        return request

    def subscribe(self, topic: str, *, begin: bool) -> int:
        """Asks for a topic's events or for no more of them; returns the request number."""
        return self._asking.subscribe(topic, time.monotonic(), begin=begin)

    def publish(self, topic: str, value: object, *, keep: bool) -> None:
        """Publishes an event."""
        self._asking.publish(topic, value, time.monotonic(), keep=keep)
        self._pump()

    def settle(self, heard: Heard) -> None:
        """Takes what came for a call."""
        if isinstance(heard, Answered):
            self._answers[heard.request] = heard
        elif isinstance(heard, Chunked):
            self._chunks[heard.request].append(heard.value)
        elif isinstance(heard, Progressed) and heard.request in self._hearing:
            self._hearing[heard.request](heard.progress)

    def answered(self, request: int) -> Answered | None:
        """The answer, if it is there."""
        return self._answers.get(request)

    def result(self, request: int) -> Any:
        """The result of a call; raises the BusError that ended it."""
        answer = self._answers.get(request)
        if answer is None:
            raise self._unanswered()
        if answer.error is not None:
            raise answer.error
        return answer.value

    def chunks(self, request: int) -> deque[Any]:
        """What has come of a stream and was not taken."""
        return self._chunks[request]

    def give(self, request: int, chunks: int) -> None:
        """Lets a stream go on by so many chunks."""
        self._asking.credit(request, chunks, time.monotonic())
        self._pump()

    def cancel(self, request: int) -> None:
        """Asks for the end of a call."""
        self._asking.cancel(request, time.monotonic())
        self._pump()


class FakeStream:
    """An open streaming call: an iterator of its chunks, and its result after them.

    Leaving its `with` block early cancels it. The provider goes on only while the caller asks for
    the next chunk.
    """

    def __init__(self, calls: FakeCalls, request: int, credit: int) -> None:
        self._calls = calls
        self._request = request
        self._half = max(1, credit // 2)
        self._taken = 0

    def __enter__(self) -> "FakeStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        chunks = self._calls.chunks(self._request)
        if not chunks:
            self._calls.result(self._request)
            raise StopIteration
        chunk = chunks.popleft()
        self._taken += 1
        if self._taken >= self._half:
            self._calls.give(self._request, self._taken)
            self._taken = 0
        return chunk

    def result(self) -> Any:
        """The result, once the chunks that are left have been passed over."""
        for _ in self:
            pass
        return self._calls.result(self._request)

    def cancel(self) -> None:
        """Asks for the end of the stream."""
        self._calls.cancel(self._request)
