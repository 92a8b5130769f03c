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
only processes, sandboxes and sockets are missing. Everything happens on the calling thread, but a
call that streams: it has a thread of its own, which runs only while the test waits for it.
"""

import os
from collections.abc import Callable, Generator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import wire
from .ask import Ask
from .audience import Audience, unanswered
from .bodies import encode_body
from .codec import decode_arguments, encode
from .control import Control, LocalCall
from .errors import BusError
from .extension import Extension
from .fakecalls import FakeStream
from .grants import ANY, Grants
from .heard import Event
from .kernelcalls import KernelCall
from .listener import DeadLetter
from .memory import MemoryDatapath, MemoryPeer
from .messages import Activate, Hello, Progress
from .rehearsal import Rehearsal
from .standin import StandIn

ENDPOINT = "memory://extension"
TEST_ENDPOINT = "memory://test"
Provider = Callable[..., object]


class FakeConductor:
    """Runs one extension and calls it.

    `capabilities` are functions that stand in for what the extension calls, by capability; each
    gets the method's name and the arguments by name; what a generator yields are chunks, but for
    `Progress`. The extension may publish and subscribe to every topic; its handlers run once no
    call of it is open, as between its calls in a process. `inbox` and `outbox` are the extension's
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
        self.progress: list[Progress] = []

    def __enter__(self) -> "FakeConductor":
        self._folder = TemporaryDirectory(prefix="symphony-fake-")
        self.inbox = Path(self._folder.name, "inbox")
        self.outbox = Path(self._folder.name, "outbox")
        self.inbox.mkdir()
        self.outbox.mkdir()
        self._streams: dict[tuple[int, int], StandIn] = {}
        self._datapath = MemoryDatapath()
        self._datapath.start(
            lambda: None,
            heartbeat_ms=wire.HEARTBEAT_MS,
            liveness=wire.LIVENESS,
            grace_ms=wire.GRACE_MS,
        )
        self._control = Control(self._datapath, _Quiet(), self, wire.HEARTBEAT_MS, wire.LIVENESS)
        for capability in self._capabilities:
            self._control.serve(capability)
        provided = frozenset(self._extension.capabilities)
        everything = frozenset({ANY})
        grants = Grants(
            provides=provided,
            calls=frozenset(self._capabilities),
            publishes=everything,
            subscribes=everything,
        )
        link = self._link("extension", ENDPOINT, grants)
        self._rehearsal = Rehearsal(
            self._extension, link, inbox=self.inbox, outbox=self.outbox, pump=self._pump
        )
        grants = Grants(calls=everything, publishes=everything, subscribes=everything)
        link = self._link("test", TEST_ENDPOINT, grants)
        self._audience = Audience(link, self._pump)
        self._pump()
        done: list[object] = []
        activated = KernelCall("extension", None, done.append, done.append)
        self._control.activate(self._activation, 0, activated)
        self._pump()
        if done != [None]:
            self.__exit__()
            raise done[0] if done and isinstance(done[0], BusError) else unanswered()
        return self

    def __exit__(self, *_: object) -> None:
        self._rehearsal.end()
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
        type: Any = Any,  # noqa: A002 - as the clients name it
        idem: str | None = None,
        trace: str | None = None,
        **args: object,
    ) -> Any:
        """Calls the extension and returns its result; raises the BusError that it answered.

        `context` is the call's `$`: run, step, attempt, folder, params. A file is passed as
        `{"$file": PATH}` with PATH relative to the inbox (and the folder, if there is one).
        """
        calls = self._audience.calls
        ask = Ask(capability, method, args, ttl_ms, type, idem=idem, trace=trace)
        return calls.result(calls.start(self._ask(ask, context)))

    def stream(
        self,
        capability: str,
        method: str | None = None,
        /,
        *,
        credit: int = 16,
        ttl_ms: int = 0,
        context: Mapping[str, object] | None = None,
        trace: str | None = None,
        **args: object,
    ) -> "FakeStream":
        """As `call` for the chunks of the answer: iterate for them, then ask for the result."""
        calls = self._audience.calls
        ask = Ask(capability, method, args, ttl_ms, credit=credit, trace=trace)
        return FakeStream(calls, calls.start(self._ask(ask, context)), credit)

    def publish(self, topic: str, value: object, *, keep: bool = False) -> None:
        """Publishes an event."""
        self._audience.calls.publish(topic, value, keep=keep)

    def subscribe(self, topic: str, handler: Callable[[Event], None]) -> None:
        """Calls `handler(event)` for every event of a topic."""
        self._audience.subscribe(topic, handler)

    def unsubscribe(self, topic: str) -> None:
        """Ends a subscription."""
        self._audience.unsubscribe(topic)

    def _ask(self, ask: Ask, context: Mapping[str, object] | None) -> Ask:
        """The call with its context, its progress noted."""
        self.progress.clear()
        ask.on_progress = self.progress.append
        if context:
            ask.args = {**(ask.args or {}), wire.CONTEXT_KEY: dict(context)}
        return ask

    def _link(self, name: str, endpoint: str, grants: Grants) -> MemoryPeer:
        identity = os.urandom(wire.IDENTITY_BYTES)
        self._datapath.bind(endpoint)
        self._control.add(name, identity, grants)
        return self._datapath.connect(endpoint, identity)

    def _pump(self) -> None:
        """Moves messages and serves calls until nothing is left to do."""
        busy = True
        while busy:
            self._datapath.tick()
            upcalls = self._datapath.poll()
            for upcall in upcalls:
                self._control.handle(upcall)
            busy = self._rehearsal.turn() | self._audience.turn() | bool(upcalls)

    # -- what the extension calls (`control.LocalProvider`) -----------------------------------

    def begin(self, call: LocalCall) -> None:
        """Answers a call of the extension with the function that was given for it."""
        try:
            args = decode_arguments(call.body)
            value = self._capabilities[call.capability](call.method, **args)
            if isinstance(value, Generator):
                self._begin_stream(call, value)
                return
            self._control.answer(call, wire.RESULT, encode_body(value, "wrong-output"))
        except BusError as error:
            self._control.answer(call, wire.ERROR, encode(error.to_body()))

    def cancel(self, number: int, request: int) -> None:
        """Ends a stream; nothing else runs beside the caller."""
        stream = self._streams.pop((number, request), None)
        if stream is not None:
            stream.cancel()

    def credit(self, number: int, request: int, chunks: int) -> None:
        """Lets a stream go on."""
        stream = self._streams.get((number, request))
        if stream is not None and stream.give(chunks):
            del self._streams[number, request]

    def _begin_stream(self, call: LocalCall, parts: Generator[Any, None, Any]) -> None:
        stream = StandIn(parts, call.credit, partial(self._control.answer, call))
        if not stream.go():
            self._streams[call.number, call.request] = stream


class _Quiet:
    """A listener with nothing to do."""

    def registered(self, instance: str, hello: Hello) -> None:
        """The fake has two peers, and knows them."""

    def rejected(self, instance: str, reason: str) -> None:
        """Their hellos are our own."""

    def silent(self, instance: str) -> None:
        """Time does not pass between messages."""

    def left(self, instance: str, reason: str) -> None:
        """They never leave."""

    def overdue(self, instance: str) -> None:
        """There is no process to end."""

    def undelivered(self, letter: DeadLetter) -> None:
        """The test learns of it by its call's error."""

    def bus_ended(self, reason: str) -> None:
        """Nothing can end it."""
