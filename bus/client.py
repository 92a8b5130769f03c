"""The client for ordinary, blocking code; usable from several threads at once."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from . import wire
from .calls import OnProgress, OpenCalls
from .codec import decode
from .connection import Connection
from .errors import BusError, ProtocolError
from .session import Event, Published
from .ticket import Ticket

_GRACE_S = 1.0  # beyond a call's deadline, for the hub's own answer to arrive


class Call:
    """An open call."""

    def __init__(
        self, connection: Connection, request: int, future: "Future[Any]", ttl_ms: int
    ) -> None:
        self._connection = connection
        self._request = request
        self._future = future
        self._limit_s = ttl_ms / 1000 + _GRACE_S if ttl_ms else None

    def result(self) -> Any:
        """Waits for the answer; raises the BusError that ended the call."""
        try:
            return self._future.result(self._limit_s)
        except TimeoutError:
            raise BusError("deadline", "the call was not answered in time") from None

    def cancel(self) -> None:
        """Asks for the end of the call; `result` then usually raises `cancelled`."""
        with self._connection.speaking() as session:
            session.cancel(self._request, time.monotonic())


class Client:
    """One peer that calls, publishes and listens to events."""

    def __init__(self, ticket: Ticket) -> None:
        """Joins the bus; raises BusError `unavailable` or `refused` if it cannot."""
        self._calls = OpenCalls()
        self._subscribers: dict[str, Callable[[Any], None]] = {}
        self._connection = Connection(
            ticket, (), on_event=self._on_event, on_end=self._calls.fail_all
        )
        self._connection.join()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self,
        capability: str,
        method: str | None = None,
        args: Mapping[str, object] | None = None,
        *,
        ttl_ms: int = 0,
        on_progress: OnProgress | None = None,
        idem: str | None = None,
    ) -> Any:
        """Calls a capability and returns its result; `ttl_ms` 0 waits for ever.

        Raises the BusError that the provider or the hub answered. `idem` is an idempotency key,
        at most 128 characters; `on_progress` runs on the connection's thread.
        """
        return self.start_call(
            capability, method, args, ttl_ms=ttl_ms, on_progress=on_progress, idem=idem
        ).result()

    def start_call(
        self,
        capability: str,
        method: str | None = None,
        args: Mapping[str, object] | None = None,
        *,
        ttl_ms: int = 0,
        on_progress: OnProgress | None = None,
        idem: str | None = None,
    ) -> Call:
        """As `call`, without waiting for the answer."""
        with self._connection.speaking() as session:
            request, future = self._calls.start(
                session,
                capability,
                method,
                args or {},
                ttl_ms=ttl_ms,
                now=time.monotonic(),
                options=None if idem is None else {wire.IDEM_OPTION: idem},
                on_progress=on_progress,
            )
        return Call(self._connection, request, future, ttl_ms)

    def publish(self, topic: str, value: object) -> None:
        """Publishes an event; the hub drops it if this peer may not."""
        with self._connection.speaking() as session:
            session.publish(topic, value, time.monotonic())

    def subscribe(self, topic: str, handler: Callable[[Any], None]) -> None:
        """Calls `handler(value)` on the connection's thread for every event of a topic that this
        peer was granted; it must be quick."""
        self._subscribers[topic] = handler

    def close(self) -> None:
        """Says bye and leaves; idempotent."""
        try:
            with self._connection.speaking() as session:
                session.bye("closed", time.monotonic())
        except BusError:
            return  # it ended before
        self._connection.close()

    def _on_event(self, event: Event) -> None:
        if self._calls.settle(event) or not isinstance(event, Published):
            return
        handler = self._subscribers.get(event.topic)
        if handler is None:
            return
        try:
            value = decode(event.body)
        except ProtocolError:
            return  # what another peer published is no reason to end this one
        handler(value)
