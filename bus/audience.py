"""The fake's caller: the peer that the test itself is."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from .errors import BusError
from .heard import Answered, Chunked, Event, Heard, Progressed
from .memory import MemoryPeer
from .messages import Progress
from .session import Session


class Audience:
    """Calls and listens. `pump` moves messages until nothing is left to do."""

    def __init__(
        self, link: MemoryPeer, progress: list[Progress], pump: Callable[[], None]
    ) -> None:
        self._link = link
        self._progress = progress
        self._pump = pump
        self._session = Session(time.monotonic())
        self._answers: dict[int, Answered] = {}
        self._chunks: dict[int, deque[Any]] = {}
        self._handlers: dict[str, Callable[[Event], None]] = {}

    def call(
        self,
        capability: str,
        method: str | None,
        args: Mapping[str, object],
        ttl_ms: int,
        options: Mapping[str, object],
        type: Any = Any,  # noqa: A002 - as in `FakeConductor.call`
    ) -> int:
        """Makes a call; returns its request number."""
        now = time.monotonic()
        request = self._session.asking.call(
            capability, method, args, ttl_ms, now, options=options, type=type
        )
        self._chunks[request] = deque()
        self._pump()
        return request

    def answer(self, request: int) -> Any:
        """The result of a call; raises the BusError that ended it."""
        answer = self._answers.get(request)
        if answer is None:
            raise BusError("internal", "the extension did not answer")
        if answer.error is not None:
            raise answer.error
        return answer.value

    def chunks(self, request: int) -> deque[Any]:
        """What has come of a stream and was not taken."""
        return self._chunks[request]

    def give(self, request: int, chunks: int) -> None:
        """Lets a stream go on by so many chunks."""
        self._session.asking.credit(request, chunks, time.monotonic())
        self._pump()

    def cancel(self, request: int) -> None:
        """Asks for the end of a call."""
        self._session.asking.cancel(request, time.monotonic())
        self._pump()

    def publish(self, topic: str, value: object, *, keep: bool) -> None:
        """Publishes an event."""
        self._session.asking.publish(topic, value, time.monotonic(), keep=keep)
        self._pump()

    def subscribe(self, topic: str, handler: Callable[[Event], None]) -> None:
        """Has a topic's events handled."""
        self._handlers[topic] = handler
        self._subscription(topic, begin=True)

    def unsubscribe(self, topic: str) -> None:
        """Ends that."""
        self._subscription(topic, begin=False)
        self._handlers.pop(topic, None)

    def _subscription(self, topic: str, *, begin: bool) -> None:
        request = self._session.asking.subscribe(topic, time.monotonic(), begin=begin)
        self._pump()
        self.answer(request)

    def turn(self) -> bool:
        """Sends what is to be sent, handles one message; whether there was anything to do."""
        busy = bool(self._session.out)
        while self._session.out:
            self._link.send(*self._session.out.pop(0))
        message = self._link.receive()
        if message is None:
            return busy
        heard = self._session.receive(*message, time.monotonic())
        if heard is not None:
            self._on_heard(heard)
        return True

    def _on_heard(self, heard: Heard) -> None:
        if isinstance(heard, Answered):
            self._answers[heard.request] = heard
        elif isinstance(heard, Chunked):
            self._chunks[heard.request].append(heard.value)
        elif isinstance(heard, Progressed):
            self._progress.append(heard.progress)
        elif isinstance(heard, Event):
            self._handlers[heard.topic](heard)


class Caller(Protocol):
    """Who has opened a stream."""

    def chunks(self, request: int) -> deque[Any]:
        """What has come of it and was not taken."""

    def answer(self, request: int) -> Any:
        """Its result; raises the BusError that ended it."""

    def give(self, request: int, chunks: int) -> None:
        """Lets it go on by so many chunks."""

    def cancel(self, request: int) -> None:
        """Asks for its end."""


class FakeStream:
    """An open streaming call: an iterator of its chunks, and its result after them.

    Leaving its `with` block early cancels it. The provider goes on only while the caller asks for
    the next chunk.
    """

    def __init__(self, caller: Caller, request: int, credit: int) -> None:
        self._caller = caller
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
        chunks = self._caller.chunks(self._request)
        if not chunks:
            self._caller.answer(self._request)
            raise StopIteration
        chunk = chunks.popleft()
        self._taken += 1
        if self._taken >= self._half:
            self._caller.give(self._request, self._taken)
            self._taken = 0
        return chunk

    def result(self) -> Any:
        """The result, once the chunks that are left have been passed over."""
        for _ in self:
            pass
        return self._caller.answer(self._request)

    def cancel(self) -> None:
        """Asks for the end of the stream."""
        self._caller.cancel(self._request)
