"""A raw DEALER that puts endless frames into one message, against the real hub."""

import asyncio
import threading
from itertools import pairwise
from pathlib import Path

import pytest
import zmq

from symphony.bus import wire
from symphony.bus.aio import AsyncClient
from symphony.bus.codec import decode, decode_header, encode_header
from symphony.bus.datapath import VIOLATION
from symphony.bus.hub import Grants, Request
from symphony.bus.reference import MAX_DRAINED, ReferenceDatapath

from .conftest import KINDS, LIMIT_S, NEEDS_NATIVE, hello
from .test_processes import Kernel

FRAMES = 10 * MAX_DRAINED


def endless(socket: "zmq.Socket[bytes]") -> None:
    """One message of FRAMES frames."""
    for _ in range(FRAMES - 1):
        socket.send(b"", zmq.SNDMORE)
    socket.send(b"")


def test_an_endless_message_is_drained_in_slices(tmp_path: Path) -> None:
    drained: list[int] = []  # so far, in every turn of the hub's thread
    when_told: list[int] = []
    started, ended = threading.Event(), threading.Event()

    def count() -> int:
        return datapath.counters().get("drained-frames", 0)

    def clock() -> float:
        if started.is_set():
            drained.append(count())
            if drained[-1] >= FRAMES - wire.MAX_FRAMES:
                ended.set()
        return 0.0

    datapath = ReferenceDatapath(clock=clock)
    datapath.start(
        lambda: when_told.append(count()),
        heartbeat_ms=wire.HEARTBEAT_MS,
        liveness=wire.LIVENESS,
        grace_ms=wire.GRACE_MS,
    )
    started.set()
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    try:
        datapath.admit("p", bytes(range(16)))
        datapath.bind(f"ipc://{tmp_path}/p")
        socket.set(zmq.ROUTING_ID, bytes(range(16)))
        socket.connect(f"ipc://{tmp_path}/p")
        endless(socket)
        assert ended.wait(LIMIT_S)
        assert [(upcall.event, upcall.peer) for upcall in datapath.poll()] == [(VIOLATION, "p")]
        assert when_told == [0]  # the offender is reported before its frames are read
        assert max(after - before for before, after in pairwise(drained)) == MAX_DRAINED
    finally:
        socket.close(0)
        context.term()
        datapath.close()


def test_whoever_sent_a_short_message_just_before_is_not_blamed() -> None:
    """The hub's thread stands still until both messages are there, side by side."""
    standing, go_on, done = threading.Event(), threading.Event(), threading.Event()
    gate = threading.Event()

    def clock() -> float:
        if gate.is_set():
            standing.set()
            assert go_on.wait(LIMIT_S)
        return 0.0

    datapath = ReferenceDatapath(clock=clock)
    datapath.start(
        done.set, heartbeat_ms=wire.HEARTBEAT_MS, liveness=wire.LIVENESS, grace_ms=wire.GRACE_MS
    )
    sockets = []
    try:
        identities = {name: name.ljust(16).encode() for name in ("short", "endless")}
        for name, identity in identities.items():
            datapath.admit(name, identity)
        datapath.bind("inproc://peers")
        for identity in identities.values():
            # Within one process a message is there as soon as it was sent.
            socket = datapath._context.socket(zmq.DEALER)
            sockets.append(socket)
            socket.set(zmq.ROUTING_ID, identity)
            socket.connect("inproc://peers")
        gate.set()
        datapath.revoke(0)  # makes a turn
        assert standing.wait(LIMIT_S)
        for _ in range(3):  # they are read in turns, so one comes right before the endless one
            sockets[0].send(b"")
        sockets[1].send_multipart([encode_header(wire.HEARTBEAT), b""])
        sockets[1].send_multipart([b""] * (wire.MAX_FRAMES + 1))
        go_on.set()
        assert done.wait(LIMIT_S)
        assert [upcall.peer for upcall in datapath.poll()] == ["endless"]
    finally:
        go_on.set()
        for socket in sockets:
            socket.close(0)
        datapath.close()


over_real_datapaths = pytest.mark.parametrize(
    "kind", ["reference", pytest.param("native", marks=NEEDS_NATIVE)]
)


@over_real_datapaths
def test_the_sender_of_an_endless_message_is_cut_off_and_the_others_go_on(
    kind: str, tmp_path: Path
) -> None:
    async def serve(request: Request) -> object:
        return request.caller

    async def main() -> None:
        kernel = Kernel(tmp_path, KINDS[kind])
        await kernel.hub.start()
        kernel.hub.serve("kernel.served/1", serve)
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        try:
            ticket = kernel.ticket("rogue", Grants())
            socket.set(zmq.ROUTING_ID, ticket.routing_id())
            socket.connect(ticket.endpoint)
            socket.send_multipart([encode_header(wire.HELLO), hello()])
            await kernel.told("registered", "rogue")
            good = kernel.ticket("good", Grants(calls=frozenset({"*"})))
            async with await AsyncClient.connect(good) as client:
                await asyncio.to_thread(endless, socket)
                await kernel.told("rejected", "rogue", "violation")
                assert await client.call("kernel.served/1") == "good"
                assert not (tmp_path / "rogue").exists()
                assert kernel.hub.counters()["refused rogue message violation"] == 1
            again = kernel.ticket("rogue", Grants())  # its name is free
            assert again.identity != ticket.identity
        finally:
            socket.close(0)
            context.term()
            await kernel.hub.close()

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))


@over_real_datapaths
def test_a_stale_binary_is_reported_at_once_and_told_why(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        kernel = Kernel(tmp_path, KINDS[kind])
        await kernel.hub.start()
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        try:
            ticket = kernel.ticket("stale", Grants())
            socket.set(zmq.ROUTING_ID, ticket.routing_id())
            socket.connect(ticket.endpoint)
            socket.send_multipart([b"\x96\x02\x01\xc0\x00\x00\xc0", b""])
            await kernel.told("rejected", "stale", "protocol")
            header, body = await asyncio.to_thread(socket.recv_multipart)
            assert decode_header(header).kind == wire.BYE
            assert decode(body) == {"reason": "protocol"}
        finally:
            socket.close(0)
            context.term()
            await kernel.hub.close()

    asyncio.run(asyncio.wait_for(main(), LIMIT_S))
