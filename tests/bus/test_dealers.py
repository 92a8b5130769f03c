"""The sockets of the clients, pyzmq's and the native one: the same messages, refusals and waits."""

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from symphony.bus import native, wire
from symphony.bus.dealer import Dealer
from symphony.bus.dial import dial
from symphony.bus.errors import BusError
from symphony.bus.link import HIGH_WATER, readable
from symphony.bus.nativedealer import NativeDealer
from symphony.bus.ticket import Curve, Ticket

from .conftest import LIMIT_S, NEEDS_NATIVE

IDENTITY = bytes(range(wire.IDENTITY_BYTES))
SIZES = [0, 64, 65_535, 65_536, wire.MAX_BODY]  # around the size from which nothing is copied
Make = Callable[[Ticket], Any]


@pytest.fixture(
    params=[
        pytest.param(Dealer, id="reference"),
        pytest.param(NativeDealer, id="native", marks=NEEDS_NATIVE),
    ]
)
def make(request: pytest.FixtureRequest) -> Make:
    kind: Make = request.param
    return kind


@pytest.fixture
def router() -> Iterator["zmq.Socket[bytes]"]:
    context = zmq.Context()
    with context.socket(zmq.ROUTER) as socket:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RCVTIMEO, int(LIMIT_S * 1_000))
        yield socket
    context.term()


def ticket(endpoint: str, curve: Curve | None = None) -> Ticket:
    return Ticket(wire.VERSION, endpoint, IDENTITY.hex(), "p", "/in", "/out", curve)


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/bus"


def taken(dealer: Any, number: int) -> list[tuple[bytes, bytes]]:
    """As many messages as must come, waited for at the descriptor."""
    come = readable(dealer.fileno)
    messages: list[Any] = []
    while len(messages) < number:
        got = dealer.take(number - len(messages))
        messages += got
        if not got:
            assert come(LIMIT_S), "nothing came"
    return [(bytes(header), bytes(body)) for header, body in messages]


@pytest.mark.parametrize("size", SIZES)
def test_messages_go_and_come_as_they_are(
    make: Make, router: "zmq.Socket[bytes]", endpoint: str, size: int
) -> None:
    router.bind(endpoint)
    dealer = make(ticket(endpoint))
    body = bytes(range(256)) * (size // 256 + 1)
    assert dealer.send(b"header", body[:size])
    assert router.recv_multipart() == [IDENTITY, b"header", body[:size]]
    router.send_multipart([IDENTITY, b"back", body[:size]])
    assert taken(dealer, 1) == [(b"back", body[:size])]
    dealer.close()


def test_no_more_are_taken_than_asked_for_and_the_rest_stays_in_order(
    make: Make, router: "zmq.Socket[bytes]", endpoint: str
) -> None:
    router.bind(endpoint)
    dealer = make(ticket(endpoint))
    dealer.send(b"", b"")
    router.recv_multipart()
    for number in range(10):
        router.send_multipart([IDENTITY, b"%d" % number, b""])
    first = taken(dealer, 4)
    assert len(dealer.take(0)) == 0
    assert [header for header, _ in first + taken(dealer, 6)] == [b"%d" % n for n in range(10)]
    assert dealer.take(1) == []
    dealer.close()


def test_messages_of_other_than_two_frames_are_passed_over(
    make: Make, router: "zmq.Socket[bytes]", endpoint: str
) -> None:
    router.bind(endpoint)
    dealer = make(ticket(endpoint))
    dealer.send(b"", b"")
    router.recv_multipart()
    for frames in ([b"one"], [b"a", b"b", b"three"], [b"a"] * 9, [b"header", b"body"]):
        router.send_multipart([IDENTITY, *frames])
    assert taken(dealer, 1) == [(b"header", b"body")]
    assert dealer.take(1) == []
    dealer.close()


def test_a_full_transport_says_so_and_a_hub_that_comes_late_gets_what_it_took(
    make: Make, router: "zmq.Socket[bytes]", endpoint: str
) -> None:
    dealer = make(ticket(endpoint))
    sent = 0
    while dealer.send(b"%d" % sent, b"body"):
        sent += 1
        assert sent <= HIGH_WATER
    assert sent == HIGH_WATER
    router.bind(endpoint)
    for number in range(sent):
        assert router.recv_multipart()[1:] == [b"%d" % number, b"body"]
    dealer.close()


def test_it_connects_again_to_a_hub_that_went_away(make: Make, endpoint: str) -> None:
    dealer = make(ticket(endpoint))
    for _ in range(3):
        with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            router.bind(endpoint)
            # What was on the old connection when it was cut is lost.
            end = time.monotonic() + LIMIT_S
            while not router.poll(20):
                assert time.monotonic() < end
                dealer.send(b"header", b"body")
            assert router.recv_multipart() == [IDENTITY, b"header", b"body"]
            router.send_multipart([IDENTITY, b"back", b""])
            assert taken(dealer, 1) == [(b"back", b"")]
    dealer.close()


def test_what_was_sent_before_closing_arrives(
    make: Make, router: "zmq.Socket[bytes]", endpoint: str
) -> None:
    router.bind(endpoint)
    dealer = make(ticket(endpoint))
    dealer.send(b"last", bytes(wire.MAX_BODY))
    dealer.close()
    assert router.recv_multipart() == [IDENTITY, b"last", bytes(wire.MAX_BODY)]


def test_a_large_body_outlives_its_connection(
    make: Make, router: "zmq.Socket[bytes]", endpoint: str
) -> None:
    router.bind(endpoint)
    dealer = make(ticket(endpoint))
    dealer.send(b"", b"")
    router.recv_multipart()
    router.send_multipart([IDENTITY, b"large", b"x" * 100_000])
    come = readable(dealer.fileno)
    while not (messages := dealer.take(1)):
        assert come(LIMIT_S)
    dealer.close()
    del dealer
    gc.collect()
    body = messages[0][1]
    assert bytes(body) == b"x" * 100_000
    assert make is Dealer or memoryview(body).readonly


@NEEDS_NATIVE
def test_a_large_body_is_sent_without_a_copy_and_then_let_go(
    router: "zmq.Socket[bytes]", endpoint: str
) -> None:
    dealer = NativeDealer(ticket(endpoint))
    body = b"x" * 100_000
    before = sys.getrefcount(body)
    dealer.send(b"h", body)
    assert sys.getrefcount(body) == before + 1
    router.bind(endpoint)
    assert router.recv_multipart()[2] == body
    turns = 0
    while sys.getrefcount(body) > before:  # libzmq lets go after the last write
        dealer.take(1)
        router.poll(10)
        turns += 1
        assert turns < LIMIT_S * 100
    dealer.close()


def test_curve_lets_it_in_and_a_key_that_is_none_is_refused(
    make: Make, router: "zmq.Socket[bytes]"
) -> None:
    server, mine = zmq.curve_keypair(), zmq.curve_keypair()
    router.set(zmq.CURVE_SERVER, 1)
    router.set(zmq.CURVE_SECRETKEY, server[1])
    port = router.bind_to_random_port("tcp://127.0.0.1")
    public, own, secret = (key.decode() for key in (server[0], *mine))
    place = f"tcp://127.0.0.1:{port}"
    dealer = make(ticket(place, Curve(public, own, secret)))
    dealer.send(b"header", b"x" * 100_000)
    assert router.recv_multipart() == [IDENTITY, b"header", b"x" * 100_000]
    router.send_multipart([IDENTITY, b"back", b"y" * 100_000])
    assert taken(dealer, 1) == [(b"back", b"y" * 100_000)]
    dealer.close()
    for wrong in ("é" * 40, " " * 40):
        with pytest.raises(BusError) as caught:
            make(ticket(place, Curve(wrong, own, secret)))
        assert (caught.value.code, caught.value.where) == ("bad-request", "curve")


def test_an_endpoint_that_is_none_is_refused(make: Make) -> None:
    for place in ("nonsense://x", "ipc://" + "x" * 200, "tcp://127.0.0.1:no"):
        with pytest.raises(BusError) as caught:
            make(ticket(place))
        assert (caught.value.code, caught.value.where) == ("unavailable", place)


@NEEDS_NATIVE
def test_the_native_one_is_taken_where_it_is_installed_and_needs_no_pyzmq(endpoint: str) -> None:
    code = f"""
import sys
from symphony.bus import extension, worker
from symphony.bus.dial import dial
from symphony.bus.ticket import Ticket
dial(Ticket.from_json({ticket(endpoint).to_json()!r})).close()
print(sorted({{"zmq", "asyncio", {native.MODULE!r}}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{[native.MODULE]}\n"


def test_without_the_wheel_it_is_pyzmqs(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setattr(native, "MODULE", "symphony_native_that_is_not_installed")
    dealer = dial(ticket(endpoint))
    assert isinstance(dealer, Dealer)
    dealer.close()
