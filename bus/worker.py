"""The process of an extension: calls run one at a time on the main thread, the bus on its own.

Calls that wait are served in turn, flow by flow, so that nobody waits for all that another has
asked. For that the main thread looks now and then what else has come while it has enough to do.
A call for whose arguments there is no room, or that is cancelled while it waits, is answered at
once. Events take their turn as one flow does; activation goes before all that waits, and an unload
comes after what waited when it came.

The connection's thread goes on beating while a call runs, but stops when a call has overrun its
deadline for a whole liveness window: then the process counts as hung and the kernel ends it. When
the bus is lost the process ends, with force if a call does not stop.
"""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import wire
from .ask import Ask
from .backlog import Backlog
from .calls import Call, Calls, Stream
from .connection import Connection
from .context import Cancelled, Interest, Log
from .dial import dial
from .errors import BusError
from .heard import (
    Activated,
    Called,
    CancelAsked,
    CreditGiven,
    Event,
    Heard,
    Rejoined,
    UnloadAsked,
)
from .messages import Progress
from .room import Room
from .ticket import Ticket
from .turns import Turns

if TYPE_CHECKING:
    from .extension import Extension

OVERRUN_S: Final = wire.HEARTBEAT_MS * wire.LIVENESS / 1000
FORCE_S: Final = 1.0  # what a running call gets to stop when the bus is lost
EXIT_LOST: Final = 1
EXIT_NO_TICKET: Final = 2
EXIT_TERMINATED: Final = 128 + signal.SIGTERM

LOOK_S: Final = 0.001  # how often what has come is read while calls are served
WAITING_BYTES: Final = wire.MAX_QUEUED_BYTES  # of the arguments of calls that wait
_LARGE: Final = 4_096  # bytes from which they count; their number bounds the others
_EVENTS: Final = 0  # their lane; those of calls are flows


class _Lost:
    """Marks the end of the bus among what has arrived."""


Work = Called | Event | Activated | UnloadAsked | _Lost


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
        self._arrived: deque[Work] = deque()  # in which order; for any thread
        self._turns: Turns[Work] = Turns()
        self._room = Room(WAITING_BYTES)
        self._look_at = 0.0
        self._backlog = Backlog()
        self._topics: set[str] = set()  # those subscribed to
        self._calls = Calls()
        self._running: _Running | None = None
        self._lost: set[tuple[int, int]] = set()  # open calls whose answer nobody wants any more
        self._leaving = threading.Event()
        self._reason: BusError | None = None
        self._connection = Connection(
            dial(ticket),
            extension.capabilities,
            on_heard=self._on_heard,
            on_end=self._on_end,
            may_beat=self._may_beat,
        )

    def run(self, log: Log) -> int:
        signal.signal(signal.SIGTERM, _terminate)
        reason = "terminated"
        try:
            self._connection.join()
            arrived, take = self._arrived, self._turns.take
            while True:
                if arrived:
                    self._line_up()
                try:
                    item = take()
                except IndexError:
                    self._connection.wait(arrived.__len__)
                    continue
                if isinstance(item, Called):
                    self._serve(item)
                elif isinstance(item, Event):
                    self._backlog.take()
                    self._extension.hear(item)
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

    def _line_up(self) -> None:
        """Gives all that has arrived a place."""
        arrived, turns = self._arrived, self._turns
        while arrived:
            item = arrived.popleft()
            if isinstance(item, Called):
                turns.put(item.flow, item)
            elif isinstance(item, Event):
                turns.put(_EVENTS, item)
            elif isinstance(item, UnloadAsked):
                turns.put_last(item)
            else:
                turns.put_first(item)

    def _leave(self, reason: str) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._leaving.set()
        try:
            with self._connection as session:
                session.bye(reason, time.monotonic())
        except BusError:
            return  # there is nobody to say it to
        self._connection.close()

    def _serve(self, called: Called) -> None:
        key = called.flow, called.request
        if len(called.body) >= _LARGE:
            self._room.leave(called.flow, len(called.body))
        running = self._running = _Running(self._connection, self._calls, called)
        if key in self._lost or self._reason is not None:  # looked at after it is known to run
            self._running = None
            self._refuse(called.flow, called.request, Cancelled())
            self._lost.discard(key)
            return
        error: BusError | None = None
        value: object = None
        try:
            value = self._extension.serve(
                called, running, inbox=self._inbox, outbox=self._outbox, interest=running
            )
        except BusError as raised:
            error = raised
        finally:
            self._running = None
            if running.streams:
                running.leave()
        with self._connection as session:
            if key in self._lost:
                self._lost.discard(key)
                if not session.serving.is_open(*key):
                    return  # it was cancelled just when it had run, and answered for that
            now = time.monotonic()
            if error is None:
                try:
                    session.serving.answer(called.flow, called.request, value, now)
                except BusError as raised:
                    error = raised
            if error is not None:
                session.serving.fail(called.flow, called.request, error, now)
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._connection.hear()

    def _refuse(self, flow: int, request: int, error: BusError) -> None:
        """Ends a call that does not run with an error, if it has not ended."""
        running = self._running
        if running is not None and running.is_call(flow, request):
            return  # it ends by itself
        with suppress(BusError), self._connection as session:  # or there is nobody to say it to
            if session.serving.is_open(flow, request):
                session.serving.fail(flow, request, error, time.monotonic())

    def _turn_away(self, flow: int, request: int) -> None:
        """Ends a call that there was no room for."""
        self._refuse(flow, request, _no_room())
        self._lost.discard((flow, request))

    def _activate(self, activated: Activated) -> None:
        self._extension.activate(activated.message)
        error = self._subscribe()
        with self._connection as session:
            now = time.monotonic()
            if error is None:
                session.serving.answer(None, activated.request, None, now)
            else:
                session.serving.fail(None, activated.request, error, now)

    def _subscribe(self) -> BusError | None:
        """Asks for the events that the extension listens to; why one topic's cannot be had."""
        for topic in self._extension.topics:
            if topic in self._topics:
                continue
            try:
                self._calls.subscribe(self._connection, topic, begin=True).result()
            except BusError as error:
                Log().error("cannot subscribe", topic=topic, reason=str(error), help=error.help)
                return error
            self._topics.add(topic)
        return None

    # -- under the connection's lock ----------------------------------------------------------

    def _on_heard(self, heard: Heard) -> None:
        if isinstance(heard, Called):
            if len(heard.body) < _LARGE or self._room.admit(heard.flow, len(heard.body)):
                self._arrived.append(heard)
            else:
                self._connection.later(partial(self._turn_away, heard.flow, heard.request))
        elif isinstance(heard, Event):
            event = self._backlog.admit(heard)
            if event is not None:
                self._arrived.append(event)
        elif isinstance(heard, Activated | UnloadAsked):
            self._arrived.append(heard)
        elif isinstance(heard, CancelAsked):
            self._lose(heard)
        elif not isinstance(heard, CreditGiven):
            self._calls.settle(heard)
            if isinstance(heard, Rejoined):
                for lost in heard.lost:
                    self._lose(lost)

    def _lose(self, asked: CancelAsked) -> None:
        self._lost.add((asked.flow, asked.request))
        running = self._running
        if running is not None and running.is_call(asked.flow, asked.request):
            running.end()
        else:
            refuse = partial(self._refuse, asked.flow, asked.request, Cancelled())
            self._connection.later(refuse)

    def _on_end(self, reason: BusError) -> None:
        self._reason = reason
        self._calls.fail_all(reason)
        running = self._running
        if running is not None:
            running.end()
        self._arrived.append(_Lost())
        self._connection.later(self._force)

    def _force(self) -> None:
        if not self._leaving.wait(FORCE_S):
            os._exit(EXIT_LOST)

    def _may_beat(self) -> bool:
        running = self._running
        deadline = None if running is None else running.deadline
        return deadline is None or time.monotonic() < deadline + OVERRUN_S


class _Running(Interest):
    """The call that runs: whether its answer is wanted, and what it does on the bus; see
    `context.CallBus`."""

    __slots__ = ("_called", "_calls", "_connection", "deadline", "streams")

    def __init__(self, connection: Connection, calls: Calls, called: Called) -> None:
        self.cancelled = False
        self._ended = None
        self._connection = connection
        self._calls = calls
        self._called = called
        self.streams: list[Call[Any]] = []  # that the call opened
        self.deadline = called.deadline

    def is_call(self, flow: int, request: int) -> bool:
        """Whether this is the call."""
        return self._called.flow == flow and self._called.request == request

    def progress(self, progress: Progress) -> None:
        called = self._called
        with self._connection as session:
            session.serving.progress(called.flow, called.request, progress, time.monotonic())

    def chunk(self, value: object) -> None:
        called = self._called
        key = called.flow, called.request
        with self._connection as session:
            serving = session.serving
            sent = serving.chunk(*key, value, time.monotonic())
        while not sent:
            late_s = None if called.deadline is None else called.deadline - time.monotonic()
            self._connection.wait(lambda: serving.has_credit(*key) or self.cancelled, late_s)
            if self.cancelled or (late_s is not None and late_s <= 0):
                raise Cancelled(late=not self.cancelled)
            with self._connection as session:
                sent = serving.chunk(*key, value, time.monotonic())

    def call(self, ask: Ask) -> Any:
        call = self._calls.start(self._connection, ask, self._unwanted)
        try:
            return call.result()
        finally:
            if not call.done:  # its progress led to an exception
                call.abandon(_left())

    def stream(self, ask: Ask) -> Stream[Any]:
        call = self._calls.start(self._connection, ask, self._unwanted)
        self.streams = [stream for stream in self.streams if not stream.done]
        self.streams.append(call)
        return Stream(call, ask.credit or 1)

    def publish(self, topic: str, value: object, *, keep: bool) -> None:
        with self._connection as session:
            session.asking.publish(topic, value, time.monotonic(), keep=keep)

    def leave(self) -> None:
        """Ends the streams that the call has left open."""
        for stream in self.streams:
            stream.abandon(_left())

    def _unwanted(self) -> BusError | None:
        if self.cancelled:
            return Cancelled()
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return Cancelled(late=True) if late else None


def _left() -> BusError:
    return BusError("cancelled", "the call was left")


def _no_room() -> BusError:
    return BusError(
        "overloaded",
        "too many calls with large arguments wait for this provider",
        where="arguments that wait",
        retry_after_ms=wire.RETRY_MS,
        repeatable=True,
    )


def _terminate(*_: object) -> None:
    raise SystemExit(EXIT_TERMINATED)
