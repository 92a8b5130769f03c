"""A hub to test against, over every datapath, with peers that speak raw frames."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import zmq

from symphony.bus import wire
from symphony.bus.bell import Bell
from symphony.bus.codec import Header, decode, decode_header, encode, encode_header
from symphony.bus.control import Control, LocalCall
from symphony.bus.datapath import Datapath
from symphony.bus.grants import Grants
from symphony.bus.listener import DeadLetter
from symphony.bus.memory import MemoryDatapath
from symphony.bus.messages import Hello
from symphony.bus.native import NativeDatapath, available
from symphony.bus.reference import ReferenceDatapath

LIMIT_S = 10.0  # for anything that must happen
HEARTBEAT_MS = 1_000
READ_AHEAD = 10  # messages that a peer's libzmq takes although nobody reads
CAPABILITY = "test.echo/1"


class Clock:
    """Seconds that pass only when told to. A datapath looks at it after all that it does, so
    whoever waits for something that the datapath does not report waits for `looked`."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.looked = Bell()

    def __call__(self) -> float:
        self.looked()
        return self.now


class Connection:
    """Raw frames of one peer; `receive` returns (header, body bytes) or fails in time."""

    def __init__(self, plane: "Plane", identity: bytes, endpoint: str) -> None:
        self.plane = plane
        self.identity = identity
        self.endpoint = endpoint
        self._send, self._receive, self._close, self._socket = plane.open(identity, endpoint)

    def send(self, *frames: bytes) -> None:
        self._send(*frames)

    def say(self, kind: int, target: Any = None, request: int = 0, **more: Any) -> None:
        body = more.pop("body", b"")
        self.send(encode_header(kind, target, request, **more), body)

    def receive(self, limit_s: float = LIMIT_S) -> tuple[Header, bytes]:
        end = time.monotonic() + limit_s
        while True:
            self.plane.pump()
            frames = self._receive()
            if frames is not None:
                return decode_header(frames[0]), frames[1]
            assert self.plane.wait(end, self._socket), "nothing came"

    def expect(self, kind: int, request: int | None = None) -> tuple[Header, Any]:
        """The next message, which must be of this kind (and request)."""
        head, body = self.receive()
        value = decode(body) if body else None
        assert head.kind == kind, (head, value)
        if request is not None:
            assert head.request == request
        return head, value

    def fence(self) -> list[Header]:
        """What had come until the hub has answered a heartbeat sent now."""
        self.say(wire.HEARTBEAT)
        seen: list[Header] = []
        while True:
            head, _ = self.receive()
            if head.kind == wire.HEARTBEAT:
                return seen
            seen.append(head)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """At the end of the block waits until the hub has ended this connection."""
        if not isinstance(self._socket, zmq.Socket):  # in memory it takes effect at once
            yield
            return
        monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        try:
            yield
            assert monitor.poll(LIMIT_S * 1_000), "it is still connected"
        finally:
            self._socket.disable_monitor()
            monitor.close(0)

    def close(self) -> None:
        self._close()


class Plane:
    """A control plane over one datapath; the clock is injected in both."""

    def __init__(self, folder: Path, datapath: Datapath, clock: Clock) -> None:
        self.folder = folder
        self.datapath = datapath
        self.clock = clock
        self.notices: list[tuple[str, ...]] = []
        self.local_calls: list[LocalCall] = []
        self.local_cancels: list[tuple[int, int]] = []
        self.letters: list[DeadLetter] = []
        self.local_credits: list[tuple[int, int, int]] = []
        self.control = Control(datapath, self, self, HEARTBEAT_MS, wire.LIVENESS, clock=clock)
        self._context = zmq.Context()
        self._names = count(1)
        self._sockets: list[zmq.Socket[bytes]] = []
        self._told = Bell()
        datapath.start(
            self._told,
            heartbeat_ms=HEARTBEAT_MS,
            liveness=wire.LIVENESS,
            grace_ms=wire.GRACE_MS,
        )

    # the listener, and the kernel as provider
    def registered(self, instance: str, hello: Hello) -> None:
        self.notices.append(("registered", instance))

    def rejected(self, instance: str, reason: str) -> None:
        self.notices.append(("rejected", instance, reason))

    def silent(self, instance: str) -> None:
        self.notices.append(("silent", instance))

    def left(self, instance: str, reason: str) -> None:
        self.notices.append(("left", instance, reason))

    def overdue(self, instance: str) -> None:
        self.notices.append(("overdue", instance))

    def undelivered(self, letter: DeadLetter) -> None:
        self.letters.append(letter)

    def bus_ended(self, reason: str) -> None:
        self.notices.append(("bus ended", reason))

    def begin(self, call: LocalCall) -> None:
        self.local_calls.append(call)

    def cancel(self, number: int, request: int) -> None:
        self.local_cancels.append((number, request))

    def credit(self, number: int, request: int, chunks: int) -> None:
        self.local_credits.append((number, request, chunks))

    def pump(self) -> None:
        self._told.hush()
        for upcall in self.datapath.poll():
            self.control.handle(upcall)

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT_S
        while True:
            self.clock.looked.hush()
            self.pump()
            if condition():
                return
            assert self.wait(end, self.clock.looked.fd), "it did not happen"

    def wait(self, end: float, *places: "zmq.Socket[bytes] | int") -> bool:
        """Waits for an upcall, or for something to read at one of the places; False when late."""
        poller = zmq.Poller()
        for place in (self._told.fd, *places):
            poller.register(place, zmq.POLLIN)
        return bool(poller.poll(max(0, (end - time.monotonic()) * 1_000)))

    def count(self, reason: str) -> int:
        return self.datapath.counters().get(reason, 0)

    def counted(self, reason: str, times: int = 1) -> None:
        self.until(lambda: self.count(reason) >= times)
        assert self.count(reason) == times

    def queued(self, peer: str) -> int:
        """How many messages wait for a peer."""
        return next(row.queued for row in self.datapath.peers() if row.peer == peer)

    def advance(self, seconds: float) -> None:
        """Lets time pass in steps that are shorter than any window."""
        left = seconds
        while left > 0:
            self.clock.now += min(left, 0.4)
            left -= 0.4
            self.tick()

    def tick(self) -> None:
        if isinstance(self.datapath, MemoryDatapath):
            self.datapath.tick()
        else:
            endpoint = f"inproc://tick-{next(self._names)}"
            self.datapath.bind(endpoint)  # returns in a turn that may have read the clock before
            self.datapath.unbind(endpoint)
            self.datapath.bind(endpoint)

    def open(self, identity: bytes, endpoint: str) -> tuple[Any, Any, Any, Any]:
        """How to send, receive and close, and where to wait for messages."""
        if isinstance(self.datapath, MemoryDatapath):
            peer = self.datapath.connect(endpoint, identity)
            return peer.send, peer.receive, peer.close, self._told.fd
        socket = self._context.socket(zmq.DEALER)
        self._sockets.append(socket)
        socket.set(zmq.ROUTING_ID, identity)
        socket.set(zmq.LINGER, 1_000)
        socket.set(zmq.RCVHWM, READ_AHEAD)  # a slow reader soon shows as one
        socket.connect(endpoint)

        def receive() -> tuple[bytes, ...] | None:
            return tuple(socket.recv_multipart()) if socket.poll(0) else None

        return (lambda *frames: socket.send_multipart(frames)), receive, socket.close, socket

    def admit(self, name: str, grants: Grants = Grants()) -> tuple[bytes, str]:  # noqa: B008
        identity = os.urandom(wire.IDENTITY_BYTES)
        memory = isinstance(self.datapath, MemoryDatapath)
        endpoint = f"memory://{name}" if memory else f"ipc://{self.folder}/{name}"
        self.control.add(name, identity, grants)
        self.datapath.bind(endpoint)
        return identity, endpoint

    def join(self, name: str, grants: Grants = Grants()) -> Connection:  # noqa: B008
        """A welcomed peer that provides all that it may."""
        connection = Connection(self, *self.admit(name, grants))
        connection.say(wire.HELLO, body=hello(*grants.provides))
        connection.expect(wire.WELCOME)
        return connection

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(0)
        self._context.term()
        self.datapath.close()
        self._told.close()
        self.clock.looked.close()


def hello(*provides: str, protocol: int = wire.VERSION) -> bytes:
    return encode({"protocol": protocol, "sdk": "test", "pid": 1, "provides": list(provides)})


KINDS = {"memory": MemoryDatapath, "reference": ReferenceDatapath, "native": NativeDatapath}
NEEDS_NATIVE = pytest.mark.skipif(not available(), reason="the wheel symphony-native is missing")


@pytest.fixture(params=["memory", "reference", pytest.param("native", marks=NEEDS_NATIVE)])
def plane(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Plane]:
    clock = Clock()
    plane = Plane(tmp_path, KINDS[request.param](clock=clock), clock)
    yield plane
    plane.close()


@pytest.fixture
def pair(plane: Plane) -> tuple[Connection, Connection]:
    """A caller and a provider of CAPABILITY."""
    provider = plane.join("provider", Grants(provides=frozenset({CAPABILITY})))
    caller = plane.join("caller", Grants(calls=frozenset({CAPABILITY})))
    return caller, provider
