"""The client for asyncio: no thread, one reader on the socket's descriptor."""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from . import wire
from .aiostream import AsyncCall, AsyncStream
from .ask import Ask, OnProgress
from .dial import dial
from .errors import BusError
from .heard import (
    Answered,
    Chunked,
    Dismissed,
    Event,
    Heard,
    Progressed,
    Rejoined,
    Welcomed,
)
from .link import LoopLink
from .retry import Attempts, Retry
from .session import Session
from .ticket import Ticket

__all__ = ["AsyncClient", "AsyncStream", "Event", "Retry"]

JOIN_S = wire.HEARTBEAT_MS * wire.LIVENESS / 1000
_FULL_RETRY_S = 0.005
_BATCH = 256  # messages handled before the loop's other work gets a turn
OnEvent = Callable[[Event], None]
T = TypeVar("T")


class AsyncClient:
    """One peer that calls, publishes and listens to events. Make it with `connect` or `join`."""

    def __init__(self, link: LoopLink) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._session = Session(time.monotonic())
        self._open: dict[int, AsyncCall] = {}
        self._handlers: dict[str, OnEvent] = {}
        self._joined: asyncio.Future[None] = self._loop.create_future()
        self._end: BusError | None = None
        self._beating: asyncio.Task[None] | None = None
        self._pumping = False  # a turn of `_pump` is due
        self._retrying = False  # one more, because the socket was full

    @classmethod
    async def connect(cls, ticket: Ticket) -> "AsyncClient":
        """Joins the bus over a socket; raises BusError `unavailable` or `refused`."""
        return await cls.join(dial(ticket))

    @classmethod
    async def join(cls, link: LoopLink) -> "AsyncClient":
        """Joins the bus over any transport; closes it if that fails."""
        client = cls(link)
        link.attach(client._loop, client._pump)
        client._pump()
        try:
            async with asyncio.timeout(JOIN_S):
                await client._joined
        except TimeoutError:
            client._finish(BusError("unavailable", "the hub did not answer hello"))
            raise BusError("unavailable", "the hub did not answer hello") from None
        client._beating = client._loop.create_task(client._beat())
        return client

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(
        self,
        capability: str,
        method: str | None = None,
        args: Mapping[str, object] | None = None,
        *,
        type: Any = Any,  # noqa: A002 - what it is called everywhere else
        ttl_ms: int = 0,
        on_progress: OnProgress | None = None,
        idem: str | None = None,
        trace: str | None = None,
        retry: Retry | None = None,
    ) -> Any:
        """Calls a capability and returns its result as `type`; `ttl_ms` 0 waits for ever.

        Raises the BusError that the provider or the hub answered, `wrong-output` for a result that
        is not of the type. Cancelling the task cancels the call. `idem` is an idempotency key, at
        most 128 characters; `trace` a W3C `traceparent`, a new one if not given. With `retry`, an
        error that the hub calls repeatable leads to another attempt within `ttl_ms`.
        """
        ask = Ask(
            capability,
            method,
            args,
            ttl_ms,
            type,
            idem=idem,
            trace=trace,
            on_progress=on_progress,
        )
        if retry is None:
            return await self._answer(*self._start(ask))
        attempts = Attempts(retry, ttl_ms)
        while True:
            ask.ttl_ms = attempts.ttl_ms
            try:
                return await self._answer(*self._start(ask))
            except BusError as error:
                await asyncio.sleep(attempts.pause_s(error))

    def stream(
        self,
        capability: str,
        method: str | None = None,
        args: Mapping[str, object] | None = None,
        *,
        credit: int = 16,
        type: Any = Any,  # noqa: A002 - as in `call`
        chunk_type: Any = Any,
        ttl_ms: int = 0,
        on_progress: OnProgress | None = None,
        trace: str | None = None,
    ) -> AsyncStream[Any]:
        """Calls a capability that answers in chunks; iterate over the stream for them.

        At most `credit` chunks (1 to 1,024) wait to be taken, in this process or on the way to it.
        """
        ask = Ask(
            capability,
            method,
            args,
            ttl_ms,
            type,
            chunk_type,
            credit,
            trace=trace,
            on_progress=on_progress,
        )
        request, call = self._start(ask)
        return AsyncStream(
            call,
            credit,
            partial(self._give, request),
            partial(self._abandon, request),
            partial(self._cancel, request),
        )

    def publish(self, topic: str, value: object, *, keep: bool = False) -> None:
        """Publishes an event; the hub drops it if this peer may not.

        With `keep`, the hub sends it to later subscribers as well, until there is a newer one.
        """
        self._check()
        self._session.asking.publish(topic, value, time.monotonic(), keep=keep)
        self._flush()

    async def subscribe(self, topic: str, handler: OnEvent) -> None:
        """Calls `handler(event)` for every event of a topic; raises BusError `refused` if this
        peer was not granted it."""
        self._handlers[topic] = handler
        try:
            await self._subscribe(topic, begin=True)
        except BusError:
            del self._handlers[topic]
            raise

    async def unsubscribe(self, topic: str) -> None:
        """Ends a subscription."""
        await self._subscribe(topic, begin=False)
        self._handlers.pop(topic, None)

    async def close(self) -> None:
        """Says bye and leaves; idempotent."""
        if self._end is None:
            self._session.bye("closed", time.monotonic())
            self._flush()
            self._finish(BusError("unavailable", "the connection is closed"))

    # -- calls ------------------------------------------------------------------------------

    def _start(self, ask: Ask) -> tuple[int, AsyncCall]:
        self._check()
        request = ask.open(self._session.asking, time.monotonic())
        call = self._open[request] = AsyncCall(self._loop.create_future(), ask.on_progress)
        self._flush()
        return request, call

    async def _answer(self, request: int, call: AsyncCall) -> Any:
        try:
            return await call.future
        except asyncio.CancelledError:
            self._abandon(request)
            raise

    async def _subscribe(self, topic: str, *, begin: bool) -> None:
        self._check()
        request = self._session.asking.subscribe(topic, time.monotonic(), begin=begin)
        call = self._open[request] = AsyncCall(self._loop.create_future(), None)
        self._flush()
        await self._answer(request, call)

    def _give(self, request: int, chunks: int) -> None:
        self._session.asking.credit(request, chunks, time.monotonic())
        self._flush()

    def _cancel(self, request: int) -> None:
        self._session.asking.cancel(request, time.monotonic())
        self._flush()

    def _abandon(self, request: int) -> None:
        self._open.pop(request, None)
        self._session.asking.abandon(request, time.monotonic())
        self._flush()

    def _check(self) -> None:
        if self._end is not None:
            raise self._end

    # -- messages ---------------------------------------------------------------------------

    async def _beat(self) -> None:
        while self._end is None:
            alive = self._session.tick(time.monotonic())
            self._flush()
            if not alive:
                self._finish(BusError("unavailable", "the hub is silent", fault="kernel"))
            await asyncio.sleep(self._session.heartbeat_s / 2)

    def _flush(self) -> None:
        """Sends what was said; sending may swallow the sign that there is something to read."""
        if self._end is None:
            self._send()
            self._pump_soon()

    def _send(self) -> None:
        session = self._session
        session.unsent.send(session.out, self._link.send)
        if session.unsent.messages and not self._retrying:
            self._retrying = True
            self._loop.call_later(_FULL_RETRY_S, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        self._pump()

    def _pump_soon(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Handles what was heard, until there is nothing more of it."""
        self._pumping = False
        if self._end is not None:
            return
        self._send()
        now = time.monotonic()
        taken = self._link.take(_BATCH)
        for header, body in taken:
            heard = self._session.receive(header, body, now)
            if heard is not None:
                self._on_heard(heard)
            if self._end is not None:
                return
        if len(taken) == _BATCH:
            self._pump_soon()
        if self._session.out:
            self._flush()

    def _on_heard(self, heard: Heard) -> None:
        if isinstance(heard, Answered):
            call = self._open.pop(heard.request, None)
            if call is None or call.future.done():
                return
            if heard.error is not None:
                call.future.set_exception(heard.error)
            else:
                call.future.set_result(heard.value)
        elif isinstance(heard, Chunked):
            call = self._open.get(heard.request)
            if call is not None:
                call.add(heard.value)
        elif isinstance(heard, Progressed):
            call = self._open.get(heard.request)
            if call is not None and call.on_progress is not None:
                self._tell(call.on_progress, heard.progress)
        elif isinstance(heard, Event):
            handler = self._handlers.get(heard.topic)
            if handler is not None:
                self._tell(handler, heard)
        elif isinstance(heard, Welcomed):
            if not self._joined.done():
                self._joined.set_result(None)
        elif isinstance(heard, Rejoined):
            for answer in heard.ended:
                self._on_heard(answer)
        elif isinstance(heard, Dismissed):
            self._finish(BusError("refused", f"the hub dismissed this peer: {heard.reason}"))

    def _tell(self, listener: Callable[[T], object], news: T) -> None:
        """What a listener raises is its own affair: everything else goes on."""
        try:
            listener(news)
        except Exception as error:
            message = f"{listener!r} failed on what came from the bus"
            self._loop.call_exception_handler({"message": message, "exception": error})

    def _finish(self, reason: BusError) -> None:
        if self._end is not None:
            return
        self._end = reason
        self._link.detach(self._loop)
        self._link.close()
        if self._beating is not None:
            self._beating.cancel()
        if not self._joined.done():
            self._joined.set_exception(reason)
        while self._open:
            _, call = self._open.popitem()
            if not call.future.done():
                call.future.set_exception(reason)
