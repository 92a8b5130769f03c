"""Heartbeats of a peer, without a socket or a clock (PROTOCOL.md section 3)."""

from symphony.bus import wire
from symphony.bus.codec import decode_header, encode, encode_header
from symphony.bus.messages import Progress, Welcome
from symphony.bus.session import Session

BEAT_S = wire.HEARTBEAT_MS / 1000


def test_a_peer_that_only_talks_asks_for_a_sign_of_the_hub_once_a_period() -> None:
    session = Session(0.0, ("a.b/1",))
    welcome = Welcome("p", wire.HEARTBEAT_MS, wire.LIVENESS, wire.MAX_BODY, wire.INLINE_MAX)
    session.receive(encode_header(wire.WELCOME), encode(welcome), 0.0)
    session.out.clear()
    beats = 0
    now = 0.0
    while now < 20 * BEAT_S:
        now += BEAT_S / 4
        session.serving.progress(1, 1, Progress(now), now)
        assert session.tick(now), "the hub answers every heartbeat and is not silent"
        for header, _ in session.out:
            if decode_header(header).kind == wire.HEARTBEAT:
                beats += 1
                session.receive(encode_header(wire.HEARTBEAT), b"", now)
        session.out.clear()
    assert 19 <= beats <= 20


def test_a_hub_that_answers_nothing_is_dead_however_much_the_peer_talks() -> None:
    session = Session(0.0, ("a.b/1",))
    now = 0.0
    while session.tick(now):
        session.serving.progress(1, 1, Progress(now), now)
        session.out.clear()
        now += BEAT_S / 4
    assert now <= (wire.LIVENESS + 1) * BEAT_S
