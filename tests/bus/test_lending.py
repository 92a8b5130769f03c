"""What libzmq holds for a peer, as the reference datapath books it."""

import time
from collections.abc import Iterator

import pytest
import zmq

from symphony.bus import wire
from symphony.bus.lending import Lending

from .conftest import LIMIT_S

PEER = b"peer"
MEBIBYTE = 1024 * 1024


Pipe = tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Two ends; what one sends is held until the other has received it."""
    with (
        zmq.Context() as context,
        context.socket(zmq.PAIR) as near,
        context.socket(zmq.PAIR) as far,
    ):
        near.bind("inproc://lending")
        far.connect("inproc://lending")
        yield near, far


def lend(lending: Lending, near: "zmq.Socket[bytes]", size: int) -> bool:
    """Sends a body unless it has to wait."""
    account = lending.account(PEER, size)
    if account is None:
        return False
    account.lend(near.send, bytes(size), zmq.DONTWAIT)
    return True


def given_back(lending: Lending, size: int) -> None:
    """Waits until so much can be lent again."""
    end = time.monotonic() + LIMIT_S
    while lending.account(PEER, size) is None:
        assert time.monotonic() < end, "it was not given back"


@pytest.mark.parametrize("size", [wire.LARGE_BODY, MEBIBYTE, wire.MAX_BODY])
def test_it_is_bounded_until_it_comes_back(pipe: Pipe, size: int) -> None:
    near, far = pipe
    lending = Lending()
    sent = 0
    while lend(lending, near, size):
        sent += 1
    assert sent == wire.MAX_LENT_BYTES // size
    assert lending.account(b"other", size) is not None
    for _ in range(sent):
        assert far.recv() == bytes(size)
    given_back(lending, wire.MAX_LENT_BYTES)
    assert lend(lending, near, size)


def test_a_body_larger_than_the_bound_is_lent_alone(pipe: Pipe) -> None:
    near, far = pipe
    lending = Lending()
    size = wire.MAX_LENT_BYTES + 1
    assert lend(lending, near, size)
    assert not lend(lending, near, wire.LARGE_BODY)
    far.recv()
    given_back(lending, size)


def test_frames_are_lent_as_bytes_are(pipe: Pipe) -> None:
    near, far = pipe
    lending = Lending()
    account = lending.account(PEER, MEBIBYTE)
    assert account is not None
    for number in range(4):
        account.lend(near.send, zmq.Frame(bytes([number]) * MEBIBYTE), zmq.DONTWAIT)
        assert far.recv() == bytes([number]) * MEBIBYTE
