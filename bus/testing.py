"""The fake for authors of extensions: a kernel in a few lines, in the process of the test.

>>> from symphony.bus.extension import Extension
>>> ext = Extension()
>>> @ext.provides("text.shout/1")
... def shout(ctx, text: str) -> str:
...     return text.upper()
>>> with FakeConductor(ext) as bus:
...     bus.call("text.shout/1", text="hello")
'HELLO'

The extension runs behind the real switch, control plane and codec, over the datapath in memory;
only processes, sandboxes and sockets are missing. Everything happens on the calling thread.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import wire
from .codec import decode_as, encode
from .control import Control, Grants, KernelCall, LocalCall
from .errors import BusError
from .extension import Extension
from .memory import MemoryDatapath
from .messages import Activate, Hello, Progress
from .session import Activated, Answered, Called, Event, Session, encode_body

ENDPOINT = "memory://extension"
Provider = Callable[..., object]


class FakeConductor:
    """Runs one extension and calls it.

    `capabilities` are functions that stand in for what the extension calls, by capability; each
    gets the method's name and the arguments by name. `inbox` and `outbox` are the extension's
    folders for as long as the block lasts; `progress` holds what the last call reported.
    """

    def __init__(
        self,
        extension: Extension,
        capabilities: Mapping[str, Provider] | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self._extension = extension
        self._capabilities = dict(capabilities or {})
        self._activation = Activate(dict(config or {}), dict(params or {}))
        self._answers: dict[int, Answered] = {}
        self.progress: list[Progress] = []

    def __enter__(self) -> "FakeConductor":
        self._folder = TemporaryDirectory(prefix="symphony-fake-")
        self.inbox = Path(self._folder.name, "inbox")
        self.outbox = Path(self._folder.name, "outbox")
        self.inbox.mkdir()
        self.outbox.mkdir()
        self._datapath = MemoryDatapath()
        self._datapath.start(lambda: None, heartbeat_ms=wire.HEARTBEAT_MS, liveness=wire.LIVENESS)
        self._control = Control(self._datapath, _Quiet(), self, wire.HEARTBEAT_MS, wire.LIVENESS)
        self._datapath.bind(ENDPOINT)
        identity = bytes(wire.IDENTITY_BYTES)
        grants = Grants(
            provides=frozenset(self._extension.capabilities),
            calls=frozenset(self._capabilities),
        )
        for capability in self._capabilities:
            self._control.serve(capability)
        self._control.add("extension", identity, grants)
        self._link = self._datapath.connect(ENDPOINT, identity)
        self._session = Session(time.monotonic(), self._extension.capabilities)
        self._pump()
        self._wait(lambda call: self._control.activate(self._activation, 0, call))
        return self

    def __exit__(self, *_: object) -> None:
        self._datapath.close()
        self._folder.cleanup()

    def call(
        self,
        capability: str,
        method: str | None = None,
        /,
        *,
        ttl_ms: int = 0,
        context: Mapping[str, object] | None = None,
        **args: object,
    ) -> Any:
        """Calls the extension and returns its result; raises the BusError that it answered.

        `context` is the call's `$`: run, step, attempt, folder, params. A file is passed as
        `{"$file": PATH}` with PATH relative to the inbox (and the folder, if there is one).
        """
        self.progress.clear()
        body = encode_body({**args, **({wire.CONTEXT_KEY: dict(context)} if context else {})})
        return self._wait(lambda call: self._control.call(capability, method, body, ttl_ms, call))

    def _wait(self, start: Callable[[KernelCall], object]) -> Any:
        results: list[object] = []
        errors: list[BusError] = []
        start(KernelCall("extension", None, results.append, errors.append, self.progress.append))
        self._pump()
        if errors:
            raise errors[0]
        if not results:
            raise BusError("internal", "the extension did not answer")
        return results[0]

    def _pump(self) -> None:
        """Moves messages and serves calls until nothing is left to do."""
        busy = True
        while busy:
            busy = False
            for upcall in self._datapath.poll():
                busy = True
                self._control.handle(upcall)
            while self._session.out:
                busy = True
                self._link.send(*self._session.out.pop(0))
            message = self._link.receive()
            if message is not None:
                busy = True
                event = self._session.receive(*message, time.monotonic())
                if event is not None:
                    self._on_event(event)

    # -- the extension's side -----------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Activated):
            self._extension.activate(event.message)
            self._session.answer(None, event.request, None, now)
        elif isinstance(event, Answered):
            self._answers[event.request] = event
        elif isinstance(event, Called):
            try:
                value = self._extension.serve(
                    event,
                    _CallBus(self, event),
                    inbox=self.inbox,
                    outbox=self.outbox,
                    cancel=threading.Event(),
                )
                self._session.answer(event.flow, event.request, value, now)
            except BusError as error:
                self._session.fail(event.flow, event.request, error, now)

    def report(self, called: Called, progress: Progress) -> None:
        """Sends progress of a running call."""
        self._session.progress(called.flow, called.request, progress, time.monotonic())
        self._pump()

    def request(
        self, capability: str, method: str | None, args: Mapping[str, object], ttl_ms: int
    ) -> Any:
        """Makes a call of the extension and waits for its answer."""
        request = self._session.call(capability, method, args, ttl_ms, time.monotonic())
        self._pump()
        answer = self._answers.pop(request)
        if answer.error is not None:
            raise answer.error
        return answer.value

    # -- what the extension calls (`control.LocalProvider`) -----------------------------------

    def begin(self, call: LocalCall) -> None:
        """Answers a call of the extension with the function that was given for it."""
        try:
            args = decode_as(call.body, dict[str, Any])
            value = self._capabilities[call.capability](call.method, **args)
            self._control.answer(call, wire.RESULT, encode(value))
        except BusError as error:
            self._control.answer(call, wire.ERROR, encode(error.to_body()))

    def cancel(self, number: int, request: int) -> None:
        """Nothing runs beside the caller, so there is nothing to cancel."""


class _CallBus:
    """What the running call does on the fake bus; see `context.CallBus`."""

    def __init__(self, fake: FakeConductor, called: Called) -> None:
        self._fake = fake
        self._called = called

    def progress(self, progress: Progress) -> None:
        self._fake.report(self._called, progress)

    def call(
        self, capability: str, method: str | None, args: Mapping[str, object], ttl_ms: int
    ) -> Any:
        return self._fake.request(capability, method, args, ttl_ms)


class _Quiet:
    """A listener with nothing to do."""

    def registered(self, instance: str, hello: Hello) -> None:
        """The fake has one instance, and knows it."""

    def rejected(self, instance: str, reason: str) -> None:
        """Its hello is our own."""

    def silent(self, instance: str) -> None:
        """Time does not pass between messages."""

    def left(self, instance: str, reason: str) -> None:
        """It never leaves."""

    def broken(self, report: str) -> None:
        """It shows where it breaks: on the caller's own thread."""
