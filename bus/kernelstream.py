"""A streaming call of the kernel as an asynchronous iterator of its chunks."""

import asyncio
from collections import deque
from types import TracebackType
from typing import Any, Self

from .control import Control
from .errors import BusError
from .kernelcalls import KernelCall


class Stream:
    """Yields the chunks of one call; `result` is what comes after the last.

    Use it as an asynchronous context manager: leaving it early cancels the call. No more chunks
    than `credit` are ever held here; taking them gives credit back, half of it at a time.
    """

    def __init__(
        self,
        control: Control,
        capability: str,
        method: str | None,
        body: bytes,
        ttl_ms: int,
        *,
        instance: str,
        credit: int,
        trace: str | None,
    ) -> None:
        """Makes the call; raises BusError `unavailable`."""
        self._control = control
        self._chunks: deque[object] = deque()
        self._told = asyncio.Event()
        self._batch = max(1, credit // 2)
        self._taken = 0
        self._done = False
        self._value: object = None
        self._error: BusError | None = None
        call = KernelCall(instance, None, self._succeed, self._fail, on_chunk=self._chunk)
        self._request = control.call(
            capability, method, body, ttl_ms, call, trace=trace, stream=credit
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._done:
                raise StopAsyncIteration
            self._told.clear()
            await self._told.wait()
        chunk = self._chunks.popleft()
        self._taken += 1
        if self._taken >= self._batch and not self._done:
            self._control.credit(self._request, self._taken)
            self._taken = 0
        return chunk

    async def result(self) -> Any:
        """Leaves out the chunks that were not taken and returns the result; raises BusError."""
        async for _ in self:
            pass
        return self._value

    def close(self) -> None:
        """Ends the call if it has not ended."""
        if not self._done:
            self._fail(BusError("cancelled", "the call was cancelled"))
            self._control.cancel(self._request)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _chunk(self, value: object) -> None:
        self._chunks.append(value)
        self._told.set()

    def _succeed(self, value: object) -> None:
        self._value = value
        self._done = True
        self._told.set()

    def _fail(self, error: BusError) -> None:
        self._error = error
        self._done = True
        self._told.set()
