"""What the native datapath promises beyond the conformance suite."""

import gc
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from symphony.bus import datapaths, native, wire
from symphony.bus.bell import Bell
from symphony.bus.codec import encode
from symphony.bus.datapath import FAILED, KERNEL
from symphony.bus.errors import BusError
from symphony.bus.grants import Grants
from symphony.bus.native import NativeDatapath
from symphony.bus.reference import ReferenceDatapath

from .conftest import CAPABILITY, HEARTBEAT_MS, LIMIT_S, NEEDS_NATIVE, Clock, Plane

MEBIBYTE = 1 << 20


def begin(datapath: NativeDatapath, wake: Callable[[], None] = lambda: None) -> None:
    datapath.start(wake, heartbeat_ms=HEARTBEAT_MS, liveness=wire.LIVENESS, grace_ms=wire.GRACE_MS)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    clock = Clock()
    plane = Plane(tmp_path, NativeDatapath(clock=clock), clock)
    yield plane
    plane.close()


def raw_peer(path: str) -> socket.socket:
    """A connection on which a DEALER without a routing id has shaken hands, by hand."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(LIMIT_S)
    connection.connect(path)
    connection.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48))
    ready = b"\x05READY\x0bSocket-Type" + (6).to_bytes(4, "big") + b"DEALER"
    connection.sendall(bytes([4, len(ready)]) + ready)
    take(connection, 64)
    _, length = take(connection, 2)
    take(connection, length)
    return connection


def take(connection: socket.socket, count: int) -> bytes:
    taken = b""
    while len(taken) < count:  # with a timeout, `recv` gives what is there, whatever its flags
        more = connection.recv(count - len(taken))
        assert more, "the connection was closed"
        taken += more
    return taken


@NEEDS_NATIVE
class TestEndlessMessages:
    @pytest.mark.parametrize("size", [0, MEBIBYTE])
    def test_they_cost_the_connection_and_nobody_memory(self, plane: Plane, size: int) -> None:
        other = plane.join("other")
        peer = plane.join("p")
        before = psutil.Process().memory_info().rss
        cut = plane.count("endless")
        frame = b"\x03" + size.to_bytes(8, "big") + bytes(size)  # more frames follow
        with raw_peer(peer.endpoint.removeprefix("ipc://")) as attacker:
            with suppress(OSError):
                for _ in range(max(1 << 18, (1 << 30) // len(frame))):
                    attacker.sendall(frame)
            with suppress(ConnectionError):
                assert attacker.recv(1) == b""
        plane.counted("endless", cut + 1)
        assert psutil.Process().memory_info().rss - before < 64 * MEBIBYTE
        other.fence()
        peer.fence()


@NEEDS_NATIVE
class TestFailure:
    def test_it_is_told_and_ends_what_waits(self) -> None:
        woken = threading.Event()
        broken = threading.Event()

        def clock() -> float:
            if broken.is_set():
                raise RuntimeError("no time left")
            return 1.0

        datapath = NativeDatapath(clock=clock)
        begin(datapath, woken.set)
        assert datapath.poll() == []
        broken.set()
        with pytest.raises(BusError, match="the bus has ended") as caught:
            datapath.bind("inproc://any")
        assert caught.value.code == "unavailable"
        assert woken.wait(LIMIT_S)
        (upcall,) = datapath.poll()
        assert (upcall.event, upcall.peer) == (FAILED, KERNEL)
        assert b"no time left" in upcall.header
        datapath.send("p", b"", b"")
        datapath.verdict(bytes(8), True)
        assert datapath.poll() == []
        assert (datapath.flows(), datapath.peers()) == ([], [])
        datapath.close()

    def test_closing_is_no_failure(self) -> None:
        datapath = NativeDatapath()
        begin(datapath)
        datapath.close()
        datapath.close()
        assert datapath.poll() == []
        with pytest.raises(BusError, match="the bus has ended"):
            datapath.bind("inproc://any")

    def test_a_bell_is_rung_without_the_interpreter(self) -> None:
        bell, datapath, tasks = Bell(), NativeDatapath(), Path("/proc/self/task")
        before = set(tasks.iterdir())
        begin(datapath, bell)
        datapath.bind("inproc://any")  # answered by a thread that has its name by then
        names = {(task / "comm").read_text().strip() for task in set(tasks.iterdir()) - before}
        assert "symphony-bus" in names
        assert "symphony-wake" not in names
        datapath._crash()
        assert select.select([bell.fd], [], [], LIMIT_S)[0]
        assert [upcall.event for upcall in datapath.poll()] == [FAILED]
        datapath.close()
        bell.close()

    def test_one_that_is_forgotten_ends_its_threads(self) -> None:
        before = psutil.Process().num_threads()
        datapath = NativeDatapath()
        begin(datapath)
        assert psutil.Process().num_threads() > before
        del datapath
        gc.collect()
        end = time.monotonic() + LIMIT_S
        while psutil.Process().num_threads() > before:
            assert time.monotonic() < end


@NEEDS_NATIVE
def test_large_bodies_reach_the_kernel_and_come_from_it(plane: Plane) -> None:
    provider = plane.join("provider", Grants(provides=frozenset({CAPABILITY})))
    caller = plane.join("caller", Grants(calls=frozenset({CAPABILITY})))
    body = encode({"data": bytes(MEBIBYTE)})
    caller.say(wire.CALL, CAPABILITY, 1, body=body)  # by name: an upcall, injected again
    assert provider.receive()[1] == body


class TestChoice:
    def test_a_datapath_is_chosen_by_name(self) -> None:
        reference = datapaths.choose("reference")
        assert isinstance(reference, ReferenceDatapath)
        reference.close()

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(BusError) as caught:
            datapaths.choose("quantum")
        assert (caught.value.code, caught.value.help) == (
            "bad-request",
            "one of: native, reference",
        )

    @NEEDS_NATIVE
    def test_the_native_one_is_taken_where_it_is_installed(self) -> None:
        for name in (None, "native"):
            chosen = datapaths.choose(name)
            assert isinstance(chosen, NativeDatapath)
            chosen.close()

    def test_without_the_wheel_it_is_the_reference_and_native_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(native, "MODULE", "symphony_native_that_is_not_installed")
        chosen = datapaths.choose()
        assert isinstance(chosen, ReferenceDatapath)
        chosen.close()
        with pytest.raises(BusError) as caught:
            datapaths.choose("native")
        assert caught.value.code == "unavailable"
        assert "symphony-native" in (caught.value.help or "")

    @pytest.mark.parametrize("text", ["raise OSError('no such symbol')", "import nowhere_at_all"])
    def test_one_that_does_not_load_is_named_not_passed_over(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
    ) -> None:
        (tmp_path / "symphony_native_broken.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(native, "MODULE", "symphony_native_broken")
        for choose in (datapaths.choose, lambda: datapaths.choose("native")):
            with pytest.raises(BusError, match="cannot be loaded") as caught:
                choose()
            assert (caught.value.code, caught.value.where) == ("unavailable", native.MODULE)

    @NEEDS_NATIVE
    def test_one_of_another_version_is_refused_not_passed_over(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(native.load(), "INTERFACE", native.INTERFACE + 1)
        for choose in (datapaths.choose, lambda: datapaths.choose("native")):
            with pytest.raises(BusError, match="another version") as caught:
                choose()
            assert caught.value.code == "unavailable"
            assert "symphony-native" in (caught.value.help or "")
