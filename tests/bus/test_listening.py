"""Listening sockets that outlive the datapath that serves them."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from symphony.bus import wire
from symphony.bus.bell import Bell
from symphony.bus.codec import encode, encode_header
from symphony.bus.datapath import MESSAGE, Datapath
from symphony.bus.errors import BusError
from symphony.bus.listening import ListeningSocket

from .conftest import HEARTBEAT_MS, KINDS, LIMIT_S, NEEDS_NATIVE

IDENTITY = bytes(range(16))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def listening(path: Path) -> Iterator[ListeningSocket]:
    made = ListeningSocket(f"ipc://{path}")
    yield made
    made.close()


class TestListeningSocket:
    def test_it_is_for_its_owner_only(self, listening: ListeningSocket, path: Path) -> None:
        assert path.stat().st_mode & 0o777 == 0o600

    def test_a_path_that_is_served_is_not_taken(
        self, listening: ListeningSocket, path: Path
    ) -> None:
        with pytest.raises(BusError, match="another process listens") as refused:
            ListeningSocket(f"ipc://{path}")
        assert (refused.value.code, refused.value.where) == ("io", f"ipc://{path}")
        assert path.is_socket()

    def test_what_a_dead_process_left_is_replaced(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        ListeningSocket(f"ipc://{path}").close()

    def test_another_file_is_left_alone(self, path: Path) -> None:
        path.write_text("precious")
        with pytest.raises(BusError, match="no socket"):
            ListeningSocket(f"ipc://{path}")
        assert path.read_text() == "precious"

    @pytest.mark.parametrize("name", ["none/s", "x" * 200])
    def test_a_path_that_cannot_be_had_is_refused(self, path: Path, name: str) -> None:
        with pytest.raises(BusError, match="cannot listen") as refused:
            ListeningSocket(f"ipc://{path.parent}/{name}")
        assert refused.value.code == "io"

    def test_closed_it_is_gone(self, listening: ListeningSocket, path: Path) -> None:
        listening.close()
        listening.close()
        assert not path.exists()


class Served:
    """Datapaths that one after the other serve a listening socket."""

    def __init__(self, make: type[Datapath]) -> None:
        self._make = make
        self._told = Bell()
        self.datapath = self.start()

    def start(self) -> Datapath:
        self.datapath = self._make()
        self.datapath.start(
            self._told,
            heartbeat_ms=HEARTBEAT_MS,
            liveness=wire.LIVENESS,
            grace_ms=wire.GRACE_MS,
        )
        self.datapath.admit("p", IDENTITY)
        return self.datapath

    def hello(self) -> bytes:
        """The body of the next hello."""
        end = time.monotonic() + LIMIT_S
        poller = zmq.Poller()
        poller.register(self._told.fd, zmq.POLLIN)
        while True:
            self._told.hush()
            for upcall in self.datapath.poll():
                if upcall.event == MESSAGE:
                    return upcall.body
            assert poller.poll(max(0, (end - time.monotonic()) * 1_000)), "nothing came"

    def close(self) -> None:
        self.datapath.close()
        self._told.close()


@pytest.fixture(params=["reference", pytest.param("native", marks=NEEDS_NATIVE)])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(KINDS[request.param])
    yield served
    served.close()


@pytest.fixture
def dealer(path: Path) -> Iterator["zmq.Socket[bytes]"]:
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.set(zmq.ROUTING_ID, IDENTITY)
    dealer.connect(f"ipc://{path}")
    yield dealer
    dealer.close(0)
    context.term()


class TestServing:
    def test_datapath_after_datapath_serves_the_same_file(
        self, served: Served, listening: ListeningSocket, path: Path, dealer: "zmq.Socket[bytes]"
    ) -> None:
        inode = path.stat().st_ino
        for round_ in range(3):
            served.datapath.bind(f"ipc://{path}", fd=listening.fd)
            dealer.send_multipart([encode_header(wire.HELLO), encode(round_)])
            assert served.hello() == encode(round_)
            served.datapath.close()
            served.start()
        assert path.stat().st_ino == inode

    def test_who_connected_between_two_is_served(
        self, served: Served, listening: ListeningSocket, path: Path, dealer: "zmq.Socket[bytes]"
    ) -> None:
        dealer.send_multipart([encode_header(wire.HELLO), encode("early")])
        served.datapath.bind(f"ipc://{path}", fd=listening.fd)
        assert served.hello() == encode("early")

    def test_the_descriptor_stays_its_owners(
        self, served: Served, listening: ListeningSocket, path: Path
    ) -> None:
        served.datapath.bind(f"ipc://{path}", fd=listening.fd)
        served.datapath.close()
        os.fstat(listening.fd)
        assert path.is_socket()

    def test_after_both_have_let_go_nobody_connects(
        self, served: Served, listening: ListeningSocket, path: Path
    ) -> None:
        served.datapath.bind(f"ipc://{path}", fd=listening.fd)
        listening.close()
        served.datapath.unbind(f"ipc://{path}")
        with socket.socket(socket.AF_UNIX) as late, pytest.raises(FileNotFoundError):
            late.connect(str(path))
