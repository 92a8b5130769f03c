"""Whatever the hub forwards, both SDKs can read: no caller waits for ever for what was passed on.

A raw peer sends headers and bodies that the grammar allows, as other msgpack libraries may write
them: wide numbers and texts, extensions, options twice or unknown, elements of later versions.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import pytest
import zmq
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pit_stage import PATIENCE_S, Seen
from rust_examples import examples, has_cargo

from symphony.bus import wire
from symphony.bus.client import Client
from symphony.bus.codec import decode, decode_header, encode, encode_header
from symphony.bus.errors import BusError
from symphony.bus.hub import Grants, Hub
from symphony.bus.messages import Welcome
from symphony.bus.native import NativeDatapath, available
from symphony.bus.reference import ReferenceDatapath
from symphony.bus.ticket import Ticket

pytestmark = pytest.mark.skipif(not has_cargo(), reason="builds Rust programs")

EXAMPLES = 60 * int(os.environ.get("SYMPHONY_FUZZ", "1"))
CAPABILITY = "text.upper/1"
TOPIC = "test.topic"
LATE_MS = int(PATIENCE_S * 1_000)
CREDIT = 16
EVERYTHING = frozenset({"*"})
KINDS = {"reference": ReferenceDatapath, "native": NativeDatapath}
NEEDS_NATIVE = pytest.mark.skipif(not available(), reason="the wheel symphony-native is missing")
T = TypeVar("T")

PROVIDER = f"""
from symphony.bus.extension import Extension
ext = Extension()

@ext.provides({CAPABILITY!r})
def upper(ctx, text: str) -> dict:
    return {{"text": text.upper()}}

ext.run()
"""


# -- msgpack of every form ---------------------------------------------------------------------

UINTS = {0xCC: (">B", 2**8), 0xCD: (">H", 2**16), 0xCE: (">I", 2**32), 0xCF: (">Q", 2**64)}
INTS = {0xD0: (">b", 2**7), 0xD1: (">h", 2**15), 0xD2: (">i", 2**31), 0xD3: (">q", 2**63)}
LONG = {"text": (0xD9, 0xDA, 0xDB), "array": (None, 0xDC, 0xDD), "map": (None, 0xDE, 0xDF)}
SHORT = {"text": (0xA0, 31), "array": (0x90, 15), "map": (0x80, 15)}


@st.composite
def uint(draw: st.DrawFn, number: int) -> bytes:
    """A number that is not negative, in any width that holds it."""
    forms = [
        bytes([marker]) + struct.pack(code, number)
        for marker, (code, limit) in (UINTS | INTS).items()
        if number < limit
    ]
    return draw(st.sampled_from([bytes([number])] * 5 + forms if number < 128 else forms))


@st.composite
def head(draw: st.DrawFn, kind: str, length: int) -> bytes:
    """The beginning of a text, array or map."""
    marker, most = SHORT[kind]
    codes = zip(LONG[kind], (">B", ">H", ">I"), (2**8, 2**16, 2**32), strict=True)
    forms = [
        bytes([long]) + struct.pack(code, length)
        for long, code, limit in codes
        if long is not None and length < limit
    ]
    return draw(
        st.sampled_from([bytes([marker | length])] * 5 + forms if length <= most else forms)
    )


@st.composite
def text(draw: st.DrawFn, value: str) -> bytes:
    data = value.encode()
    return draw(head("text", len(data))) + data


@st.composite
def sequence(draw: st.DrawFn, parts: list[bytes], kind: str = "array") -> bytes:
    length = len(parts) // 2 if kind == "map" else len(parts)
    return draw(head(kind, length)) + b"".join(parts)


EXTENSIONS = [
    b"\xd4\x05a",
    b"\xd8\x7f" + bytes(16),
    b"\xc7\x00\x01",
    b"\xc7\x03\x80abc",
    b"\xd6\xff\x00\x00\x00\x01",  # a point in time
    b"\xd7\xff" + bytes(8),
    b"\xc7\x0c\xff" + bytes(12),
]
scalars = st.one_of(
    st.sampled_from([b"\xc0", b"\xc2", b"\xc3", b"\xff", b"\xd3" + b"\xff" * 8, *EXTENSIONS]),
    st.integers(0, 2**64 - 1).flatmap(uint),
    st.floats().map(encode),
    st.floats(width=32).map(lambda value: b"\xca" + struct.pack(">f", value)),
    st.binary(max_size=40).map(encode),
    st.text(max_size=40).flatmap(text),
)
keys = st.text(max_size=5).flatmap(text) | st.integers(0, 300).flatmap(uint) | st.just(b"\x91\x01")
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4).flatmap(sequence)
        | st.lists(st.tuples(keys, inner), max_size=4).flatmap(
            lambda pairs: sequence([part for pair in pairs for part in pair], "map")
        )
    ),
    max_leaves=8,
)
DEEP = 400
nested = st.integers(1, DEEP).map(lambda depth: b"\x91" * depth + b"\xc0")

# -- headers and bodies ------------------------------------------------------------------------

flags = st.sampled_from([b"\xc2", b"\xc3"])
ascii_text = st.text("abc-09", max_size=60)
OPTIONS: dict[str, st.SearchStrategy[bytes]] = {
    wire.TRACE_OPTION: st.text(max_size=60).flatmap(text),
    wire.IDEM_OPTION: st.text(min_size=wire.MAX_IDEM, max_size=wire.MAX_IDEM).flatmap(text),
    wire.CAPABILITY_OPTION: st.sampled_from(["a", "a-1.b/10", CAPABILITY]).flatmap(text),
    wire.STREAM_OPTION: st.sampled_from([0, 1, 1_024, 1_025, 2**64 - 1]).flatmap(uint),
    wire.AGAIN_OPTION: flags,
    wire.KEEP_OPTION: flags,
    wire.SNAPSHOT_OPTION: flags,
    wire.GAP_OPTION: st.sampled_from([0, 1, 2**32, 2**64 - 1]).flatmap(uint),
}
SEEN = ("cap", "again", "stream", "trace", "keep", "snapshot", "gap")
pairs = st.one_of(
    *(st.tuples(text(name), value) for name, value in OPTIONS.items()),
    st.tuples(st.text(max_size=8).filter(lambda key: key not in OPTIONS).flatmap(text), values),
    st.tuples(st.just(b"\xa5other"), nested),
)
twice = st.sampled_from(SEEN).flatmap(  # the last counts, whatever the first is
    lambda name: st.tuples(text(name), values, text(name), OPTIONS[name])
)
garbled = st.sampled_from([b"\xa2\xff\xfe", b"\x91\xa1\xff"])  # no UTF-8, where nobody looks


@st.composite
def options(draw: st.DrawFn) -> bytes:
    parts = [part for pair in draw(st.lists(pairs, max_size=4)) for part in pair]
    if draw(st.integers(0, 4)) == 0:
        parts += draw(twice)
    if draw(st.integers(0, 9)) == 0:  # as long as it may be, or a little longer
        parts += [b"\xa3pad", encode("x" * draw(st.integers(3_500, 4_090)))]
    return draw(sequence(parts, "map"))


class Large(bytes):
    """Said in few words when an example fails."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


class Header(Protocol):
    """Makes the header of a message about a call."""

    def __call__(self, target: int | str, request: int) -> bytes: ...


@st.composite
def headers(draw: st.DrawFn, *kinds: int) -> Header:
    """A message of one of these kinds: any time, method, options and elements after them."""
    kind = draw(st.sampled_from(kinds))
    ttl = draw(st.sampled_from([0] * 8 + [20_000, wire.MAX_TTL]).flatmap(uint))
    name = st.sampled_from(["call", "m", "x" * 300]).flatmap(text)
    rest = [ttl, draw(st.just(b"\xc0") | name)]
    rest += draw(st.lists(st.just(b"\xc0") | options(), max_size=1))
    if len(rest) == 3:
        rest += draw(st.lists(values | nested | garbled, max_size=3))
    before = [draw(uint(wire.VERSION)), draw(uint(kind))]
    beginning = draw(head("array", len(before) + 2 + len(rest)))

    def make(target: int | str, request: int) -> bytes:
        return beginning + b"".join([*before, encode(target), encode(request), *rest])

    return make


HUGE = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"]  # say they are
bodies = st.one_of(
    st.just(encode({"text": "a"})),
    values,
    values.map(lambda value: b"\x81\xa4text" + value),
    values.map(lambda value: b"\x82\xa4text\xa1a\xa1$\x81\xa6params" + value),
    st.sampled_from([b"", b"\xc1", *HUGE, *(b"\x81\xa1$\x81\xa6params" + huge for huge in HUGE)]),
    st.integers(900, 3_000).map(lambda depth: b"\x81\xa4text" + b"\x91" * depth + b"\xc0"),
    st.just(Large(encode({"text": "x" * (wire.MAX_BODY - 11)}))),
    st.binary(max_size=30),
)

# -- the stage ---------------------------------------------------------------------------------


class Ground:
    """A hub on a thread of its own."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.folder = folder
        self._kind = kind
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Ground:
        self._thread.start()
        self.seen = Seen()
        self.hub = Hub(KINDS[self._kind], heartbeat_ms=60_000, listener=self.seen)
        self.do(self.hub.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.hub.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def ticket(self, name: str, **grants: frozenset[str]) -> Ticket:
        async def add() -> Ticket:
            endpoint = f"ipc://{self.folder}/{name}"
            return self.hub.add_peer(name, endpoint, Grants(**grants))

        return self.do(add())

    def registered(self, name: str) -> None:
        self.do(self.seen.expect("registered", name))

    def dropped(self) -> int:
        """How many messages the hub itself could not read or take."""

        async def count() -> int:
            counters = self.hub.counters()
            return sum(counters.get(why, 0) for why in ("undecodable", "oversize"))

        return self.do(count())

    @contextmanager
    def provider(self, sdk: str) -> Iterator[subprocess.Popen[bytes]]:
        ticket = self.ticket("provider", provides=frozenset({CAPABILITY, "text.reverse/1"}))
        with provider_of(ticket, sdk) as process:
            self.registered("provider")
            yield process

    @contextmanager
    def raw(self, name: str, *provides: str, **grants: frozenset[str]) -> Iterator[Raw]:
        ticket = self.ticket(name, provides=frozenset(provides), **grants)
        with Raw(ticket, provides) as peer:
            self.registered(name)
            yield peer


class Raw:
    """A peer that sends any bytes."""

    def __init__(self, ticket: Ticket, provides: tuple[str, ...]) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.set(zmq.ROUTING_ID, ticket.routing_id())
        self._socket.connect(ticket.endpoint)
        hello = {"protocol": 1, "sdk": "raw", "pid": 1, "provides": list(provides)}
        self.send(encode_header(wire.HELLO), encode(hello))

    def __enter__(self) -> Raw:
        kind, _, _ = self.hear()
        assert kind == wire.WELCOME
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(0)

    def send(self, header: bytes, body: bytes) -> None:
        self._socket.send_multipart([header, body])

    def hear(self, limit_s: float = PATIENCE_S) -> tuple[int, int, int]:
        """Kind, flow and request of the next message; zeros if none comes in time."""
        if not self._socket.poll(int(limit_s * 1_000)):
            return 0, 0, 0
        header, _ = self._socket.recv_multipart()
        read = decode_header(header)
        return read.kind, read.target if isinstance(read.target, int) else 0, read.request

    def called(self) -> tuple[int, int]:
        """Flow and request of the next call."""
        while True:
            kind, flow, request = self.hear()
            assert kind, "no call came"
            if kind == wire.CALL:
                return flow, request


@contextmanager
def provider_of(ticket: Ticket, sdk: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", PROVIDER] if sdk == "python" else [examples()["text"]]
    environment = {**os.environ, "SYMPHONY_TICKET": "fd:0"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(ticket.to_json())
            process.stdin.close()
            yield process
        finally:
            process.kill()


class PythonClient:
    """What a client hears, as the tests want it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._events: SimpleQueue[object] = SimpleQueue()

    def start(self, credit: int) -> Callable[[], list[Any]]:
        """Opens a call; what it gives waits for its end: the chunks, or what failed."""
        if not credit:
            call = self._client.start_call(CAPABILITY, ttl_ms=LATE_MS)
            return lambda: _caught(call.result)
        stream = self._client.stream(CAPABILITY, credit=credit, ttl_ms=LATE_MS)
        return lambda: _caught(lambda: list(stream))

    def subscribe(self) -> None:
        self._client.subscribe(TOPIC, lambda event: self._events.put(event.value))

    def events(self, number: int) -> list[Any]:
        return [self._events.get(timeout=PATIENCE_S) for _ in range(number)]


class RustClient:
    """The same of the example `console`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def _tell(self, do: str, **values: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **values}).encode() + b"\n")
        self._process.stdin.flush()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def start(self, credit: int) -> Callable[[], list[Any]]:
        more = {"credit": credit} if credit else {}
        do = "stream" if credit else "call"
        self._tell(do, capability=CAPABILITY, args={}, limit_ms=LATE_MS, **more)

        def end() -> list[Any]:
            said = self._hear()
            if "error" in said:
                return [said["error"]["code"]]
            return list(said["ok"]["chunks"]) if credit else [said["ok"]]

        return end

    def subscribe(self) -> None:
        self._tell("subscribe", topic=TOPIC)
        assert "ok" in self._hear()

    def events(self, number: int) -> list[Any]:
        self._tell("events", count=number)
        return [event["value"] for event in self._hear()["ok"]]


def _caught(work: Callable[[], Any]) -> list[Any]:
    try:
        value = work()
    except BusError as error:
        return [error.code]
    return value if isinstance(value, list) else [value]


@contextmanager
def client_of(ground: Ground, sdk: str) -> Iterator[PythonClient | RustClient]:
    ticket = ground.ticket("client", calls=EVERYTHING, subscribes=EVERYTHING)
    if sdk == "python":
        with Client(ticket) as client:
            ground.registered("client")
            yield PythonClient(client)
        return
    place = ground.folder / "client.json"
    place.write_bytes(ticket.to_json())
    place.chmod(0o600)
    environment = {**os.environ, "SYMPHONY_TICKET": f"file:{place}"}
    pipe = subprocess.PIPE
    command = [examples()["console"]]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as process:
        try:
            ground.registered("client")
            yield RustClient(process)
        finally:
            process.kill()


def property_of(test: Callable[..., None], *strategies: st.SearchStrategy[Any]) -> None:
    """Runs it on what is there already: processes start too slowly for each example. Nothing is
    made smaller after a failure, which takes all of its patience."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    examples = settings(
        max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=checks
    )
    examples(given(*strategies)(test))()


@pytest.fixture(params=["reference", pytest.param("native", marks=NEEDS_NATIVE)])
def ground(request: pytest.FixtureRequest, sockets: Path) -> Iterator[Ground]:
    with Ground(request.param, sockets) as ground:
        yield ground


@pytest.mark.parametrize("sdk", ["python", "rust"])
def test_every_call_that_is_passed_on_is_answered(ground: Ground, sdk: str) -> None:
    last = 0

    def answered(calls: list[tuple[Header, bytes, bool]]) -> None:
        nonlocal last
        dropped = ground.dropped()
        waiting = {}
        for header, body, named in calls:
            last += 1
            frame = header(CAPABILITY if named else flow, last)
            waiting[last] = frame, body[:100]
            caller.send(frame, body)
        end = time.monotonic() + PATIENCE_S
        while len(waiting) > ground.dropped() - dropped:
            kind, _, request = caller.hear(0.02)
            if kind in (wire.RESULT, wire.ERROR):
                del waiting[request]
            assert process.poll() is None, waiting
            assert time.monotonic() < end, waiting

    with ExitStack() as stack:
        process = stack.enter_context(ground.provider(sdk))
        caller = stack.enter_context(ground.raw("caller", calls=EVERYTHING))
        last += 1
        caller.send(encode_header(wire.CALL, CAPABILITY, last), encode({"text": "a"}))
        kind, flow, _ = caller.hear()
        assert kind == wire.RESULT
        calls = st.lists(st.tuples(headers(wire.CALL), bodies, st.booleans()), max_size=8)
        property_of(answered, calls)


RESULT = encode("good")


@pytest.mark.parametrize("sdk", ["python", "rust"])
def test_every_answer_that_is_passed_on_ends_its_call(ground: Ground, sdk: str) -> None:
    with ExitStack() as stack:
        provider = stack.enter_context(ground.raw("provider", CAPABILITY))
        client = stack.enter_context(client_of(ground, sdk))

        def ended(header: Header, body: bytes) -> None:
            end = client.start(credit=0)
            flow, request = provider.called()
            begun = time.monotonic()
            provider.send(header(flow, request), body)
            provider.send(encode_header(wire.RESULT, flow, request), RESULT)
            end()
            assert time.monotonic() - begun < PATIENCE_S / 2, header(flow, request)

        property_of(ended, headers(wire.RESULT, wire.ERROR), bodies)


@pytest.mark.parametrize("sdk", ["python", "rust"])
def test_every_chunk_that_is_passed_on_arrives(ground: Ground, sdk: str) -> None:
    with ExitStack() as stack:
        provider = stack.enter_context(ground.raw("provider", CAPABILITY))
        client = stack.enter_context(client_of(ground, sdk))

        def arrived(chunks: list[Header]) -> None:
            dropped = ground.dropped()
            end = client.start(credit=CREDIT)
            flow, request = provider.called()
            for number, header in enumerate(chunks):
                provider.send(header(flow, request), encode(number))
            provider.send(encode_header(wire.RESULT, flow, request), RESULT)
            heard = end()
            assert len(heard) == len(chunks) - (ground.dropped() - dropped), chunks
            assert all(isinstance(chunk, int) for chunk in heard), heard

        property_of(arrived, st.lists(headers(wire.CHUNK), max_size=CREDIT))


@pytest.mark.parametrize("sdk", ["python", "rust"])
def test_every_event_that_is_passed_on_arrives(ground: Ground, sdk: str) -> None:
    with ExitStack() as stack:
        publisher = stack.enter_context(ground.raw("publisher", publishes=EVERYTHING))
        client = stack.enter_context(client_of(ground, sdk))
        client.subscribe()

        def arrived(events: list[Header]) -> None:
            for number, header in enumerate(events):
                publisher.send(header(TOPIC, 0), encode(number))
            publisher.send(encode_header(wire.EVENT, TOPIC), encode("last"))
            heard = client.events(1)
            while heard[-1] != "last":
                heard += client.events(1)
            assert len(heard) - 1 == len(events) - (ground.dropped() - dropped[0]), events
            dropped[0] = ground.dropped()

        dropped = [ground.dropped()]
        property_of(arrived, st.lists(headers(wire.EVENT), max_size=CREDIT))


UNREADABLE = {
    "ttl": (1, wire.CALL, 7, 5, "soon", None),
    "method": (1, wire.CALL, 7, 5, 0, "No method"),
    "option": (1, wire.CALL, 7, 5, 0, None, {wire.AGAIN_OPTION: 1}),
    "short": (1, wire.CALL, 7, 5),
}


@pytest.mark.parametrize("header", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("sdk", ["python", "rust"])
def test_a_call_that_cannot_be_read_is_refused(
    sockets: Path, sdk: str, header: tuple[object, ...]
) -> None:
    """By a hub that passes anything on."""
    endpoint = f"ipc://{sockets}/hub"
    ticket = Ticket(v=1, endpoint=endpoint, identity="5e" * 16, instance="provider")
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        router.rcvtimeo = LATE_MS
        router.bind(endpoint)
        with provider_of(ticket, sdk):
            peer, hello, _ = router.recv_multipart()
            assert decode_header(hello).kind == wire.HELLO
            welcome = Welcome("provider", 60_000, 5, wire.MAX_BODY, wire.INLINE_MAX)
            router.send_multipart([peer, encode_header(wire.WELCOME), encode(welcome)])
            router.send_multipart([peer, encode(header), encode({"text": "a"})])
            _, answer, body = router.recv_multipart()
            said = decode_header(answer)
            assert (said.kind, said.target, said.request) == (wire.ERROR, 7, 5)
            error = BusError.from_body(decode(body))
            assert (error.code, error.where) == ("bad-request", "header")
