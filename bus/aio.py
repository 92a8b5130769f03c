"""The client for asyncio: no thread, one reader on the socket's descriptor."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from . import wire
from .codec import decode
from .errors import BusError, ProtocolError
from .link import Link
from .messages import Progress
from .session import Answered, Dismissed, Event, Progressed, Published, Session, Welcomed
from .ticket import Ticket

JOIN_S = wire.HEARTBEAT_MS * wire.LIVENESS / 1000


class AsyncClient:
    """One peer that calls, publishes and listens to events. Make it with `connect` or `join`."""

    def __init__(self, link: Link) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._session = Session(time.monotonic())
        self._open: dict[int, tuple[asyncio.Future[Any], Callable[[Progress], None] | None]] = {}
        self._subscribers: dict[str, Callable[[Any], None]] = {}
        self._joined: asyncio.Future[None] = self._loop.create_future()
        self._end: BusError | None = None
        self._beating: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, ticket: Ticket) -> "AsyncClient":
        """Joins the bus over a socket; raises BusError `unavailable` or `refused`."""
        from .dealer import Dealer

        return await cls.join(Dealer(ticket))

    @classmethod
    async def join(cls, link: Link) -> "AsyncClient":
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
        ttl_ms: int = 0,
        on_progress: Callable[[Progress], None] | None = None,
        idem: str | None = None,
    ) -> Any:
        """Calls a capability and returns its result; `ttl_ms` 0 waits for ever.

        Raises the BusError that the provider or the hub answered. Cancelling the task cancels
        the call.
        """
        self._check()
        options = None if idem is None else {wire.IDEM_OPTION: idem}
        request = self._session.call(
            capability, method, args or {}, ttl_ms, time.monotonic(), options
        )
        future: asyncio.Future[Any] = self._loop.create_future()
        self._open[request] = (future, on_progress)
        self._pump()
        try:
            return await future
        except asyncio.CancelledError:
            self._open.pop(request, None)
            self._session.cancel(request, time.monotonic())
            self._pump()
            raise

    def publish(self, topic: str, value: object) -> None:
        """Publishes an event; the hub drops it if this peer may not."""
        self._check()
        self._session.publish(topic, value, time.monotonic())
        self._pump()

    def subscribe(self, topic: str, handler: Callable[[Any], None]) -> None:
        """Calls `handler(value)` for every event of a topic that this peer was granted."""
        self._subscribers[topic] = handler

    async def close(self) -> None:
        """Says bye and leaves; idempotent."""
        if self._end is None:
            self._session.bye("closed", time.monotonic())
            self._pump()
            self._finish(BusError("unavailable", "the connection is closed"))

    def _check(self) -> None:
        if self._end is not None:
            raise self._end

    async def _beat(self) -> None:
        while self._end is None:
            alive = self._session.tick(time.monotonic())
            self._pump()
            if not alive:
                self._finish(BusError("unavailable", "the hub is silent", fault="kernel"))
            await asyncio.sleep(self._session.heartbeat_s / 2)

    def _pump(self) -> None:
        """Sends what was said and handles what was heard, until there is nothing of either."""
        if self._end is not None:
            return
        while True:
            while self._session.out and self._link.send(*self._session.out[0]):
                del self._session.out[0]
            message = self._link.receive()
            if message is None:
                return
            event = self._session.receive(*message, time.monotonic())
            if event is not None:
                self._on_event(event)
            if self._end is not None:
                return

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Answered):
            future, _ = self._open.pop(event.request, (None, None))
            if future is None or future.done():
                return
            if event.error is not None:
                future.set_exception(event.error)
            else:
                future.set_result(event.value)
        elif isinstance(event, Progressed):
            _, on_progress = self._open.get(event.request, (None, None))
            if on_progress is not None:
                on_progress(event.progress)
        elif isinstance(event, Published):
            handler = self._subscribers.get(event.topic)
            if handler is not None:
                with suppress(ProtocolError):  # another peer's fault is no reason to end this one
                    handler(decode(event.body))
        elif isinstance(event, Welcomed) and not self._joined.done():
            self._joined.set_result(None)
        elif isinstance(event, Dismissed):
            self._finish(BusError("refused", f"the hub dismissed this peer: {event.reason}"))

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
            _, (future, _) = self._open.popitem()
            if not future.done():
                future.set_exception(reason)
