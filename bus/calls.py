"""The caller's side of a threaded peer: open calls and streams over one connection."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar, cast

from msgspec import Struct

from .ask import Ask, OnProgress
from .connection import Connection
from .errors import BusError
from .heard import Answered, Chunked, Heard, Progressed, Rejoined
from .messages import Progress

T = TypeVar("T")
Unwanted = Callable[[], BusError | None]  # why an answer is not waited for any more, if so


class Call(Struct, Generic[T], eq=False):
    """An open call."""

    connection: Connection
    forget: Callable[[int], object]
    request: int
    until: float | None  # when not even the hub's own answer is waited for any more
    on_progress: OnProgress | None = None
    news: deque[Progress] | None = None  # for whoever waits; None: the connection's thread tells
    unwanted: Unwanted | None = None
    chunks: deque[Any] | None = None  # none has come yet
    value: Any = None
    error: BusError | None = None
    done: bool = False

    def result(self) -> T:
        """Waits for the answer; raises the BusError that ended the call."""
        if not self.done or self.news:
            self.wait(self.is_done)
        if self.error is not None:
            raise self.error
        return cast(T, self.value)

    def cancel(self) -> None:
        """Asks for the end of the call; `result` then usually raises `cancelled`."""
        if not self.done:
            with self.connection as session:
                session.asking.cancel(self.request, time.monotonic())

    def abandon(self, error: BusError) -> None:
        """Ends the call with this error, whatever its answer would be."""
        if self.done:
            return
        self.finish(None, error)
        try:
            with self.connection as session:
                session.asking.abandon(self.request, time.monotonic())
        except BusError:
            return  # the connection is over, and with it the call
        finally:
            self.forget(self.request)

    def check(self) -> None:
        """Ends the call if it is not wanted any more, and raises why."""
        why = self.unwanted() if self.unwanted is not None and not self.done else None
        if why is not None:
            self.abandon(why)
            raise why

    def is_done(self) -> bool:
        """Whether the answer is there."""
        return self.done

    def wait(self, ready: Callable[[], object]) -> None:
        """Returns when `ready()` is true or the call is over; tells the news meanwhile."""
        news = self.news
        if news is None or self.on_progress is None:
            self._wait(ready)
            return
        while True:
            self._wait(lambda: news or ready())
            if not news:
                return
            self.on_progress(news.popleft())

    def _wait(self, ready: Callable[[], object]) -> None:
        left_s = None if self.until is None else self.until - time.monotonic()
        unwanted = self.unwanted
        if unwanted is None:
            self.connection.wait(ready, left_s)
        else:
            self.connection.wait(lambda: ready() or unwanted(), left_s)
        if not ready() and not self.done:
            why = unwanted() if unwanted is not None else None
            self.abandon(why or BusError("deadline", "the call was not answered in time"))

    def add(self, chunk: Any) -> None:
        """Takes a chunk."""
        if self.chunks is None:
            self.chunks = deque()
        self.chunks.append(chunk)

    def finish(self, value: Any, error: BusError | None) -> None:
        """Takes the answer."""
        self.value = value
        self.error = error
        self.done = True


class Stream(Generic[T]):
    """An open streaming call: an iterator of its chunks, and its result after them.

    Leaving its `with` block early cancels it.
    """

    def __init__(self, call: Call[T], credit: int) -> None:
        self._call = call
        self._half = max(1, credit // 2)
        self._taken = 0

    def __enter__(self) -> "Stream[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self._call.abandon(BusError("cancelled", "the stream was left"))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        call = self._call
        call.check()
        if not call.chunks and (not call.done or call.news):
            call.wait(lambda: call.chunks or call.done)
        if call.chunks:
            chunk = call.chunks.popleft()
            self._give_back()
            return chunk
        if call.error is not None:
            raise call.error
        raise StopIteration

    def result(self) -> T:
        """The result, once the chunks that are left have been passed over."""
        for _ in self:
            pass
        return self._call.result()

    def cancel(self) -> None:
        """Asks for the end of the stream; what comes next then usually raises `cancelled`."""
        self._call.cancel()

    def _give_back(self) -> None:
        self._taken += 1
        if self._taken >= self._half and not self._call.done:
            taken, self._taken = self._taken, 0
            with self._call.connection as session:
                session.asking.credit(self._call.request, taken, time.monotonic())


class Calls:
    """The open calls of one connection; `settle` and `fail_all` run under its lock."""

    def __init__(self) -> None:
        self._open: dict[int, Call[Any]] = {}

    def start(
        self, connection: Connection, ask: Ask, unwanted: Unwanted | None = None
    ) -> Call[Any]:
        """Opens a call; one that may become `unwanted` tells its progress on the thread that
        waits for it."""
        with connection as session:
            now = time.monotonic()
            request = ask.open(session.asking, now)
            until = now + ask.ttl_ms / 1000 + session.grace_s if ask.ttl_ms else None
            on_progress = ask.on_progress
            news: deque[Progress] | None = deque() if on_progress and unwanted else None
            call: Call[Any] = Call(
                connection, self._forget, request, until, on_progress, news, unwanted
            )
            self._open[request] = call
        return call

    def subscribe(self, connection: Connection, topic: str, *, begin: bool) -> Call[None]:
        """Asks for a topic's events, or for no more of them."""
        with connection as session:
            now = time.monotonic()
            request = session.asking.subscribe(topic, now, begin=begin)
            call: Call[None] = Call(connection, self._forget, request, None)
            self._open[request] = call
        return call

    def settle(self, heard: Heard) -> None:
        """Gives what came for an open call to it."""
        if isinstance(heard, Answered):
            call = self._open.pop(heard.request, None)
            if call is not None and not call.done:
                if call.on_progress is None or call.news is not None:
                    call.value, call.error, call.done = heard.value, heard.error, True
                else:  # not before the progress that came before it
                    call.connection.later(partial(call.finish, heard.value, heard.error))
        elif isinstance(heard, Progressed):
            call = self._open.get(heard.request)
            if call is not None and call.news is not None:
                call.news.append(heard.progress)
            elif call is not None and call.on_progress is not None:
                call.connection.later(partial(call.on_progress, heard.progress))
        elif isinstance(heard, Chunked):
            call = self._open.get(heard.request)
            if call is not None:
                call.add(heard.value)
        elif isinstance(heard, Rejoined):
            for answer in heard.ended:
                self.settle(answer)

    def _forget(self, request: int) -> None:
        self._open.pop(request, None)

    def fail_all(self, reason: BusError) -> None:
        """Ends every open call: no answer will come."""
        while self._open:
            _, call = self._open.popitem()
            if not call.done:
                call.finish(None, reason)
