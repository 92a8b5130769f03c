"""The process of an extension: calls run one at a time on the main thread, the bus on its own.

The connection's thread goes on beating while a call runs, but stops when a call has overrun its
deadline for a whole liveness window: then the process counts as hung and the kernel ends it. When
the bus is lost the process ends, with force if a call does not stop.
"""

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from . import wire
from .calls import OpenCalls
from .connection import Connection
from .context import Log
from .errors import BusError
from .messages import Progress
from .session import Activated, Called, CancelAsked, Event, UnloadAsked
from .ticket import Ticket

if TYPE_CHECKING:
    from .extension import Extension

OVERRUN_S: Final = wire.HEARTBEAT_MS * wire.LIVENESS / 1000
FORCE_S: Final = 1.0  # what a running call gets to stop when the bus is lost
EXIT_LOST: Final = 1
EXIT_NO_TICKET: Final = 2
EXIT_TERMINATED: Final = 128 + signal.SIGTERM


class _Lost:
    """Marks the end of the bus in the queue of work."""


def work(extension: "Extension", environ: Mapping[str, str]) -> int:
    """Serves until told to leave; returns the exit code."""
    log = Log()
    try:
        ticket = Ticket.load(environ)
        worker = _Worker(extension, ticket)
    except BusError as error:
        log.error("cannot join the bus", reason=str(error), help=error.help)  # noqa: TRY400 - ours
        return EXIT_NO_TICKET if error.code == "bad-request" else EXIT_LOST
    return worker.run(log)


class _Worker:
    def __init__(self, extension: "Extension", ticket: Ticket) -> None:
        self._extension = extension
        self._inbox = Path(ticket.inbox or ".")
        self._outbox = Path(ticket.outbox or ".")
        self._queue: SimpleQueue[Called | Activated | UnloadAsked | _Lost] = SimpleQueue()
        self._cancels: dict[tuple[int, int], threading.Event] = {}
        self._calls = OpenCalls()
        self._running: Called | None = None
        self._leaving = threading.Event()
        self._reason: BusError | None = None
        self._connection = Connection(
            ticket,
            extension.capabilities,
            on_event=self._on_event,
            on_end=self._on_end,
            may_beat=self._may_beat,
        )

    def run(self, log: Log) -> int:
        signal.signal(signal.SIGTERM, _terminate)
        reason = "terminated"
        try:
            self._connection.join()
            while True:
                item = self._queue.get()
                if isinstance(item, Called):
                    self._serve(item)
                elif isinstance(item, Activated):
                    self._activate(item)
                elif isinstance(item, UnloadAsked):
                    reason = "unload"
                    return 0
                else:
                    break
        except BusError as error:
            self._reason = error
        finally:
            self._leave(reason)
        log.error("the bus is lost", reason=str(self._reason))
        return EXIT_LOST

    def _leave(self, reason: str) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._leaving.set()
        try:
            with self._connection.speaking() as session:
                session.bye(reason, time.monotonic())
        except BusError:
            return  # there is nobody to say it to
        self._connection.close()

    def _serve(self, called: Called) -> None:
        cancel = self._cancels[called.flow, called.request]
        self._running = called
        error: BusError | None = None
        value: object = None
        try:
            value = self._extension.serve(
                called,
                _CallBus(self._connection, self._calls, called),
                inbox=self._inbox,
                outbox=self._outbox,
                cancel=cancel,
            )
        except BusError as raised:
            error = raised
        finally:
            self._running = None
            self._cancels.pop((called.flow, called.request), None)
        now = time.monotonic()
        with self._connection.speaking() as session:
            if error is None:
                try:
                    session.answer(called.flow, called.request, value, now)
                except BusError as raised:
                    error = raised
            if error is not None:
                session.fail(called.flow, called.request, error, now)

    def _activate(self, activated: Activated) -> None:
        self._extension.activate(activated.message)
        with self._connection.speaking() as session:
            session.answer(None, activated.request, None, time.monotonic())

    # -- on the connection's thread -----------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Called):
            self._cancels[event.flow, event.request] = threading.Event()
            self._queue.put(event)
        elif isinstance(event, CancelAsked):
            cancel = self._cancels.get((event.flow, event.request))
            if cancel is not None:
                cancel.set()
        elif isinstance(event, Activated | UnloadAsked):
            self._queue.put(event)
        else:
            self._calls.settle(event)

    def _on_end(self, reason: BusError) -> None:
        self._reason = reason
        self._calls.fail_all(reason)
        for cancel in list(self._cancels.values()):
            cancel.set()
        self._queue.put(_Lost())
        if not self._leaving.wait(FORCE_S):
            os._exit(EXIT_LOST)

    def _may_beat(self) -> bool:
        running = self._running
        if running is None or running.deadline is None:
            return True
        return time.monotonic() < running.deadline + OVERRUN_S


class _CallBus:
    """What the running call does on the bus; see `context.CallBus`."""

    def __init__(self, connection: Connection, calls: OpenCalls, called: Called) -> None:
        self._connection = connection
        self._calls = calls
        self._called = called

    def progress(self, progress: Progress) -> None:
        called = self._called
        with self._connection.speaking() as session:
            session.progress(called.flow, called.request, progress, time.monotonic())

    def call(
        self, capability: str, method: str | None, args: Mapping[str, object], ttl_ms: int
    ) -> Any:
        with self._connection.speaking() as session:
            _, future = self._calls.start(
                session, capability, method, args, ttl_ms=ttl_ms, now=time.monotonic()
            )
        try:
            return future.result(ttl_ms / 1000 + 1 if ttl_ms else None)
        except TimeoutError:
            raise BusError("deadline", "the call was not answered in time") from None


def _terminate(*_: object) -> None:
    raise SystemExit(EXIT_TERMINATED)
