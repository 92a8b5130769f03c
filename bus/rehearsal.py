"""The fake's extension: what `worker` does in a process, on the thread of the test."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import wire
from .aside import Aside
from .audience import FakeStream
from .backlog import Backlog
from .calls import OnProgress
from .context import Cancelled, Interest
from .errors import BusError
from .extension import Extension
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
        self._answers: dict[int, Answered] = {}
        self._chunks: dict[int, deque[Any]] = {}
        self._hearing: dict[int, OnProgress] = {}  # the progress of its calls
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
        elif isinstance(heard, Answered):
            self._answers[heard.request] = heard
            self._settle()
        elif isinstance(heard, Chunked):
            self._chunks[heard.request].append(heard.value)
        elif isinstance(heard, Progressed):
            if heard.request in self._hearing:
                self._hearing[heard.request](heard.progress)
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
        asking, now = self.session.asking, time.monotonic()
        self._activated = activated
        self._subscribing = [asking.subscribe(topic, now) for topic in self._extension.topics]
        self._settle()

    def _settle(self) -> None:
        """Answers the activation once it is known whether all topics can be had."""
        answers = [self._answers.get(request) for request in self._subscribing]
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

    # -- what the extension calls (`audience.Caller`) ------------------------------------------

    def ask(
        self,
        capability: str,
        method: str | None,
        args: Mapping[str, object],
        ttl_ms: int,
        options: Mapping[str, object],
        *,
        type: Any,  # noqa: A002 - as the clients name it
        chunk_type: Any = Any,
        on_progress: OnProgress | None,
    ) -> int:
        """Makes a call of the extension; returns its request number."""
        request = self.session.asking.call(
            capability,
            method,
            args,
            ttl_ms,
            time.monotonic(),
            options=options,
            type=type,
            chunk_type=chunk_type,
        )
        self._chunks[request] = deque()
        if on_progress is not None:
            self._hearing[request] = on_progress
        self.pump()
        return request

    def answer(self, request: int) -> Any:
        """The result of a call of the extension; raises the BusError that ended it."""
        answer = self._answers.get(request)
        if answer is None:
            raise BusError("deadline", "the call was not answered in time")
        if answer.error is not None:
            raise answer.error
        return answer.value

    def chunks(self, request: int) -> deque[Any]:
        """What has come of a stream and was not taken."""
        return self._chunks[request]

    def give(self, request: int, chunks: int) -> None:
        """Lets a stream go on by so many chunks."""
        self.session.asking.credit(request, chunks, time.monotonic())
        self.pump()

    def cancel(self, request: int) -> None:
        """Asks for the end of a call."""
        self.session.asking.cancel(request, time.monotonic())
        self.pump()

    def publish(self, topic: str, value: object, *, keep: bool) -> None:
        """Publishes an event."""
        self.session.asking.publish(topic, value, time.monotonic(), keep=keep)
        self.pump()


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

    def call(
        self,
        capability: str,
        method: str | None,
        args: Mapping[str, object],
        *,
        ttl_ms: int,
        trace: str,
        type: Any,  # noqa: A002 - as the clients name it
        idem: str | None,
        on_progress: OnProgress | None,
    ) -> Any:
        options = {wire.TRACE_OPTION: trace}
        if idem is not None:
            options[wire.IDEM_OPTION] = idem
        rehearsal = self._rehearsal
        request = rehearsal.ask(
            capability, method, args, ttl_ms, options, type=type, on_progress=on_progress
        )
        return rehearsal.answer(request)

    def stream(
        self,
        capability: str,
        method: str | None,
        args: Mapping[str, object],
        *,
        credit: int,
        ttl_ms: int,
        trace: str,
        type: Any,  # noqa: A002 - as the clients name it
        chunk_type: Any,
        on_progress: OnProgress | None,
    ) -> FakeStream:
        options = {wire.TRACE_OPTION: trace, wire.STREAM_OPTION: credit}
        rehearsal = self._rehearsal
        request = rehearsal.ask(
            capability,
            method,
            args,
            ttl_ms,
            options,
            type=type,
            chunk_type=chunk_type,
            on_progress=on_progress,
        )
        self._streams.append(FakeStream(rehearsal, request, credit))
        return self._streams[-1]

    def publish(self, topic: str, value: object, *, keep: bool) -> None:
        self._rehearsal.publish(topic, value, keep=keep)

    def leave(self) -> None:
        """Ends the streams that the call has left open."""
        for stream in self._streams:
            stream.cancel()
