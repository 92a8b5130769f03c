"""Who may connect: ZAP with the credentials of real processes, CURVE, and the end of a datapath."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from zmq.utils import z85

from symphony.bus import native, wire, zap
from symphony.bus.codec import decode_header, encode_header
from symphony.bus.datapath import CONNECTING, FAILED, HANDSHAKE, KERNEL, Datapath, Upcall
from symphony.bus.errors import BusError
from symphony.bus.memory import MemoryDatapath
from symphony.bus.reference import ReferenceDatapath

from .conftest import KINDS, LIMIT_S, NEEDS_NATIVE, Clock

IDENTITY = b"i" * wire.IDENTITY_BYTES
HEARTBEAT = encode_header(wire.HEARTBEAT)
NOBODY = 65_534
KEPT: list[Any] = []  # sockets, until their context is destroyed

# Connects as another user and says whether the hub answered. The limit is for one that must not.
CONNECT = """
import os, sys, zmq
endpoint, identity, uid, limit_ms = sys.argv[1:]
os.setgid(int(uid)); os.setuid(int(uid))
context = zmq.Context()
peer = context.socket(zmq.DEALER)
peer.set(zmq.ROUTING_ID, identity.encode())
peer.set(zmq.LINGER, 0)
peer.connect(endpoint)
peer.send_multipart([bytes.fromhex(os.environ["HEADER"]), b""])
print("answered" if peer.poll(int(limit_ms)) else "nothing", flush=True)
context.destroy(0)
"""


class House:
    """A datapath with one opened peer."""

    def __init__(self, datapath: Datapath) -> None:
        self.datapath = datapath
        datapath.start(
            lambda: None,
            heartbeat_ms=wire.HEARTBEAT_MS,
            liveness=wire.LIVENESS,
            grace_ms=wire.GRACE_MS,
        )
        datapath.admit("peer", IDENTITY)
        datapath.open("peer")
        self._upcalls: list[Upcall] = []

    def upcall(self) -> Upcall:
        end = time.monotonic() + LIMIT_S
        while not self._upcalls:
            assert time.monotonic() < end, "no upcall came"
            self._upcalls += self.datapath.poll()
        return self._upcalls.pop(0)

    def refused(self) -> int:
        return self.datapath.counters().get("connection-refused", 0)


REAL = ["reference", pytest.param("native", marks=NEEDS_NATIVE)]


@pytest.fixture(params=REAL)
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    house = House(KINDS[request.param]())
    yield house
    house.datapath.close()


@pytest.fixture
def reference_house() -> Iterator[House]:
    house = House(ReferenceDatapath())
    yield house
    house.datapath.close()


@pytest.fixture
def context() -> Iterator["zmq.Context[Any]"]:
    context = zmq.Context()
    yield context
    context.destroy(0)
    KEPT.clear()


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A place for a socket that other users reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield f"ipc://{folder}/sock"


def connect(context: "zmq.Context[Any]", endpoint: str, **options: Any) -> Any:
    """A DEALER that has said a heartbeat; closed with its context."""
    peer = context.socket(zmq.DEALER)
    KEPT.append(peer)
    peer.set(zmq.ROUTING_ID, IDENTITY)
    for name, value in options.items():
        setattr(peer, name, value)
    peer.connect(endpoint)
    peer.send_multipart([HEARTBEAT, b""])
    return peer


def answered(peer: Any, limit_ms: int = int(LIMIT_S * 1000)) -> bool:
    return bool(peer.poll(limit_ms)) and peer.recv_multipart() == [HEARTBEAT, b""]


def hear_out(connection: socket.socket) -> None:
    """Reads until the other side hangs up."""
    while connection.recv(1_024):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("allowed", [True, False])
def test_the_operating_system_says_who_connects(house: House, endpoint: str, allowed: bool) -> None:
    house.datapath.bind(endpoint, domain="console")
    Path(endpoint.removeprefix("ipc://")).chmod(0o666)
    limit_ms = LIMIT_S * 1000 if allowed else 300
    command = [sys.executable, "-c", CONNECT, endpoint, IDENTITY.decode()]
    with subprocess.Popen(
        [*command, str(NOBODY), str(int(limit_ms))],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"HEADER": HEARTBEAT.hex()},
    ) as process:
        upcall = house.upcall()
        assert (upcall.event, upcall.peer) == (CONNECTING, "console")
        uid, gid, pid = upcall.header.split(b":")[-3:]
        assert (int(uid), int(gid), int(pid)) == (NOBODY, NOBODY, process.pid)
        assert len(upcall.body) == zap.TOKEN_BYTES
        house.datapath.verdict(upcall.body, allowed)
        said, _ = process.communicate(timeout=LIMIT_S)
    assert said == ("answered\n" if allowed else "nothing\n")
    assert (house.refused() > 0) != allowed
    if not allowed:
        assert not house.datapath.counters().get("forwarded")


@pytest.mark.parametrize("kind", REAL)
def test_a_connection_that_is_never_decided_is_refused(
    kind: str, endpoint: str, context: "zmq.Context[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    assert native.VERDICT_S == zap.VERDICT_S
    for module in (native, zap):
        monkeypatch.setattr(module, "VERDICT_S", 0.05)
    house = House(KINDS[kind]())
    try:
        house.datapath.bind(endpoint, domain="d")
        peer = connect(context, endpoint)
        token = house.upcall().body
        end = time.monotonic() + LIMIT_S
        while not house.refused():
            assert time.monotonic() < end, "it was not refused"
        house.datapath.verdict(token, True)  # too late
        assert not answered(peer, 20)
    finally:
        house.datapath.close()


def test_an_endpoint_without_a_domain_asks_nobody(
    house: House, endpoint: str, context: "zmq.Context[Any]"
) -> None:
    house.datapath.bind(endpoint + "1", domain="d")
    house.datapath.bind(endpoint + "2")
    assert answered(connect(context, endpoint + "2"))
    assert house.datapath.poll() == []


def test_verdicts_for_unknown_tokens_change_nothing(house: House, endpoint: str) -> None:
    for token in (b"", b"short", bytes(8), bytes(100)):
        house.datapath.verdict(token, True)
    house.datapath.bind(endpoint, domain="d")


class TestCurve:
    @pytest.fixture
    def place(self) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return f"tcp://127.0.0.1:{free.getsockname()[1]}"

    @pytest.fixture
    def public(self, house: House, place: str) -> bytes:
        """The hub's public key; it listens at `place`."""
        public, secret = zmq.curve_keypair()
        house.datapath.bind(place, domain="tcp", curve=z85.decode(secret))
        return public

    def connect(self, context: "zmq.Context[Any]", place: str, server: bytes) -> tuple[Any, bytes]:
        public, secret = zmq.curve_keypair()
        keys = {"curve_serverkey": server, "curve_publickey": public, "curve_secretkey": secret}
        return connect(context, place, **keys), z85.decode(public)

    def test_a_key_that_is_allowed_is_let_in(
        self, house: House, place: str, public: bytes, context: "zmq.Context[Any]"
    ) -> None:
        peer, key = self.connect(context, place, public)
        upcall = house.upcall()
        assert (upcall.event, upcall.peer, upcall.header) == (CONNECTING, "tcp", b"127.0.0.1")
        assert upcall.body[zap.TOKEN_BYTES :] == key
        house.datapath.verdict(upcall.body[: zap.TOKEN_BYTES], True)
        assert answered(peer)

    def test_a_key_that_is_not_gets_nothing(
        self, house: House, place: str, public: bytes, context: "zmq.Context[Any]"
    ) -> None:
        peer, _ = self.connect(context, place, public)
        house.datapath.verdict(house.upcall().body[: zap.TOKEN_BYTES], False)
        assert not answered(peer, 50)
        assert not house.datapath.counters().get("forwarded")

    @pytest.mark.parametrize("kind", ["wrong", "plain"])
    def test_a_wrong_server_key_or_none_does_not_even_reach_the_door(
        self, house: House, place: str, public: bytes, context: "zmq.Context[Any]", kind: str
    ) -> None:
        if kind == "wrong":
            peer, _ = self.connect(context, place, zmq.curve_keypair()[0])
        else:
            peer = connect(context, place)
        assert not answered(peer, 150)
        upcall = house.upcall()
        assert (upcall.event, upcall.peer, upcall.body) == (HANDSHAKE, "tcp", b"")
        assert int(upcall.header) >= 1
        assert house.datapath.counters()["handshake-failed"] >= int(upcall.header)

    def test_an_address_for_all_is_found_by_its_port(
        self, house: House, place: str, context: "zmq.Context[Any]"
    ) -> None:
        secret = z85.decode(zmq.curve_keypair()[1])
        everywhere = place.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - only CURVE is spoken there
        house.datapath.bind(everywhere, domain="tcp", curve=secret)
        connect(context, place)
        assert house.upcall()[:2] == (HANDSHAKE, "tcp")

    def test_where_no_curve_is_spoken_nobody_is_told_of(
        self, house: House, endpoint: str, context: "zmq.Context[Any]"
    ) -> None:
        house.datapath.bind(endpoint)
        peer, _ = self.connect(context, endpoint, zmq.curve_keypair()[0])
        assert not answered(peer, 1_200)  # longer than a tick
        assert house.datapath.poll() == []

    @pytest.mark.parametrize("said", [b"", b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE"])
    def test_who_does_not_go_on_to_speak_it_is_cut_off_in_time(
        self, house: House, place: str, public: bytes, said: bytes
    ) -> None:
        del public  # it listens
        host, port = place.removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port)), timeout=LIMIT_S) as stranger:
            begun = time.monotonic()
            stranger.sendall(said)
            hear_out(stranger)
        assert time.monotonic() - begun < 2 * wire.HANDSHAKE_MS / 1_000
        assert house.upcall()[:3] == (HANDSHAKE, "tcp", b"1")

    def test_the_next_endpoint_waits_longer(
        self, house: House, public: bytes, endpoint: str
    ) -> None:
        del public
        house.datapath.bind(endpoint, domain="d")
        with socket.socket(socket.AF_UNIX) as local:
            local.connect(endpoint.removeprefix("ipc://"))
            local.settimeout(1.5 * wire.HANDSHAKE_MS / 1_000)
            with pytest.raises(TimeoutError):
                hear_out(local)

    def test_the_next_endpoint_speaks_no_curve(
        self, house: House, public: bytes, endpoint: str, context: "zmq.Context[Any]"
    ) -> None:
        house.datapath.bind(endpoint)
        assert answered(connect(context, endpoint))


class TestDoorInMemory:
    def test_what_was_sent_before_the_verdict_is_held(self) -> None:
        house = House(MemoryDatapath())
        house.datapath.bind("memory://a", domain="d")
        peer = house.datapath.connect("memory://a", IDENTITY, address=b":1:2:3", key=b"k" * 32)
        peer.send(HEARTBEAT, b"")
        upcall = house.upcall()
        assert upcall[:3] == (CONNECTING, "d", b":1:2:3")
        assert peer.receive() is None
        house.datapath.verdict(upcall.body[: zap.TOKEN_BYTES], True)
        assert peer.receive() == (HEARTBEAT, b"")

    @pytest.mark.parametrize("late", [True, False])
    def test_one_that_is_refused_or_forgotten_gets_nothing(self, late: bool) -> None:
        clock = Clock()
        house = House(MemoryDatapath(clock=clock))
        house.datapath.bind("memory://a", domain="d")
        peer = house.datapath.connect("memory://a", IDENTITY)
        peer.send(HEARTBEAT, b"")
        token = house.upcall().body
        if late:
            clock.now += zap.VERDICT_S
            house.datapath.tick()
            house.datapath.verdict(token, True)
        else:
            house.datapath.verdict(token, False)
        assert house.refused() == 1
        peer.send(HEARTBEAT, b"")
        assert peer.receive() is None


@pytest.mark.parametrize("kind", ["memory", *REAL])
def test_a_datapath_that_ends_by_itself_says_so_and_can_be_replaced(
    kind: str, endpoint: str
) -> None:
    house = House(KINDS[kind]())
    house.datapath.bind(endpoint)
    house.datapath._crash()
    upcall = house.upcall()
    assert (upcall.event, upcall.peer) == (FAILED, KERNEL)
    assert b"crashed on purpose" in upcall.header
    with pytest.raises(BusError) as caught:
        house.datapath.bind(endpoint + "2")
    assert caught.value.code == "unavailable"
    house.datapath.admit("other", bytes(16))  # commands are taken and lost, as ever
    house.datapath.flows()
    house.datapath.peers()
    house.datapath.close()
    successor = House(KINDS[kind]())
    successor.datapath.bind(endpoint)
    successor.datapath.close()


def test_a_bind_that_waits_while_the_datapath_ends_does_not_wait_for_ever(
    house: House, endpoint: str
) -> None:
    house.datapath._crash()
    with pytest.raises(BusError, match="the bus has ended"):
        house.datapath.bind(endpoint)


def test_a_door_that_breaks_ends_the_datapath(
    reference_house: House,
    endpoint: str,
    context: "zmq.Context[Any]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = reference_house

    def broken(frames: list[bytes]) -> None:
        raise RuntimeError("broken door")

    monkeypatch.setattr(house.datapath._door, "_connecting", broken)
    house.datapath.bind(endpoint, domain="d")
    connect(context, endpoint)
    upcall = house.upcall()
    assert upcall.event == FAILED
    assert b"broken door" in upcall.header


assert decode_header(HEARTBEAT).kind == wire.HEARTBEAT
