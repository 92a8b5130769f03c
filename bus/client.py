"""The client for ordinary, blocking code; usable from several threads at once."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, overload

from . import wire
from .ask import Ask, OnProgress
from .backlog import Backlog
from .calls import Call, Calls, Stream
from .connection import Connection
from .dial import dial
from .errors import BusError
from .heard import Event, Heard
from .link import SocketLink
from .retry import Attempts, Retry
from .ticket import Ticket

__all__ = ["Call", "Client", "Event", "Retry", "Stream"]

T = TypeVar("T")
OnEvent = Callable[[Event], None]


class Client:
    """One peer that calls, publishes and listens to events."""

    def __init__(self, ticket: Ticket) -> None:
        """Joins the bus; raises BusError `unavailable` or `refused` if it cannot."""
        self._join(dial(ticket))

    @classmethod
    def over(cls, link: SocketLink) -> "Client":
        """Joins the bus over any transport; raises as above, and closes it then."""
        client = cls.__new__(cls)
        client._join(link)
        return client

    def _join(self, link: SocketLink) -> None:
        self._calls = Calls()
        self._handlers: dict[str, OnEvent] = {}
        self._backlog = Backlog(wire.MAX_QUEUED)
        self._connection = Connection(
            link, (), on_heard=self._on_heard, on_end=self._calls.fail_all
        )
        self._connection.join()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @overload
    def call(
        self,
        capability: str,
        method: str | None = None,
        args: Mapping[str, object] | None = None,
        *,
        type: type[T],
        ttl_ms: int = 0,
        on_progress: OnProgress | None = None,
        idem: str | None = None,
        trace: str | None = None,
        retry: Retry | None = None,
    ) -> T: ...

    @overload
    def call(
        self,
        capability: str,
        method: str | None = None,
        args: Mapping[str, object] | None = None,
        *,
        type: Any = Any,
        ttl_ms: int = 0,
        on_progress: OnProgress | None = None,
        idem: str | None = None,
        trace: str | None = None,
        retry: Retry | None = None,
    ) -> Any: ...

    def call(
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
        is not of the type. `idem` is an idempotency key, at most 128 characters; `trace` a W3C
        `traceparent`, a new one if not given; `on_progress` runs on the connection's thread. With
        `retry`, an error that the hub calls repeatable leads to another attempt within `ttl_ms`.
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
            return self._calls.start(self._connection, ask).result()
        attempts = Attempts(retry, ttl_ms)
        while True:
            ask.ttl_ms = attempts.ttl_ms
            try:
                return self._calls.start(self._connection, ask).result()
            except BusError as error:
                time.sleep(attempts.pause_s(error))

    def start_call(
        self,
        capability: str,
        method: str | None = None,
        args: Mapping[str, object] | None = None,
        *,
        type: Any = Any,  # noqa: A002 - as in `call`
        ttl_ms: int = 0,
        on_progress: OnProgress | None = None,
        idem: str | None = None,
        trace: str | None = None,
    ) -> Call[Any]:
        """As `call`, without waiting for the answer."""
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
        return self._calls.start(self._connection, ask)

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
    ) -> Stream[Any]:
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
        call = self._calls.start(self._connection, ask)
        return Stream(call, credit)

    def publish(self, topic: str, value: object, *, keep: bool = False) -> None:
        """Publishes an event; the hub drops it if this peer may not.

        With `keep`, the hub sends it to later subscribers as well, until there is a newer one.
        """
        with self._connection as session:
            session.asking.publish(topic, value, time.monotonic(), keep=keep)

    def subscribe(self, topic: str, handler: OnEvent) -> None:
        """Calls `handler(event)` on the connection's thread for every event of a topic; it must be
        quick and make no calls: those that come while very many wait are dropped, and the next
        one's `gap` counts them. Raises BusError `refused` if this peer was not granted the topic.
        """
        self._handlers[topic] = handler
        try:
            self._calls.subscribe(self._connection, topic, begin=True).result()
        except BusError:
            del self._handlers[topic]
            raise

    def unsubscribe(self, topic: str) -> None:
        """Ends a subscription."""
        self._calls.subscribe(self._connection, topic, begin=False).result()
        self._handlers.pop(topic, None)

    def close(self) -> None:
        """Says bye and leaves; idempotent."""
        try:
            with self._connection as session:
                session.bye("closed", time.monotonic())
        except BusError:
            return  # it ended before
        self._connection.close()

    def _on_heard(self, heard: Heard) -> None:
        if isinstance(heard, Event):
            handler = self._handlers.get(heard.topic)
            event = None if handler is None else self._backlog.admit(heard)
            if handler is not None and event is not None:
                self._connection.later(partial(self._tell, handler, event))
        else:
            self._calls.settle(heard)

    def _tell(self, handler: OnEvent, event: Event) -> None:
        self._backlog.take()
        handler(event)
