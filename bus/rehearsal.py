"""The fake's extension: what `worker` does in a process, on the thread of the test."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .aside import Aside
from .ask import Ask
from .backlog import Backlog
from .context import Cancelled, Interest
from .errors import BusError
from .extension import Extension
from .fakecalls import FakeCalls, FakeStream
from .heard import (
    Activated,
    Answered,
    Called,
    CancelAsked,
    Chunked,
    CreditGiven,
    Event,
    Heard,
    Progressed,
)
from .memory import MemoryPeer
from .messages import Progress
from .session import Session

Key = tuple[int, int]  # flow, request


class Rehearsal:
    """One extension on the bus. `pump` moves messages until nothing is left to do."""

    def __init__(
        self,
        extension: Extension,
        link: MemoryPeer,
        *,
        inbox: Path,
        outbox: Path,
        pump: Callable[[], None],
    ) -> None:
        self._extension = extension
        self._link = link
        self._inbox = inbox
        self._outbox = outbox
        self.pump = pump
        self.session = Session(time.monotonic(), extension.capabilities)
        self.calls = FakeCalls(self.session.asking, pump, _unanswered)
        self._backlog = Backlog()
        self._events: deque[Event] = deque()
        self._activated: Activated | None = None  # until it is answered
        self._subscribing: list[int] = []
        self._interests: dict[Key, Interest] = {}
        self._asides: dict[Key, Aside] = {}

    def turn(self) -> bool:
        """Sends what is to be sent, handles one message; whether there was anything to do."""
        busy = bool(self.session.out)
        while self.session.out:
            self._link.send(*self.session.out.pop(0))
        message = self._link.receive()
        if message is None:
            return self._hear() or busy
        heard = self.session.receive(*message, time.monotonic())
        if heard is not None:
            self._on_heard(heard)
        return True

    def end(self) -> None:
        """Ends the streams that nobody read to their end."""
        for key, aside in list(self._asides.items()):
            self._interests[key].end()
            while key in self._asides:
                aside.resume()

    def _on_heard(self, heard: Heard) -> None:
        if isinstance(heard, Activated):
            self._activate(heard)
        elif isinstance(heard, Answered | Chunked | Progressed):
            self.calls.settle(heard)
            self._settle()
        elif isinstance(heard, Event):
            event = self._backlog.admit(heard)
            if event is not None:
                self._events.append(event)
        elif isinstance(heard, Called):
            self._begin(heard)
        elif isinstance(heard, CancelAsked):
            self._interests[heard.flow, heard.request].end()
            self._resume((heard.flow, heard.request))
        elif isinstance(heard, CreditGiven):
            self._resume((heard.flow, heard.request))

    def _activate(self, activated: Activated) -> None:
        self._extension.activate(activated.message)
        topics = self._extension.topics
        try:
            self._subscribing = [self.calls.subscribe(topic, begin=True) for topic in topics]
        except BusError as error:  # one is no topic
            self.session.serving.fail(None, activated.request, error, time.monotonic())
            return
        self._activated = activated
        self._settle()

    def _settle(self) -> None:
        """Answers the activation once it is known whether all topics can be had."""
        answers = [self.calls.answered(request) for request in self._subscribing]
        if self._activated is None or None in answers:
            return
        request, self._activated = self._activated.request, None
        errors = [answer.error for answer in answers if answer and answer.error]
        serving, now = self.session.serving, time.monotonic()
        if errors:
            serving.fail(None, request, errors[0], now)
        else:
            serving.answer(None, request, None, now)

    def _hear(self) -> bool:
        """Handles an event if no call runs; whether there was one."""
        if not self._events or self._interests:
            return False
        event = self._events.popleft()
        self._backlog.take()
        self._extension.hear(event)
        return True

    def _begin(self, called: Called) -> None:
        key = called.flow, called.request
        self._interests[key] = Interest()
        if called.streaming:
            self._asides[key] = Aside(lambda: self._serve(called))
            self._resume(key)
        else:
            self._serve(called)

    def _resume(self, key: Key) -> None:
        aside = self._asides.get(key)
        if aside is not None and aside.waits:
            aside.resume()

    def _serve(self, called: Called) -> None:
        key = called.flow, called.request
        serving = self.session.serving
        bus = _CallBus(self, called, self._interests[key], self._asides.get(key))
        try:
            value = self._extension.serve(
                called, bus, inbox=self._inbox, outbox=self._outbox, interest=bus.interest
            )
            serving.answer(*key, value, time.monotonic())
        except BusError as error:
            serving.fail(*key, error, time.monotonic())
        finally:
            bus.leave()
            del self._interests[key]
            self._asides.pop(key, None)


class _CallBus:
    """What the running call does on the fake bus; see `context.CallBus`."""

    def __init__(
        self, rehearsal: Rehearsal, called: Called, interest: Interest, aside: Aside | None
    ) -> None:
        self._rehearsal = rehearsal
        self._called = called
        self._aside = aside
        self._streams: list[FakeStream] = []
        self.interest = interest

    def progress(self, progress: Progress) -> None:
        called, now = self._called, time.monotonic()
        self._rehearsal.session.serving.progress(called.flow, called.request, progress, now)
        self._rehearsal.pump()

    def chunk(self, value: object) -> None:
        key = self._called.flow, self._called.request
        serving = self._rehearsal.session.serving
        while not serving.chunk(*key, value, time.monotonic()):
            if self._aside is not None:
                self._aside.pause()
            if self.interest.cancelled:
                raise Cancelled

    def call(self, ask: Ask) -> Any:
        calls = self._rehearsal.calls
        return calls.result(calls.start(ask))

    def stream(self, ask: Ask) -> FakeStream:
        calls = self._rehearsal.calls
        self._streams.append(FakeStream(calls, calls.start(ask), ask.credit or 1))
        return self._streams[-1]

    def publish(self, topic: str, value: object, *, keep: bool) -> None:
        self._rehearsal.calls.publish(topic, value, keep=keep)

    def leave(self) -> None:
        """Ends the streams that the call has left open."""
        for stream in self._streams:
            stream.cancel()


def _unanswered() -> BusError:
    return BusError("deadline", "the call was not answered in time")
