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
from symphony.bus.datapath import KERNEL, Flow, Upcall, UpcallQueue
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
            self.upcalls, heartbeat_ms=HEARTBEAT_MS, liveness=wire.LIVENESS, now=0.0
        )
        self.egress = Egress(self.switch, self._try_send)
        self.busy: Collection[bytes] = ()
        self.gone: Collection[bytes] = ()
        self.sent: list[Message] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.switch, name)

    def admit(self, name: str, identity: bytes, now: float, console: bool) -> None:
        self.switch.admit(name, identity, now, console=console)

    def install(self, *flow: Any) -> None:
        self.switch.install(Flow(*flow))

    def flush(self, busy: Collection[bytes], gone: Collection[bytes]) -> list[Message]:
        self.busy, self.gone, self.sent = busy, gone, []
        self.egress.flush()
        return self.sent

    def take(self) -> list[Upcall]:
        return self.upcalls.take()

    def counters(self) -> dict[str, int]:
        return {**self.switch.counts, "forwarded": self.egress.taken}

    def _try_send(self, identity: bytes, header: bytes, body: bytes) -> Refusal | None:
        if identity in self.gone:
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
    counts = {name: count for name, count in dict(switch.counters()).items() if count}
    return {"next tick": switch.next_tick(), "counters": counts}


NAMES = ("a", "b", "c")
SECRET = b"s" * wire.IDENTITY_BYTES
CONSOLES = [SECRET + bytes([n]) * wire.IDENTITY_BYTES for n in range(2)]
SENDERS = [*NAMES, *CONSOLES, SECRET, b"x" * 16, b"x" * 32, b""]  # a name: who has it now

names = st.sampled_from([*NAMES, KERNEL])
bodies = st.sampled_from([b"", b"\x80", b"body", bytes(wire.MAX_BODY), bytes(wire.MAX_BODY + 1)])
small_bodies = st.sampled_from([b"", b"\x80", b"body"])
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
methods = st.sampled_from([None, "put"])
options = st.none() | st.dictionaries(
    st.sampled_from([wire.CAPABILITY_OPTION, wire.TRACE_OPTION, "other"]), scalars, max_size=2
)
sound = st.one_of(
    st.tuples(st.just(wire.VERSION), kinds, targets, requests, ttls, methods),
    st.tuples(st.just(wire.VERSION), kinds, targets, requests, ttls, methods, options),
    st.tuples(st.just(wire.VERSION), kinds, targets, requests, ttls, methods, options, values),
).map(encode)


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
    st.binary(max_size=40),
    st.lists(values, min_size=5, max_size=9).map(encode),
    st.just(bytes(wire.MAX_HEADER + 1)),
)
received = st.tuples(st.just("receive"), st.sampled_from(SENDERS), headers, bodies)


def plain(sender: str, *kinds: int) -> st.SearchStrategy[tuple[Any, ...]]:
    """What well-behaved peers say: about few flows and requests, so that one leads to another."""
    header = st.tuples(
        st.just(wire.VERSION),
        st.sampled_from(kinds),
        st.integers(1, 2),
        st.integers(1, 3),
        ttls,
        st.none(),
    ).map(encode)
    return st.tuples(st.just("receive"), st.just(sender), header, small_bodies)


steps = st.one_of(
    plain("a", wire.CALL),
    plain("a", wire.CALL, wire.CALL, wire.CANCEL),
    plain("b", wire.RESULT, wire.ERROR, wire.PROGRESS),
    received,
    received,
    st.tuples(st.just("inject"), names, sound, small_bodies),
    st.tuples(st.just("send"), names, sound, small_bodies),
    st.tuples(st.just("install"), st.integers(1, 4), names, names, st.integers(1, 3)),
    st.tuples(st.just("revoke"), st.integers(0, 4)),
    st.tuples(st.just("admit"), st.sampled_from(NAMES)),
    st.tuples(st.just("consoles")),
    st.tuples(st.just("open"), st.sampled_from([*NAMES, "con/1", "con/2", "con/3"])),
    st.tuples(st.just("expel"), st.sampled_from([*NAMES, "con", "con/1", "con/2"])),
    st.tuples(st.just("tick"), st.sampled_from([0.0, 0.3, 2.0, 2.0, 2.6, 20.0])),
    st.tuples(
        st.just("flush"), st.sets(st.sampled_from(SENDERS)), st.sampled_from([None, *SENDERS])
    ),
    st.tuples(st.just("take")),
)


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
            case ("open", name):
                switch.open(name, now)
            case ("tick", seconds):
                self.now += seconds
                switch.tick(self.now)
            case ("flush", busy, gone):
                refused = {self.resolve(sender) for sender in busy}
                lost = set() if gone is None else {self.resolve(gone)}
                return by_receiver(switch.flush(refused, lost))
            case ("take",):
                return [tuple(upcall) for upcall in switch.take()]
            case (command, *arguments):
                getattr(switch, command)(*arguments)
        return None


def compare(script: list[tuple[Any, ...]]) -> None:
    ours = Run(Python())
    theirs = Run(load().SwitchProbe(HEARTBEAT_MS, wire.LIVENESS, 0.0))
    start: list[tuple[Any, ...]] = [("admit", name) for name in NAMES[:2]]
    start += [("consoles",), *(("open", name) for name in NAMES)]
    start += [("install", 1, "a", "b", 2), ("install", 2, "a", KERNEL, 2)]
    end: list[tuple[Any, ...]] = [("tick", 5.0), ("flush", set(), None), ("take",)]
    for step in [*start, *script, *end]:
        assert ours.do(step) == theirs.do(step), step
        assert seen(ours.switch) == seen(theirs.switch), step


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(steps, min_size=20, max_size=80))
def test_both_switches_do_the_same(script: list[tuple[Any, ...]]) -> None:
    compare(script)


@settings(max_examples=10 * EXAMPLES, deadline=None)
@given(headers)
def test_both_read_the_same_headers(header: bytes) -> None:
    compare([("receive", "a", header, b"")])


def test_bounds_are_the_same() -> None:
    """More calls, upcalls, queued messages and consoles than there may be."""

    def call(target: object, request: int) -> tuple[Any, ...]:
        header = encode([wire.VERSION, wire.CALL, target, request, 0, None])
        return "receive", "a", header, b"x" * 40_000

    many = range(1, 1_100)
    compare([call(1, request) for request in many])
    compare([call("t.a/1", request) for request in many])
    compare([call(1, 1), *(("inject", KERNEL, b"\x96\x01\x08\x01\x01\x00\xc0", b""),) * 2])
    heartbeat = encode([wire.VERSION, wire.HEARTBEAT, None, 0, 0, None])
    busy = set(NAMES)
    send = ("send", "b", heartbeat, b"x" * 40_000)
    full: list[tuple[Any, ...]] = [*(send,) * 2_100, ("flush", busy, None), call(1, 7)]
    compare([*full, ("flush", busy, None), ("flush", set(), "b")])
    consoles = [SECRET + n.to_bytes(16, "big") for n in range(300)]
    compare([("receive", identity, heartbeat, b"") for identity in consoles])
    beat = ("receive", "a", heartbeat, b"")
    second = [("tick", 1.0)] * 6
    compare([*second, ("take",), beat, *second[:2], *second, ("take",)])
