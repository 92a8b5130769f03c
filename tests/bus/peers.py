"""Both ends of the bus for the conformance suite of peers: hubs, providers, clients of each kind.

Whatever the client, a test uses the `Caller` protocol; whatever the hub, the extension `CODE`.
"""

import asyncio
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import msgspec

from symphony.bus.aio import AsyncClient
from symphony.bus.client import Client
from symphony.bus.datapath import Datapath
from symphony.bus.dealer import Dealer
from symphony.bus.extension import Extension
from symphony.bus.heard import Event
from symphony.bus.hub import DeadLetter, Grants, Hub, Limit
from symphony.bus.link import Message
from symphony.bus.memory import MemoryDatapath, MemoryPeer
from symphony.bus.messages import Hello
from symphony.bus.native import MODULE, NativeDatapath
from symphony.bus.nativedealer import NativeDealer
from symphony.bus.reference import ReferenceDatapath
from symphony.bus.rehearsal import Rehearsal
from symphony.bus.retry import Retry
from symphony.bus.testing import FakeConductor
from symphony.bus.ticket import Ticket

LIMIT_S = 20.0
CAPABILITY = "test.peer/1"
LIMITED = "test.limited/1"
TOPIC = "test.topic"
T = TypeVar("T")
CODE = """
from pathlib import Path
from symphony.bus.extension import Extension

ext = Extension()
counts = {"times": 0, "yielded": 0, "left": 0}

@ext.provides("test.peer/1")
def echo(ctx, **args):
    return args

@ext.provides("test.limited/1")
def limited(ctx) -> str:
    return "done"

@ext.provides("test.peer/1", "raises")
def raises(ctx):
    raise ValueError("no good")

@ext.provides("test.peer/1", "wait")
def wait(ctx):
    while True:
        ctx.wait(0.002)

@ext.provides("test.peer/1", "count")
def count(ctx) -> dict:
    counts["times"] += 1
    return counts

@ext.provides("test.peer/1", "parts")
def parts(ctx, number: int):
    try:
        for n in range(number):
            counts["yielded"] += 1
            yield n
    finally:
        counts["left"] += 1
    return "all"

@ext.provides("test.peer/1", "chunks")
def chunks(ctx, number: int) -> bool:
    for n in range(number):
        ctx.chunk(n)
    return ctx.streaming

@ext.provides("test.peer/1", "breaks")
def breaks(ctx):
    yield 1
    raise ValueError("broken off")

@ext.provides("test.peer/1", "trace")
def trace(ctx) -> str:
    return ctx.trace

@ext.provides("test.peer/1", "gate")
def gate(ctx, started: str, go: str) -> int:
    Path(started).touch()
    while not Path(go).exists():
        ctx.wait(0.002)
    counts["times"] += 1
    return counts["times"]
"""


class Stream(Protocol):
    """An open stream; `leave` is what the end of its `with` block does."""

    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...
    def result(self) -> Any: ...
    def cancel(self) -> None: ...
    def leave(self) -> None: ...


class Caller(Protocol):
    """A client of any kind, which calls CAPABILITY."""

    def call(self, method: str | None = None, /, **more: Any) -> Any: ...
    def stream(self, method: str, args: dict[str, Any], credit: int) -> Stream: ...
    def subscribe(self, topic: str) -> "SimpleQueue[Event]": ...
    def unsubscribe(self, topic: str) -> None: ...
    def publish(self, topic: str, value: object, *, keep: bool = False) -> None: ...


class SyncStream:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.result = stream.result
        self.cancel = stream.cancel

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._stream)

    def leave(self) -> None:
        self._stream.__exit__(None, None, None)


class SyncCaller:
    def __init__(self, client: Client) -> None:
        self.client = client
        self.publish = client.publish
        self.unsubscribe = client.unsubscribe

    def call(self, method: str | None = None, /, **more: Any) -> Any:
        capability = more.pop("capability", CAPABILITY)
        return self.client.call(capability, method, more.pop("args", None), **more)

    def start_and_cancel(self, method: str) -> Any:
        call = self.client.start_call(CAPABILITY, method)
        call.cancel()
        return call.result()

    def stream(self, method: str, args: dict[str, Any], credit: int) -> SyncStream:
        return SyncStream(self.client.stream(CAPABILITY, method, args, credit=credit))

    def subscribe(self, topic: str) -> "SimpleQueue[Event]":
        heard: SimpleQueue[Event] = SimpleQueue()
        self.client.subscribe(topic, heard.put)
        return heard


class AsyncCallerStream:
    def __init__(self, do: Callable[[Coroutine[Any, Any, Any]], Any], stream: Any) -> None:
        self._do = do
        self._stream = stream

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        end = object()

        async def advance() -> Any:  # StopAsyncIteration cannot leave a task
            return await anext(self._stream, end)

        item = self._do(advance())
        if item is end:
            raise StopIteration
        return item

    def result(self) -> Any:
        return self._do(self._stream.result())

    def cancel(self) -> None:
        self._do(_later(self._stream.cancel))

    def leave(self) -> None:
        self._do(self._stream.__aexit__(None, None, None))


class AsyncCaller:
    def __init__(self, client: AsyncClient, do: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self.client = client
        self._do = do

    def call(self, method: str | None = None, /, **more: Any) -> Any:
        capability = more.pop("capability", CAPABILITY)
        return self._do(self.client.call(capability, method, more.pop("args", None), **more))

    def stream(self, method: str, args: dict[str, Any], credit: int) -> AsyncCallerStream:
        start = partial(self.client.stream, CAPABILITY, method, args, credit=credit)
        return AsyncCallerStream(self._do, self._do(_later(start)))

    def subscribe(self, topic: str) -> "SimpleQueue[Event]":
        heard: SimpleQueue[Event] = SimpleQueue()
        self._do(self.client.subscribe(topic, heard.put))
        return heard

    def unsubscribe(self, topic: str) -> None:
        self._do(self.client.unsubscribe(topic))

    def publish(self, topic: str, value: object, *, keep: bool = False) -> None:
        self._do(_later(partial(self.client.publish, topic, value, keep=keep)))


class FakeCaller:
    def __init__(self, fake: FakeConductor) -> None:
        self.fake = fake
        self.publish = fake.publish
        self.unsubscribe = fake.unsubscribe

    def call(self, method: str | None = None, /, **more: Any) -> Any:
        capability = more.pop("capability", CAPABILITY)
        return self.fake.call(capability, method, **(more.pop("args", None) or {}), **more)

    def stream(self, method: str, args: dict[str, Any], credit: int) -> SyncStream:
        return SyncStream(self.fake.stream(CAPABILITY, method, credit=credit, **args))

    def subscribe(self, topic: str) -> "SimpleQueue[Event]":
        heard: SimpleQueue[Event] = SimpleQueue()
        self.fake.subscribe(topic, heard.put)
        return heard


class ThreadLink:
    """A `MemoryPeer` for another thread than that of the loop, which moves all messages."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: MemoryPeer) -> None:
        self._loop = loop
        self._peer = peer
        self._inbox: deque[tuple[bytes, bytes]] = deque()
        self.fileno = os.eventfd(0, os.EFD_NONBLOCK)
        peer.on_message = lambda: loop.call_soon(self._take)

    def _take(self) -> None:
        while (message := self._peer.receive()) is not None:
            self._inbox.append(message)
            os.eventfd_write(self.fileno, 1)

    def send(self, header: bytes, body: bytes) -> bool:
        self._loop.call_soon_threadsafe(self._peer.send, header, body)
        return True

    def take(self, limit: int) -> list[Message]:
        with suppress(BlockingIOError):
            os.eventfd_read(self.fileno)
        return [self._inbox.popleft() for _ in range(min(limit, len(self._inbox)))]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._peer.close)


class World:
    """A hub of one kind on a thread of its own, and a provider of CAPABILITY there. Over sockets
    both ends have the kind of the hub: pyzmq's for the reference, else the native ones."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.folder = folder
        self.memory = kind == "memory"
        self.made: list[Datapath] = []
        self._kinds: dict[str, Callable[[], Datapath]] = {
            "memory": MemoryDatapath,
            "reference": ReferenceDatapath,
            "native": NativeDatapath,
        }
        self._kind = kind
        self._loop = asyncio.new_event_loop()
        self._notices: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> "World":
        self._thread.start()
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.hub.close())
        self._stop()

    def _start(self) -> None:
        self.hub = Hub(self._make, heartbeat_ms=200, liveness=5, listener=self)
        self.do(self.hub.start())
        grants = Grants(provides=frozenset({CAPABILITY, LIMITED}), safe=frozenset({CAPABILITY}))
        if self.memory:
            self.do(_later(partial(self._provide, grants)))
        else:
            self._spawn(self._ticket("provider", grants))
        assert self._notices.get(timeout=LIMIT_S) == ("registered", "provider")

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT_S)

    @contextmanager
    def caller(self, kind: str) -> Iterator[Any]:
        everything = frozenset({"*"})
        grants = Grants(
            calls=everything,
            publishes=everything,
            subscribes=frozenset({TOPIC}),
            limits={LIMITED: Limit(rate=20.0, burst=1)},
        )
        ticket = self._ticket("caller", grants)
        if kind == "async":
            link = self._peer(ticket) if self.memory else self._dial(ticket)
            client = self.do(AsyncClient.join(link))
            yield AsyncCaller(client, self.do)
            self.do(client.close())
            return
        link = self._thread_link(ticket) if self.memory else self._dial(ticket)
        with Client.over(link) as blocking:
            yield SyncCaller(blocking)

    def _dial(self, ticket: Ticket) -> Any:
        return Dealer(ticket) if self._kind == "reference" else NativeDealer(ticket)

    def crash(self) -> None:
        """Ends the datapath as a bug would."""
        self.made[-1]._crash()  # type: ignore[attr-defined]

    def _make(self) -> Datapath:
        self.made.append(self._kinds[self._kind]())
        return self.made[-1]

    def _ticket(self, name: str, grants: Grants) -> Ticket:
        endpoint = f"memory://{name}" if self.memory else f"ipc://{self.folder}/{name}"
        ticket = self.do(_later(partial(self.hub.add_peer, name, endpoint, grants)))
        return msgspec.structs.replace(ticket, inbox=str(self.folder), outbox=str(self.folder))

    def _peer(self, ticket: Ticket) -> MemoryPeer:
        datapath = self.made[-1]
        assert isinstance(datapath, MemoryDatapath)
        return datapath.connect(ticket.endpoint, ticket.routing_id())

    def _thread_link(self, ticket: Ticket) -> ThreadLink:
        return self.do(_later(lambda: ThreadLink(self._loop, self._peer(ticket))))

    def _provide(self, grants: Grants) -> None:
        ticket = self.hub.add_peer("provider", "memory://provider", grants)
        peer = self._peer(ticket)

        def turn() -> None:
            while rehearsal.turn():
                pass

        rehearsal = Rehearsal(
            extension(), peer, inbox=self.folder, outbox=self.folder, pump=lambda: None
        )
        peer.on_message = lambda: self._loop.call_soon(turn)
        turn()

    def _spawn(self, ticket: Ticket) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._prelude() + CODE + "\next.run()"],
            stdin=subprocess.PIPE,
            env=os.environ | {"SYMPHONY_TICKET": "fd:0"},
        )
        assert self._process.stdin is not None
        self._process.stdin.write(ticket.to_json())
        self._process.stdin.close()

    def _prelude(self) -> str:
        """Takes the native sockets away where they are not meant."""
        return f"import sys; sys.modules[{MODULE!r}] = None\n" * (self._kind == "reference")

    # the listener
    def registered(self, instance: str, hello: Hello) -> None:
        self._notices.put(("registered", instance))

    def rejected(self, instance: str, reason: str) -> None:
        self._notices.put(("rejected", instance))

    def silent(self, instance: str) -> None:
        self._notices.put(("silent", instance))

    def left(self, instance: str, reason: str) -> None:
        self._notices.put(("left", instance))

    def overdue(self, instance: str) -> None:
        self._notices.put(("overdue", instance))

    def undelivered(self, letter: DeadLetter) -> None:
        """Tested elsewhere."""

    def bus_ended(self, reason: str) -> None:
        raise AssertionError(reason)


def extension() -> Extension:
    """The provider, in this process."""
    names: dict[str, Any] = {}
    exec(CODE, names)  # noqa: S102 - the same text that a process runs
    made = names["ext"]
    assert isinstance(made, Extension)
    return made


async def _later(work: Callable[[], T]) -> T:
    return work()


@contextmanager
def joined(client: str, hub: str, folder: Path) -> Iterator[Any]:
    """A caller of one kind at a hub of another, as `Caller`; its `world` is None with the fake."""
    with ExitStack() as stack:
        if hub == "fake":
            yield FakeCaller(stack.enter_context(FakeConductor(extension())))
            return
        world = stack.enter_context(World(hub, folder))
        caller = stack.enter_context(world.caller(client))
        caller.world = world
        yield caller


RETRY = Retry(attempts=5, backoff_ms=10)
