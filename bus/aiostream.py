"""Open calls and streams of the asyncio client."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from msgspec import Struct

from .ask import OnProgress
from .errors import BusError

T = TypeVar("T")


class AsyncCall(Struct, eq=False):
    """An open call: the future of its answer, and where its progress and chunks go."""

    future: "asyncio.Future[Any]"
    on_progress: OnProgress | None = None
    chunks: deque[Any] | None = None  # none has come yet
    news: "asyncio.Future[None] | None" = None  # of the next chunk, if somebody waits

    def add(self, chunk: Any) -> None:
        """Takes a chunk."""
        if self.chunks is None:
            self.chunks = deque()
        self.chunks.append(chunk)
        if self.news is not None and not self.news.done():
            self.news.set_result(None)


class AsyncStream(Generic[T]):
    """An open streaming call: iterate for its chunks, then ask for its result.

    Leaving its `async with` block early cancels it. `give(chunks)` gives credit back, `abandon()`
    ends the call.
    """

    def __init__(
        self,
        call: AsyncCall,
        credit: int,
        give: Callable[[int], None],
        abandon: Callable[[], None],
        cancel: Callable[[], None],
    ) -> None:
        self._call = call
        self._half = max(1, credit // 2)
        self._taken = 0
        self._give = give
        self._abandon = abandon
        self.cancel = cancel
        call.future.add_done_callback(_see)  # whether anybody asks for the result or not

    async def __aenter__(self) -> "AsyncStream[T]":
        return self

    async def __aexit__(self, *_: object) -> None:
        future = self._call.future
        if not future.done():
            self._abandon()
            future.set_exception(BusError("cancelled", "the stream was left"))

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        call = self._call
        while not call.chunks:
            if call.future.done():
                call.future.result()
                raise StopAsyncIteration
            call.news = call.future.get_loop().create_future()
            await asyncio.wait((call.news, call.future), return_when=asyncio.FIRST_COMPLETED)
        self._taken += 1
        if self._taken >= self._half and not call.future.done():
            taken, self._taken = self._taken, 0
            self._give(taken)
        return call.chunks.popleft()

    async def result(self) -> T:
        """The result, once the chunks that are left have been passed over."""
        async for _ in self:
            pass
        result: T = await self._call.future
        return result


def _see(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()
