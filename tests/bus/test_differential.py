"""The Rust switch decides as the Python one does, whatever peers and commands they are given.

Both get the same steps: frames that are valid, broken and hostile, with commands, time and a
transport that refuses in between. After each step they must agree on all that can be seen.
SYMPHONY_FUZZ=N does N times as many examples.
"""

import os
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symphony.bus import wire
from symphony.bus.codec import encode
from symphony.bus.datapath import ALL, KERNEL, Flow, Upcall, UpcallQueue
from symphony.bus.egress import Egress, Refusal
from symphony.bus.native import available, load
from symphony.bus.switch import Switch

pytestmark = pytest.mark.skipif(not available(), reason="the wheel symphony-native is missing")

EXAMPLES = 300 * int(os.environ.get("SYMPHONY_FUZZ", "1"))
HEARTBEAT_MS = 1_000

Message = tuple[bytes, bytes, bytes]
Seen = dict[str, Any]


class Python:
    """The Python switch with the probe's methods."""

    def __init__(self) -> None:
        self.upcalls = UpcallQueue(lambda: None)
        self.switch = Switch(
            self.upcalls,
            heartbeat_ms=HEARTBEAT_MS,
            liveness=wire.LIVENESS,
            grace_ms=wire.GRACE_MS,
            now=0.0,
        )
        self.now = 0.0
        self.egress = Egress(self.switch, self._try_send, lambda: self.now)
        self.busy: Collection[bytes] = ()
        self.lost: Collection[bytes] = ()
        self.sent: list[Message] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.switch, name)

    def admit(self, name: str, identity: bytes, now: float, console: bool) -> None:
        self.switch.admit(name, identity, now, console=console)

    def flush(
        self, busy: Collection[bytes], gone: Collection[bytes], absent: bool, now: float
    ) -> list[Message]:
        self.busy, self.lost, self.sent, self.now = busy, gone, [], now
        if absent:
            self.egress.retry_absent()
        self.egress.flush()
        return self.sent

    def take(self, limit: int) -> list[Upcall]:
        return self.upcalls.take(limit)

    def counters(self) -> dict[str, int]:
        return {**self.switch.counts, "forwarded": self.egress.taken}

    def _try_send(self, identity: bytes, header: bytes, body: bytes) -> Refusal | None:
        if identity in self.lost:
            return Refusal.GONE
        if identity in self.busy:
            return Refusal.BUSY
        self.sent.append((identity, header, body))
        return None


def by_receiver(messages: list[Message]) -> dict[bytes, list[tuple[bytes, bytes]]]:
    """Only the order in which one peer gets its messages is promised."""
    sorted_out = defaultdict(list)
    for identity, header, body in messages:
        sorted_out[bytes(identity)].append((bytes(header), bytes(body)))
    return sorted_out


def seen(switch: Any) -> Seen:
    """What can be seen without changing anything."""
    return {
        "next tick": switch.next_tick(),
        "counters": {name: count for name, count in dict(switch.counters()).items() if count},
        "flows": [(*row[:-1], tuple(row[-1])) for row in switch.flows()],
        "peers": [tuple(row) for row in switch.peers()],
    }


NAMES = ("a", "b", "c")
SECRET = b"s" * wire.IDENTITY_BYTES
CONSOLES = [SECRET + bytes([n]) * wire.IDENTITY_BYTES for n in range(2)]
SENDERS = [*NAMES, *CONSOLES, SECRET, b"x" * 16, b"x" * 32, b""]  # a name: who has it now

names = st.sampled_from([*NAMES, KERNEL])
bodies = st.sampled_from([b"", b"\x80", b"body", bytes(wire.MAX_BODY), bytes(wire.MAX_BODY + 1)])
small_bodies = st.sampled_from(
    [b"", b"\x80", b"body", b"\x01", b"\xcd\x03\xff", b"\xcd\x04\x00", b"\xd0\x05", bytes(5_000)]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=4),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)
kinds = st.integers(1, wire.LAST_KIND) | st.sampled_from([wire.CALL, wire.RESULT, wire.CANCEL])
targets = st.integers(1, 4) | st.sampled_from([None, "t.a/1"])
requests = st.integers(0, 4) | st.sampled_from([wire.MAX_REQUEST])
ttls = st.sampled_from([0, 0, 1, 700, 3_000, wire.MAX_TTL])
methods = st.sampled_from([None, "put", "put_2"])
any_methods = methods | st.sampled_from(["Put", "", "2", "p t", "ä", "put\n"])
known: dict[str, st.SearchStrategy[Any]] = {
    wire.IDEM_OPTION: st.sampled_from(["", "k", "é" * wire.MAX_IDEM]),
    wire.TRACE_OPTION: st.just("00-1-1-01"),
    wire.CAPABILITY_OPTION: st.sampled_from(["t.a/1", "a-1", "t/10"]),
    wire.STREAM_OPTION: st.sampled_from([0, 1, 2, 1_024, 1_025, 2**64 - 1]),
    wire.AGAIN_OPTION: st.booleans(),
    wire.KEEP_OPTION: st.booleans(),
    wire.SNAPSHOT_OPTION: st.booleans(),
    wire.GAP_OPTION: st.integers(0, 300),
}
right_options = st.none() | st.fixed_dictionaries({}, optional={**known, "other": values})
any_options = st.none() | st.dictionaries(
    st.sampled_from([*known, "other"]),
    scalars
    | st.sampled_from(["é" * (wire.MAX_IDEM + 1), "t.a/0", "T", "t.a/1\n", "t..a", 2**64 - 1]),
    max_size=3,
)


def head(
    options: st.SearchStrategy[Any], methods: st.SearchStrategy[Any] = methods
) -> st.SearchStrategy[bytes]:
    plain = (st.just(wire.VERSION), kinds, targets, requests, ttls, methods)
    return st.one_of(
        st.tuples(*plain), st.tuples(*plain, options), st.tuples(*plain, options, values)
    ).map(encode)


valid = head(right_options)
sound = valid | head(any_options, any_methods)
# The hub writes no more than seven elements, each in its shortest form.
own_events = st.tuples(
    st.just(wire.VERSION),
    st.just(wire.EVENT),
    st.sampled_from(["t.a", "t.b"]),
    requests,
    st.just(0),
    st.none(),
    st.fixed_dictionaries({}, optional={name: known[name] for name in ("keep", "snapshot", "gap")}),
).map(encode)
twice = st.lists(
    st.tuples(st.sampled_from([*known, "other"]), st.one_of(*known.values(), scalars)), max_size=4
).map(
    lambda pairs: (
        b"\x97\x01\x04\x01\x01\x00\xc0"
        + bytes([0x80 | len(pairs)])
        + b"".join(encode(item) for pair in pairs for item in pair)
    )
)
foreign = st.tuples(
    st.integers(-1, 3), st.integers(0, 2), st.binary(max_size=2) | st.none() | values
).map(encode) | st.sampled_from([b"\x92\x02\x01", b"\x91\x02", b"\x92\x02\x01\xc0"])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A header with some of its bytes changed, cut out or put in."""
    frame = bytearray(draw(sound))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(frame)))
        frame[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(frame)


headers = st.one_of(
    sound,
    sound,
    sound,
    damaged(),
    twice,
    foreign,
    st.binary(max_size=40),
    st.lists(values, min_size=5, max_size=9).map(encode),
    st.just(bytes(wire.MAX_HEADER + 1)),
)
received = st.tuples(st.just("receive"), st.sampled_from(SENDERS), headers, bodies)


def plain(
    sender: str, *kinds: int, options: st.SearchStrategy[Any] | None = None
) -> st.SearchStrategy[tuple[Any, ...]]:
    """What well-behaved peers say: about few flows and requests, so that one leads to another."""
    header = st.tuples(
        st.just(wire.VERSION),
        st.sampled_from(kinds),
        st.integers(1, 2),
        st.integers(1, 3),
        ttls,
        st.none(),
        st.none() if options is None else options,
    ).map(encode)
    return st.tuples(st.just("receive"), st.just(sender), header, small_bodies)


streaming = st.fixed_dictionaries(
    {}, optional={name: known[name] for name in (wire.STREAM_OPTION, wire.AGAIN_OPTION)}
)
limits = st.fixed_dictionaries(
    {},
    optional={
        "safe": st.booleans(),
        "credit": st.integers(0, 2),
        "rate": st.sampled_from([0.0, 0.3, 1.0, 7.0, 1e-4, 1e-20, 1e-310]),
        "burst": st.integers(1, 3),
    },
)
flows = st.builds(
    lambda number, caller, provider, generation, limit: Flow(
        number, caller, provider, generation, **limit
    ),
    st.integers(1, 4),
    names,
    names,
    st.integers(1, 3),
    limits,
)
provided = st.sampled_from([wire.CHUNK, wire.CHUNK, wire.RESULT, wire.ERROR, wire.PROGRESS])
steps = st.one_of(
    plain("a", wire.CALL, options=streaming),
    plain("a", wire.CALL, wire.CALL, wire.CANCEL, wire.CREDIT, options=streaming),
    provided.flatmap(lambda kind: plain("b", kind)),
    provided.flatmap(lambda kind: plain("b", kind)),
    received,
    received,
    st.tuples(st.just("inject"), names, valid, small_bodies),
    st.tuples(st.just("send"), names, valid, small_bodies),
    st.tuples(
        st.just("event"), st.lists(names | st.just("nobody"), max_size=4), own_events, small_bodies
    ),
    st.tuples(st.just("crowd"), st.sampled_from(NAMES), st.sampled_from([*(250,) * 9, 2_100])),
    st.tuples(st.just("install"), flows),
    st.tuples(st.just("revoke"), st.integers(0, 4)),
    st.tuples(st.just("admit"), st.sampled_from(NAMES)),
    st.tuples(st.just("consoles")),
    st.tuples(st.just("open"), st.sampled_from([*NAMES, "con/1", "con/2", "con/3"])),
    st.tuples(st.just("expel"), st.sampled_from([*NAMES, "con", "con/1", "con/2"])),
    st.tuples(st.just("violated"), st.sampled_from(SENDERS)),
    st.tuples(st.just("tick"), st.sampled_from([0.0, 0.3, 0.9, 2.0, 2.6, 20.0])),
    st.tuples(
        st.just("flush"),
        st.sets(st.sampled_from(SENDERS)),
        st.sets(st.sampled_from(SENDERS), max_size=2),
        st.booleans(),
    ),
    st.tuples(st.just("take"), st.sampled_from([0, 1, 3, ALL])),
)
# About one caller and one provider, slowly: what time, limits and a slow peer make of calls.
both = st.sampled_from(["a", "b"])
story = st.one_of(
    plain("a", wire.CALL, options=streaming),
    plain("a", wire.CALL, wire.CANCEL, wire.CANCEL, wire.CREDIT, options=streaming),
    provided.flatmap(lambda kind: plain("b", kind)),
    st.tuples(st.just("tick"), st.sampled_from([0.3, 0.5, 0.5, 0.7, 0.9, 1.2])),
    st.tuples(
        st.just("install"),
        st.builds(
            lambda number, provider, limit: Flow(number, "a", provider, 2, **limit),
            st.integers(1, 2),
            st.sampled_from(["b", "b", KERNEL]),
            limits,
        ),
    ),
    st.tuples(st.just("flush"), st.sets(both), st.sets(both, max_size=1), st.booleans()),
    st.tuples(st.just("return"), both, st.booleans()),
    st.tuples(st.just("event"), st.just(["a", "b"]), own_events, small_bodies),
    st.tuples(st.just("crowd"), both, st.sampled_from([*(250,) * 9, 2_047])),
)
BEAT = encode([wire.VERSION, wire.HEARTBEAT, None, 0, 0, None])


class Run:
    """One script on one switch. Whoever is admitted gets a routing id that nobody had before."""

    def __init__(self, switch: Any) -> None:
        self.switch = switch
        self.now = 0.0
        self.admitted = 0
        self.identities = dict.fromkeys(NAMES, b"")

    def resolve(self, sender: str | bytes) -> bytes:
        return self.identities[sender] if isinstance(sender, str) else sender

    def do(self, step: tuple[Any, ...]) -> Any:
        """Does one step; returns what it gave."""
        switch, now = self.switch, self.now
        match step:
            case ("receive", sender, header, body):
                return switch.receive(self.resolve(sender), header, body, now)
            case ("inject", name, header, body):
                switch.inject(name, header, body, now)
            case ("admit", name):
                self.admitted += 1
                self.identities[name] = self.admitted.to_bytes(wire.IDENTITY_BYTES, "big")
                switch.admit(name, self.identities[name], now, False)
            case ("consoles",):
                switch.admit("con", SECRET, now, True)
            case ("open" | "expel" as command, name):
                getattr(switch, command)(name, now)
            case ("violated", sender):
                switch.violated(self.resolve(sender), now)
            case ("return", name, safe):
                for step in [("expel", name), ("admit", name), ("open", name)]:
                    self.do(step)
                switch.install(Flow(1, "a", "b", 2, safe))
            case ("crowd", name, number):
                for _ in range(number):
                    switch.send(name, BEAT, b"")
            case ("tick", seconds):
                self.now += seconds
                switch.tick(self.now)
            case ("flush", busy, gone, absent):
                refused = {self.resolve(sender) for sender in busy}
                lost = {self.resolve(sender) for sender in gone}
                return by_receiver(switch.flush(refused, lost, absent, now))
            case ("take", limit):
                return [tuple(upcall) for upcall in switch.take(limit)]
            case (command, *arguments):
                getattr(switch, command)(*arguments)
        return None


def compare(script: list[tuple[Any, ...]]) -> None:
    ours = Run(Python())
    theirs = Run(load().SwitchProbe(HEARTBEAT_MS, wire.LIVENESS, wire.GRACE_MS, 0.0))
    start: list[tuple[Any, ...]] = [("admit", name) for name in NAMES[:2]]
    start += [("consoles",), *(("open", name) for name in NAMES)]
    start += [("install", Flow(1, "a", "b", 2)), ("install", Flow(2, "a", KERNEL, 2))]
    end: list[tuple[Any, ...]] = [("tick", 5.0), ("flush", set(), set(), True), ("take", ALL)]
    for step in [*start, *script, *end]:
        assert ours.do(step) == theirs.do(step), step
        assert seen(ours.switch) == seen(theirs.switch), step


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(steps, min_size=20, max_size=80))
def test_both_switches_do_the_same(script: list[tuple[Any, ...]]) -> None:
    compare(script)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(story, min_size=30, max_size=80))
def test_calls_fare_the_same_in_both(script: list[tuple[Any, ...]]) -> None:
    compare([("install", Flow(1, "a", "b", 2, True)), *script])


@settings(max_examples=10 * EXAMPLES, deadline=None)
@given(headers)
def test_both_read_the_same_headers(header: bytes) -> None:
    compare([("receive", "a", header, b"")])


def test_bounds_are_the_same() -> None:
    """More calls, upcalls, queued messages, events, errors and consoles than there may be."""

    def say(kind: int, target: object, request: int, size: int = 40_000) -> tuple[Any, ...]:
        header = encode([wire.VERSION, kind, target, request, 0, None])
        return "receive", "b" if kind in (wire.RESULT, wire.ERROR) else "a", header, b"x" * size

    def call(target: object, request: int) -> tuple[Any, ...]:
        return say(wire.CALL, target, request)

    many = range(1, 1_100)
    compare([call(1, request) for request in many])
    compare([call("t.a/1", request) for request in many])
    compare([*(say(wire.SUBSCRIBE, "t.a", request) for request in many), ("take", ALL)])
    compare([call(1, 1), *(say(wire.CANCEL, 1, 1),) * 5, ("tick", 3.0), ("take", ALL)])
    compare([call(1, 1), *(("inject", KERNEL, b"\x96\x01\x08\x01\x01\x00\xc0", b""),) * 2])
    nobody: set[str] = set()
    flush = ("flush", set(NAMES), nobody, False)
    send = ("send", "b", BEAT, b"x" * 40_000)
    full: list[tuple[Any, ...]] = [*(send,) * 2_100, flush, call(1, 7)]
    compare([*full, flush, ("flush", nobody, {"b"}, False), flush, ("expel", "b"), ("take", ALL)])
    # Answers to a caller that reads nothing: large ones become small errors, those come to an end.
    crowd = ("crowd", "a", 2_100)
    calls = [call(1, request) for request in range(1, 1_000)]
    answers = [
        say(wire.ERROR if request % 3 else wire.RESULT, 1, request, 5_000 * (request % 2))
        for request in range(1, 1_000)
    ]
    refused = [call(1, request) for request in (*many, *many)]
    compare([*calls, crowd, flush, *answers, flush, *refused, flush, ("take", ALL)])
    event = encode([wire.VERSION, wire.EVENT, "t.a", 1, 0, None])
    events = [("event", ["a", "b", KERNEL], event, b"v"), flush] * 300
    compare([*events, ("take", ALL), ("flush", nobody, nobody, True), *events[:2], ("expel", "a")])
    consoles = [SECRET + n.to_bytes(16, "big") for n in range(300)]
    compare([("receive", identity, BEAT, b"") for identity in consoles])
    beat = ("receive", "a", BEAT, b"")
    second = [("tick", 1.0)] * 6
    compare([*second, ("take", ALL), beat, *second[:2], *second, ("take", ALL)])


def test_a_flow_that_changes_its_caller_keeps_the_calls_of_the_former() -> None:
    call = ("receive", "a", encode([wire.VERSION, wire.CALL, 1, 1, 900, None]), b"")
    result = ("receive", "b", encode([wire.VERSION, wire.RESULT, 1, 1, 0, None]), b"")
    taken = ("install", Flow(1, "b", KERNEL, 3))
    flush = ("flush", set(), set(), True)
    compare([call, taken, result, flush, ("tick", 1.0), flush, ("tick", 3.0), ("take", ALL)])
    compare([call, taken, ("expel", "b"), flush, ("tick", 1.0), flush])
    compare([call, taken, ("expel", "a"), flush, result, flush])


def say(sender: str, kind: int, target: object, request: int, **more: Any) -> tuple[Any, ...]:
    options, body = more.get("options"), more.get("body", b"")
    fields = [wire.VERSION, kind, target, request, more.get("ttl", 0), None]
    return "receive", sender, encode(fields if options is None else [*fields, options]), body


def test_rare_turns_are_the_same() -> None:
    """What random steps seldom come to, each alone."""
    call, flush, take = say("a", wire.CALL, 1, 1), ("flush", set(), set(), True), ("take", ALL)
    cancel, half = say("a", wire.CANCEL, 1, 1), ("tick", 0.5)
    safe = ("install", Flow(1, "a", "b", 2, safe=True))
    stuck = ("flush", {"a", "b"}, set(), False)
    fill = ("crowd", "a", 2_048)
    stream = say("a", wire.CALL, 1, 1, options={"stream": 5_000})
    chunk = say("b", wire.CHUNK, 1, 1)
    kernels = ("install", Flow(3, KERNEL, "b", 2))
    kernel_call = ("inject", KERNEL, encode([wire.VERSION, wire.CALL, 3, 1, 0, None]), b"")
    kernel_result = say("b", wire.RESULT, 3, 1)
    compare([call, cancel, *[half] * 8, flush, take, say("b", wire.RESULT, 1, 1), flush])
    compare([call, cancel, ("expel", "b"), *[half] * 8, flush, take])
    compare([stream, *[chunk] * 1_030, flush, take])
    compare([stream, beat_of("a"), stuck, fill, stuck, chunk, stuck, *[half] * 8, flush, take])
    for first in (call, safe):
        full = [first, call, beat_of("a"), stuck, fill, stuck]
        compare([*full, say("b", wire.RESULT, 1, 1), stuck, flush])
        for again in (True, False):
            late = say("a", wire.CALL, 1, 2, options={"again": again})
            compare([first, call, stuck, ("crowd", "b", 2_048), stuck, late, stuck, flush])
            compare([first, stuck, late, stuck, ("expel", "b"), flush])
            one = ("install", Flow(1, "a", "b", 2, safe=first is safe, credit=1))
            compare([one, call, late, flush])
    compare([("crowd", "b", 2_100), stuck, call, stuck, say("a", wire.CALL, 1, 2), take, flush])
    limited = ("install", Flow(1, "a", "b", 2, False, 0, 1.0, 2))
    numbers = range(1, 9)
    calls = [say("a", wire.CALL, 1, number) for number in numbers]
    compare([limited, *calls[:3], ("tick", 20.0), *calls[3:], flush])
    compare([kernels, kernel_call, ("revoke", 9), ("expel", "a"), kernel_result, flush, take])
    compare([kernels, ("revoke", 9), kernel_call, flush, take])
    compare([kernels, kernel_call, ("expel", "b"), flush, take, kernel_call, take])
    compare([say("a", wire.CALL, 1, 1, options={"idem": "key"}), take, flush])
    progress = ("inject", "b", encode([wire.VERSION, wire.PROGRESS, 3, 1, 0, None]), b"")
    compare([kernels, kernel_call, *[progress] * 1_100, take])
    compare([*[say("b", wire.EVENT, "t", 0)] * 1_100, ("violated", "b"), take])
    for first in ([wire.VERSION, wire.BYE, None, 0, 0, None], [2, wire.HELLO]):
        compare([("admit", "c"), ("receive", "c", encode(first), b""), take, ("open", "c"), take])


def beat_of(sender: str) -> tuple[Any, ...]:
    return "receive", sender, BEAT, b""
