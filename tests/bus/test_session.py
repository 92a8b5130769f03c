"""A peer's session without a socket: what a hub that starts anew, gaps and credit mean to it."""

import os
from typing import Any

import pytest

from symphony.bus import trace, wire
from symphony.bus.ask import Ask
from symphony.bus.codec import Header, decode, decode_header, encode, encode_header
from symphony.bus.errors import BusError
from symphony.bus.heard import Called, Chunked, CreditGiven, Event, Rejoined
from symphony.bus.messages import Welcome
from symphony.bus.session import Session
from symphony.bus.unsent import Unsent

CAPABILITY = "a.b/1"
FLOW = 7


def joined(*provides: str) -> Session:
    session = Session(0.0, provides)
    hear(session, wire.WELCOME, body=welcome(1))
    session.out.clear()
    return session


def welcome(epoch: int) -> Welcome:
    return Welcome("p", 1_000, 5, wire.MAX_BODY, wire.INLINE_MAX, epoch)


def hear(session: Session, kind: int, *head: Any, body: object = None, **options: object) -> Any:
    header = encode_header(kind, *head, options=options or None)
    return session.receive(header, encode(body), 1.0)


def said(session: Session) -> list[tuple[Header, Any]]:
    out = [(decode_header(header), decode(body) if body else None) for header, body in session.out]
    session.out.clear()
    return out


def test_a_call_that_still_runs_is_not_begun_again() -> None:
    session = joined(CAPABILITY)
    assert isinstance(hear(session, wire.CALL, FLOW, 1, body={}), Called)
    assert hear(session, wire.CALL, FLOW, 1, body={}, again=True) is None
    assert said(session) == []
    session.serving.answer(FLOW, 1, "done", 1.0)
    assert len(said(session)) == 1


def test_an_answer_is_repeated_from_memory_within_its_bounds() -> None:
    session = joined(CAPABILITY)
    for request in range(1, wire.MAX_ANSWERS + 2):
        hear(session, wire.CALL, FLOW, request, body={})
        session.serving.answer(FLOW, request, request, 1.0)
    session.out.clear()
    assert hear(session, wire.CALL, FLOW, 2, body={}, again=True) is None
    [(head, value)] = said(session)
    assert (head.kind, head.target, head.request, value) == (wire.RESULT, FLOW, 2, 2)
    assert hear(session, wire.CALL, FLOW, 1, body={}, again=True) is None
    [(head, value)] = said(session)
    assert (head.kind, head.request, value["code"]) == (wire.ERROR, 1, "crashed")
    assert isinstance(hear(session, wire.CALL, FLOW, 9_999, body={}, again=True), Called)


def test_large_answers_leave_the_memory_sooner() -> None:
    session = joined(CAPABILITY)
    for request in range(1, 6):
        hear(session, wire.CALL, FLOW, request, body={})
        session.serving.answer(FLOW, request, bytes(wire.MAX_ANSWER_BYTES // 4), 1.0)
    session.out.clear()
    for request, kind in ((1, wire.ERROR), (5, wire.RESULT)):
        assert hear(session, wire.CALL, FLOW, request, body={}, again=True) is None
        [(head, _)] = said(session)
        assert head.kind == kind
        session.out.clear()


def test_a_new_epoch_repeats_calls_and_subscriptions_and_ends_streams() -> None:
    session = joined()
    asking = session.asking
    call = asking.call(CAPABILITY, "m", {"x": 1}, 5_000, 0.0, options={"idem": "k"})
    stream = asking.call(CAPABILITY, None, {}, 0, 0.0, options={"stream": 4})
    gone = asking.call(CAPABILITY, None, {}, 0, 0.0)
    asking.cancel(gone, 0.0)
    subscribed = asking.subscribe("t.opic", 0.0)
    hear(session, wire.RESULT, None, subscribed)
    session.out.clear()
    assert hear(session, wire.WELCOME, body=welcome(1)) is None
    assert said(session) == []
    rejoined = hear(session, wire.WELCOME, body=welcome(2))
    assert isinstance(rejoined, Rejoined)
    codes = {answer.request: answer.error.code for answer in rejoined.ended if answer.error}
    assert codes == {stream: "unavailable", gone: "cancelled"}
    out = said(session)
    [repeated] = [(head, value) for head, value in out if head.kind == wire.CALL]
    assert (repeated[0].request, repeated[0].method, repeated[1]) == (call, "m", {"x": 1})
    assert repeated[0].options == {"idem": "k", "again": True}
    assert repeated[0].ttl == 4_000
    assert [head.target for head, _ in out if head.kind == wire.SUBSCRIBE] == ["t.opic"]


def test_a_provider_learns_which_streams_went_with_the_old_hub() -> None:
    session = joined(CAPABILITY)
    hear(session, wire.CALL, FLOW, 1, body={}, stream=2)
    hear(session, wire.CALL, FLOW, 2, body={})
    rejoined = hear(session, wire.WELCOME, body=welcome(2))
    assert [(lost.flow, lost.request) for lost in rejoined.lost] == [(FLOW, 1)]


def test_a_provider_has_the_credit_it_was_given_and_no_more() -> None:
    session = joined(CAPABILITY)
    hear(session, wire.CALL, FLOW, 1, body={}, stream=1)
    chunk = session.serving.chunk
    assert [chunk(FLOW, 1, n, 1.0) for n in range(2)] == [True, False]
    assert isinstance(hear(session, wire.CREDIT, FLOW, 1, body=2), CreditGiven)
    assert [chunk(FLOW, 1, n, 1.0) for n in range(3)] == [True, True, False]
    for wrong in (0, -1, "2", None):
        assert hear(session, wire.CREDIT, FLOW, 1, body=wrong) is None
    assert session.dropped == 4
    assert chunk(FLOW, 1, 0, 1.0) is False


@pytest.mark.parametrize("known", [False, True])
def test_a_call_whose_header_nobody_could_read_is_refused(known: bool) -> None:
    """Whether the capability has a flow by now or not."""
    session = joined()

    def call(method: Any = None, **options: object) -> int:
        return session.asking.call(CAPABILITY, method, {}, 0, 1.0, options=options or None)

    if known:
        hear(session, wire.RESULT, FLOW, call())
        said(session)
    wrong: list[tuple[Any, dict[str, object]]] = [
        (5, {}),
        ("Open", {}),
        ("Open", {"trace": "t"}),
        (b"m", {}),
        (5, {"trace": "t"}),
        ("m" * wire.MAX_HEADER, {"trace": "t"}),
        (None, {"trace": 5}),
        (None, {"trace": "t", "idem": "i" * (wire.MAX_IDEM + 1)}),
        (None, {"idem": "i" * (wire.MAX_IDEM + 1)}),
    ]
    for method, options in wrong:
        with pytest.raises(BusError) as caught:
            call(method, **options)
        assert caught.value.code == "bad-request"
        assert caught.value.where in ("header", "method", "idem")
        assert not session.out
    last = call("m", trace="t", idem="i", stream=1)
    target = FLOW if known else CAPABILITY
    options = {"trace": "t", "idem": "i", "stream": 1}
    assert said(session) == [(Header(1, wire.CALL, target, last, 0, "m", options), {})]


@pytest.mark.parametrize("credit", [0, -1, wire.MAX_CREDIT + 1, True, "1", None])
def test_a_stream_has_a_credit_with_which_chunks_come(credit: object) -> None:
    session = joined()
    with pytest.raises(BusError, match="1 to 1,024") as caught:
        session.asking.call(CAPABILITY, None, {}, 0, 1.0, options={"stream": credit})
    assert (caught.value.code, caught.value.where) == ("bad-request", "credit")
    assert not session.out


def test_an_event_says_what_was_lost_before_it() -> None:
    session = joined()
    session.asking.subscribe("t.opic", 0.0)
    heard = hear(session, wire.EVENT, "t.opic", 9, body="x", gap=3)
    assert heard == Event("t.opic", "x", 9, gap=3)
    assert hear(session, wire.EVENT, "other.topic", 1, body="x") is None


def test_a_chunk_of_the_wrong_type_ends_the_stream_at_both_ends() -> None:
    session = joined()
    request = session.asking.call(
        CAPABILITY, None, {}, 0, 0.0, options={"stream": 4}, chunk_type=int
    )
    session.out.clear()
    assert hear(session, wire.CHUNK, FLOW, request, body=1) == Chunked(request, 1)
    assert hear(session, wire.CHUNK, FLOW, request, body="1").error.code == "wrong-output"
    assert [head.kind for head, _ in said(session)] == [wire.CANCEL]


def test_every_trace_is_another_one_in_a_forked_process_too() -> None:
    seen = {trace.new() for _ in range(1_000)}
    assert len(seen) == 1_000
    assert all(trace.is_valid(one) for one in seen)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, " ".join(trace.new() for _ in range(64)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    theirs = set(os.read(reader, 4_096).decode().split())
    os.close(reader)
    assert len(theirs) == 64
    assert not theirs & {trace.new() for _ in range(64)}


def test_a_trace_goes_on_below_its_parent() -> None:
    parent = trace.new()
    below = trace.child(parent)
    assert (below[:36], below[52:]) == (parent[:36], parent[52:])
    assert below[36:52] != parent[36:52]
    for broken in ("", "x" * 55, parent[:-1], f"00-{'0' * 32}-{'1' * 16}-01", f"ff{parent[2:]}"):
        assert trace.child(broken)[3:35] != broken[3:35]


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"method": "Nope Method"}, "method"),
        ({"ttl_ms": 100.5}, "ttl_ms"),
        ({"idem": "k" * (wire.MAX_IDEM + 1)}, "idem"),
        ({"trace": "garbage"}, "trace"),
    ],
)
def test_what_cannot_be_sent_is_named_as_its_giver_knows_it(
    bad: dict[str, Any], where: str
) -> None:
    session = joined()
    with pytest.raises(BusError) as caught:
        Ask(CAPABILITY, bad.pop("method", None), None, bad.pop("ttl_ms", 0), **bad).open(
            session.asking, 1.0
        )
    assert (caught.value.code, caught.value.where) == ("bad-request", where)
    assert "$" not in caught.value.message
    assert said(session) == []


def test_so_many_bytes_wait_at_most() -> None:
    session = joined()
    session.asking.publish("a.topic", bytes(1 << 20), 1.0)
    (message,) = session.out
    for _ in range(wire.MAX_QUEUED_BYTES // (1 << 20)):
        session.unsent.send([message], lambda *_: False)
    with pytest.raises(BusError, match="overloaded"):
        session.asking.publish("a.topic", None, 1.0)
    assert session.asking.call(CAPABILITY, None, {}, 0, 1.0) == 1, "calls are bounded otherwise"
    session.unsent.send([], lambda *_: True)
    session.asking.publish("a.topic", None, 1.0)


def test_nothing_overtakes_what_waits() -> None:
    unsent, taken, takes = Unsent(), list[bytes](), iter([False, False, True, True])

    def send(header: bytes, _: bytes) -> bool:
        if not next(takes):
            return False
        taken.append(header)
        return True

    unsent.send([(b"first", b"")], send)
    unsent.send([(b"second", b"")], send)  # there may be room again by now
    assert taken == []
    unsent.send([], send)
    assert taken == [b"first", b"second"]
