"""The fake's extension: what `worker` does in a process, on the thread of the test."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .aside import Aside
from .context import Cancelled, Interest
from .errors import BusError
from .extension import Extension
from .heard import Activated, Answered, Called, CancelAsked, CreditGiven, Heard
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
        self._interests: dict[Key, Interest] = {}
        self._asides: dict[Key, Aside] = {}

    def turn(self) -> bool:
        """Sends what is to be sent, handles one message; whether there was anything to do."""
        busy = bool(self.session.out)
        while self.session.out:
            self._link.send(*self.session.out.pop(0))
        message = self._link.receive()
        if message is None:
            return busy
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
            self._extension.activate(heard.message)
            self.session.serving.answer(None, heard.request, None, time.monotonic())
        elif isinstance(heard, Answered):
            self._answers[heard.request] = heard
        elif isinstance(heard, Called):
            self._begin(heard)
        elif isinstance(heard, CancelAsked):
            self._interests[heard.flow, heard.request].end()
            self._resume((heard.flow, heard.request))
        elif isinstance(heard, CreditGiven):
            self._resume((heard.flow, heard.request))

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
            del self._interests[key]
            self._asides.pop(key, None)

    def answer(self, request: int) -> Answered | None:
        """The answer to a call of the extension, once."""
        return self._answers.pop(request, None)


class _CallBus:
    """What the running call does on the fake bus; see `context.CallBus`."""

    def __init__(
        self, rehearsal: Rehearsal, called: Called, interest: Interest, aside: Aside | None
    ) -> None:
        self._rehearsal = rehearsal
        self._called = called
        self._aside = aside
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
    ) -> Any:
        now, options = time.monotonic(), {"trace": trace}
        request = self._rehearsal.session.asking.call(
            capability, method, args, ttl_ms, now, options=options
        )
        self._rehearsal.pump()
        answer = self._rehearsal.answer(request)
        if answer is None:
            raise BusError("deadline", "the call was not answered in time")
        if answer.error is not None:
            raise answer.error
        return answer.value
