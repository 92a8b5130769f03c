"""Whatever peers send, the switch never raises, never speaks to a stranger and stays bounded."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from symphony.bus import wire
from symphony.bus.codec import decode, decode_header, encode
from symphony.bus.datapath import Flow, UpcallQueue
from symphony.bus.switch import Switch

NAMES = ("a", "b", "c")
IDENTITIES = [name.encode() * 16 for name in NAMES]
STRANGER = b"x" * 16

targets = st.none() | st.integers(0, 5) | st.sampled_from(["t.a/1", "", "t"])
headers = st.one_of(
    st.binary(max_size=40),
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 16),
        targets,
        st.integers(0, 6),
        st.integers(0, 3000),
        st.none() | st.text(max_size=3),
    ).map(encode),
)
received = st.tuples(
    st.just("receive"), st.sampled_from([*IDENTITIES, STRANGER]), headers, st.binary(max_size=8)
)
commands = st.one_of(
    st.tuples(st.just("install"), st.integers(1, 5), *[st.sampled_from(NAMES)] * 2),
    st.tuples(st.just("revoke"), st.integers(0, 3)),
    st.tuples(st.just("expel"), st.sampled_from(NAMES)),
    st.tuples(st.just("admit"), st.integers(0, 2)),
    st.tuples(st.just("tick"), st.floats(0, 10)),
    st.tuples(st.just("lost"), st.booleans()),
    st.tuples(st.just("violated"), st.sampled_from([*IDENTITIES, STRANGER])),
)


@given(st.lists(st.one_of(received, commands), max_size=60))
def test_any_sequence(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    now = 0.0
    switch = Switch(
        UpcallQueue(lambda: None), heartbeat_ms=1_000, liveness=5, grace_ms=2_000, now=now
    )
    admitted: dict[bytes, str] = {}

    def admit(at: int) -> None:
        switch.admit(NAMES[at], IDENTITIES[at], now)
        switch.open(NAMES[at], now)
        admitted[IDENTITIES[at]] = NAMES[at]

    for at in range(2):
        admit(at)
    for step in steps:
        match step:
            case ("receive", identity, header, body):
                assert switch.receive(identity, header, body, now) == (identity in admitted)
            case ("install", number, caller, provider):
                switch.install(Flow(number, caller, provider, 1))
            case ("revoke", generation):
                switch.revoke(generation)
            case ("expel", name):
                switch.expel(name, now)
                admitted = {key: value for key, value in admitted.items() if value != name}
            case ("admit", at):
                admit(at)
            case ("tick", seconds):
                now += seconds
                switch.tick(now)
            case ("violated", identity):
                switch.violated(identity, now)
                admitted.pop(identity, None)
            case ("lost", gone):
                for peer, header, body in list(switch.out):
                    switch.losses.undeliverable(peer, header, body, now, gone=gone)
        for peer, header, body in switch.out:
            assert peer.identity in IDENTITIES
            assert len(header) <= wire.MAX_HEADER
            assert len(body) <= wire.MAX_BODY
        if step[0] != "lost":
            new = {peer.identity for peer, *_ in switch.out if step[0] == "receive"}
            assert new <= set(admitted)
        switch.out.clear()


@given(st.lists(st.integers(1, 2000), max_size=1500))
def test_open_calls_are_bounded(requests: list[int]) -> None:
    switch = Switch(
        UpcallQueue(lambda: None), heartbeat_ms=1_000, liveness=5, grace_ms=2_000, now=0.0
    )
    for name, identity in zip(NAMES, IDENTITIES, strict=True):
        switch.admit(name, identity, 0.0)
        switch.open(name, 0.0)
    switch.install(Flow(1, "a", "b", 1))
    for request in requests:
        switch.receive(IDENTITIES[0], encode([1, 4, 1, request, 0, None]), b"", 0.0)
    assert len(switch._by_name["a"].open_calls) == min(len(set(requests)), wire.MAX_OPEN_CALLS)


def joined(**limits: Any) -> Switch:
    """A caller `a` and a provider `b` with flow 1."""
    switch = Switch(
        UpcallQueue(lambda: None), heartbeat_ms=1_000, liveness=5, grace_ms=2_000, now=0.0
    )
    for name, identity in zip(NAMES, IDENTITIES, strict=True):
        switch.admit(name, identity, 0.0)
        switch.open(name, 0.0)
    switch.install(Flow(1, "a", "b", 1, **limits))
    return switch


def kinds_to(switch: Switch, name: str) -> list[int]:
    """Takes what is to be sent to a peer."""
    sent = [decode_header(header).kind for peer, header, _ in switch.out if peer.name == name]
    switch.out.clear()
    return sent


@given(st.integers(0, 5), st.lists(st.just("chunk") | st.integers(-1, 1_100), max_size=60))
def test_never_more_chunks_than_credit(first: int, steps: list[str | int]) -> None:
    switch = joined()
    call = encode([1, wire.CALL, 1, 1, 0, None, {"stream": first}])
    switch.receive(IDENTITIES[0], call, b"", 0.0)
    credit, delivered, alive = first, 0, True
    for step in steps:
        switch.out.clear()
        if step == "chunk":
            switch.receive(IDENTITIES[1], encode([1, wire.CHUNK, 1, 1, 0, None]), b"", 0.0)
            expected = ([wire.CHUNK] if delivered < credit else [wire.ERROR]) if alive else []
            alive = alive and delivered < credit
            delivered += alive
            assert kinds_to(switch, "a") == expected
        else:
            given_now = encode([1, wire.CREDIT, 1, 1, 0, None])
            switch.receive(IDENTITIES[0], given_now, encode(step), 0.0)
            fits = int(step) >= 1 and credit - delivered + int(step) <= wire.MAX_CREDIT
            if alive and fits:
                credit += int(step)
            assert kinds_to(switch, "b") == ([wire.CREDIT] if alive and fits else [])


@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.lists(st.floats(0, 0.5), min_size=1, max_size=200),
)
def test_a_rate_is_never_exceeded_and_its_hint_is_true(
    rate: int, burst: int, waits: list[float]
) -> None:
    switch = joined(rate=float(rate), burst=burst)
    now = 100.0
    begun, passed = now, 0
    for request, wait in enumerate(waits, 1):
        now += wait
        switch.receive(IDENTITIES[0], encode([1, wire.CALL, 1, request, 0, None]), b"", now)
        ((_, header, body),) = switch.out
        if decode_header(header).kind == wire.CALL:
            passed += 1
        else:
            now += decode(body)["retry_after_ms"] / 1000 + 1e-6
            switch.out.clear()
            again = encode([1, wire.CALL, 1, 10_000 + request, 0, None])
            switch.receive(IDENTITIES[0], again, b"", now)
            assert kinds_to(switch, "b") == [wire.CALL]
            passed += 1
        switch.out.clear()
        assert passed <= burst + rate * (now - begun) + 1e-3


owing = st.one_of(
    st.tuples(st.sampled_from(["call", "cancel", "answer", "again"]), st.integers(1, 4)),
    st.tuples(st.just("tick"), st.floats(0, 0.9)),
)


@given(st.lists(owing, max_size=80))
def test_what_is_owed_ends_and_calls_add_up(steps: list[tuple[str, Any]]) -> None:
    switch = joined()
    now = 0.0
    for step, value in steps:
        if step == "tick":
            now += value
            switch.tick(now)
        elif step == "answer":
            switch.receive(IDENTITIES[1], encode([1, wire.RESULT, 1, value, 0, None]), b"", now)
        else:
            kind = wire.CANCEL if step == "cancel" else wire.CALL
            options = {"again": True} if step == "again" else None
            header = encode([1, kind, 1, value, 700, None, options])
            switch.receive(IDENTITIES[0], header, b"", now)
        (row,) = switch.flows()
        caller, provider = switch.peers()[:2]
        assert row.calls == row.results + row.errors + row.open
        assert row.open == caller.open_calls
        assert sum(row.latency) <= row.results + row.errors
    for _ in range(8):
        now += 0.5
        switch.tick(now)
    provider = switch.peers()[1]
    assert (provider.owed, switch.flows()[0].open) == (0, 0)
