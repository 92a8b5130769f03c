"""Whatever peers send, the switch never raises, never speaks to a stranger and stays bounded."""

from hypothesis import given
from hypothesis import strategies as st

from symphony.bus import wire
from symphony.bus.codec import encode
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
