"""What a peer does for its user: each client with each hub, against the same extension."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from symphony.bus.errors import BusError

from .conftest import NEEDS_NATIVE
from .peers import LIMIT_S, LIMITED, RETRY, TOPIC, AsyncCaller, SyncCaller, joined

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PAIRS = [("fake", "fake")] + [
    (client, hub) for client in ("sync", "async") for hub in ("memory", "reference", "native")
]


class Args(msgspec.Struct):
    text: str
    number: int


@pytest.fixture(
    params=[
        pytest.param(pair, id="-".join(pair), marks=[NEEDS_NATIVE] if "native" in pair else [])
        for pair in PAIRS
    ]
)
def caller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    client, hub = request.param
    with joined(client, hub, tmp_path) as made:
        yield made


def test_a_call_brings_its_result(caller: Any) -> None:
    for n in range(3):  # by name, then by flow
        assert caller.call(args={"n": n}) == {"n": n}


def test_a_large_body_comes_back_as_it_went(caller: Any) -> None:
    data = bytes(range(256)) * 4_000
    assert caller.call(args={"data": data}) == {"data": data}


def test_an_error_says_what_was_wrong(caller: Any) -> None:
    with pytest.raises(BusError) as caught:
        caller.call("raises")
    error = caught.value
    assert (error.code, error.cls, error.message) == ("failed", "ValueError", "no good")
    with pytest.raises(BusError) as caught:
        caller.call("parts", args={"number": "x"})
    assert (caught.value.code, caught.value.where) == ("bad-request", "number")
    with pytest.raises(BusError, match=r"refused|unavailable"):
        caller.call(capability="no.such/1")
    assert caller.call(args={"still": "here"}) == {"still": "here"}


def test_a_result_is_read_as_the_type_that_was_asked_for(caller: Any) -> None:
    args = {"text": "x", "number": 1}
    assert caller.call(args=args, type=Args) == Args("x", 1)
    with pytest.raises(BusError) as caught:
        caller.call(args={"text": "x", "number": "1"}, type=Args)
    assert caught.value.code == "wrong-output"
    assert "number" in caught.value.message


def test_a_call_ends_at_its_deadline(caller: Any) -> None:
    with pytest.raises(BusError, match="deadline"):
        caller.call("wait", ttl_ms=30)
    assert caller.call(args={"still": "here"}) == {"still": "here"}


def test_a_stream_brings_every_chunk_in_order_and_then_its_result(caller: Any) -> None:
    for method, result in (("parts", "all"), ("chunks", True)):
        for credit in (1, 2, 16):
            stream = caller.stream(method, {"number": 50}, credit)
            assert list(stream) == list(range(50))
            assert stream.result() == result


def test_a_stream_that_breaks_ends_with_the_error_after_its_chunks(caller: Any) -> None:
    stream = caller.stream("breaks", {}, 4)
    assert next(stream) == 1
    with pytest.raises(BusError, match="broken off"):
        next(stream)


def test_the_provider_is_never_ahead_by_more_than_the_credit(caller: Any) -> None:
    stream = caller.stream("parts", {"number": 1_000}, 4)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    stream.leave()
    counts = caller.call("count")
    assert counts["yielded"] <= 3 + 4 + 1  # one is made and waits
    assert counts["left"] == 1


def test_cancel_ends_a_stream_without_credit(caller: Any) -> None:
    stream = caller.stream("chunks", {"number": 10}, 1)
    assert next(stream) == 0
    stream.cancel()
    with pytest.raises(BusError, match="cancelled"):
        stream.result()
    assert caller.call(args={"still": "here"}) == {"still": "here"}


def test_who_asks_for_no_chunks_gets_the_result_alone(caller: Any) -> None:
    assert caller.call("parts", args={"number": 5}) == "all"
    assert caller.call("chunks", args={"number": 5}) is False


def test_events_come_in_order_with_their_number_until_the_subscription_ends(caller: Any) -> None:
    heard = caller.subscribe(TOPIC)
    for n in range(3):
        caller.publish(TOPIC, {"n": n})
    events = [heard.get(timeout=LIMIT_S) for _ in range(3)]
    assert [event.value for event in events] == [{"n": n} for n in range(3)]
    first = events[0].sequence
    assert [event.sequence for event in events] == [first, first + 1, first + 2]
    assert not any(event.snapshot or event.gap for event in events)
    caller.unsubscribe(TOPIC)
    caller.publish(TOPIC, "unheard")
    assert caller.call(args={}) == {}
    assert heard.empty()


def test_a_late_subscriber_gets_the_kept_event(caller: Any) -> None:
    caller.publish(TOPIC, "first", keep=True)
    caller.publish(TOPIC, "last", keep=True)
    event = caller.subscribe(TOPIC).get(timeout=LIMIT_S)
    assert (event.topic, event.value, event.snapshot) == (TOPIC, "last", True)


@pytest.mark.parametrize("topic", ["No.Topic", "no_topic", "no..topic", "a.b/1", "", "t\n", "7"])
def test_what_is_no_topic_is_refused_before_it_is_sent(caller: Any, topic: str) -> None:
    for ask in (caller.publish, caller.subscribe, caller.unsubscribe):
        with pytest.raises(BusError) as caught:
            ask(topic, "value") if ask == caller.publish else ask(topic)
        assert (caught.value.code, caught.value.where) == ("bad-request", "target")
    assert caller.call(args={"still": "here"}) == {"still": "here"}


def test_an_idempotent_call_takes_effect_once(caller: Any) -> None:
    first = caller.call("count", idem="key")
    assert caller.call("count", idem="key") == first
    assert caller.call("count")["times"] == first["times"] + 1
    with pytest.raises(BusError, match="conflict"):
        caller.call("raises", idem="key")


def test_the_trace_of_a_call_reaches_its_provider(caller: Any) -> None:
    assert caller.call("trace", trace=TRACE) == TRACE
    made = caller.call("trace")
    assert made != caller.call("trace")
    assert (len(made), made[:3], made[-3:]) == (55, "00-", "-01")


@pytest.fixture
def real(caller: Any) -> Any:
    """A caller with a provider in a process of its own."""
    if not isinstance(caller, SyncCaller | AsyncCaller) or caller.world.memory:
        pytest.skip("there is no provider that runs beside the test")
    return caller


def test_cancel_ends_a_call(real: Any) -> None:
    if isinstance(real, SyncCaller):
        with pytest.raises(BusError, match="cancelled"):
            real.start_and_cancel("wait")
    assert real.call(args={"still": "here"}) == {"still": "here"}


def test_a_call_over_its_rate_is_made_again_where_that_is_safe(real: Any) -> None:
    assert real.call(capability=LIMITED) == "done"
    with pytest.raises(BusError) as caught:
        real.call(capability=LIMITED)
    assert (caught.value.code, caught.value.repeatable) == ("overloaded", True)
    assert real.call(capability=LIMITED, retry=RETRY) == "done"


def test_a_call_outlives_the_hub_and_takes_effect_once(real: Any, tmp_path: Path) -> None:
    if not hasattr(real.world.made[-1], "_crash"):
        pytest.skip("this datapath cannot be made to crash")
    started, go = tmp_path / "started", tmp_path / "go"
    answers: list[Any] = []
    heard = real.subscribe(TOPIC)
    args = {"started": str(started), "go": str(go)}
    calling = threading.Thread(target=lambda: answers.append(real.call("gate", args=args)))
    calling.start()
    while not started.exists():
        calling.join(0.005)
    real.world.crash()
    while len(real.world.made) < 2:
        calling.join(0.005)
    go.touch()
    calling.join(LIMIT_S)
    assert answers == [1]
    assert real.call("count")["times"] == 2
    real.publish(TOPIC, "after")
    assert heard.get(timeout=LIMIT_S).value == "after"
