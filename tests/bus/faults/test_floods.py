"""More connections than a hub can have: from one process, and with few descriptors."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import zmq

from .ground import Ground, Peer, play
from .hubprocess import HubProcess

CONNECTIONS = 300
DESCRIPTORS = 96


async def rehearsed(ground: Ground, datapath: str, descriptors: int = 0) -> tuple[HubProcess, Peer]:
    """A hub in a process with a provider and a caller whose flow is there."""
    hub = await HubProcess.start(ground, datapath, descriptors)
    await hub.peer("provider")
    await hub.told("registered provider")
    caller = await hub.peer("caller")
    assert await caller.hear() == {"joined": True}
    assert await caller.call("first") == {"id": "first", "result": "first"}
    return hub, caller


async def answered(caller: Peer, prefix: str, times: int = 50) -> None:
    for number in range(times):
        id_ = f"{prefix} {number}"
        assert await caller.call(id_) == {"id": id_, "result": id_}


@contextmanager
def silent_connections(path: Path, number: int) -> Iterator[None]:
    """That never say what they are."""
    with ExitStack() as stack:
        for _ in range(number):
            one = stack.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)  # a full backlog refuses: that is a flood, too
            one.connect_ex(str(path))
        yield


@contextmanager
def strange_peers(endpoint: str, number: int) -> Iterator[None]:
    """DEALERs with routing ids of their own, which connect again and again."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, number + 8)
    peers = [context.socket(zmq.DEALER) for _ in range(number)]
    try:
        for mark, peer in enumerate(peers):
            peer.set(zmq.ROUTING_ID, b"stranger%08d" % mark)
            peer.set(zmq.RECONNECT_IVL, 1)
            peer.connect(endpoint)
            peer.send_multipart([b"\x96\x01\x04\xa5a.b/1\x01\x00\xc0", b"\x80"])
        yield
    finally:
        context.destroy(linger=0)


@pytest.mark.parametrize("descriptors", [0, DESCRIPTORS])
@pytest.mark.parametrize("kind", ["silent", "strange"])
def test_those_who_are_there_are_served(
    datapath: str, tmp_path: Path, kind: str, descriptors: int, request: pytest.FixtureRequest
) -> None:
    """And when the flood is over the hub lets newcomers in again and holds nothing of it."""
    if descriptors and datapath == "reference":
        reason = "the libzmq of pyzmq ends its process when it has no descriptor for a connection"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))

    async def test(ground: Ground) -> None:
        hub, caller = await rehearsed(ground, datapath, descriptors)
        ticket = await hub.ticket("caller", "late")
        before = hub.descriptors()
        flood = (
            silent_connections(tmp_path / "caller", CONNECTIONS)
            if kind == "silent"
            else strange_peers(f"ipc://{tmp_path}/caller", CONNECTIONS)
        )
        with flood:
            await answered(caller, "during")
            if descriptors:
                await hub.exhausted(descriptors)
                # What needs a descriptor says so, and nothing else ends.
                assert await hub.ask("provider another") == "error io"
                await answered(caller, "without")
        await hub.down_to(before)
        late = await ground.spawn("caller", ticket)
        assert await late.hear() == {"joined": True}
        assert await late.call("late") == {"id": "late", "result": "late"}
        await answered(caller, "after")
        assert set(ground.ledger().values()) == {1}
        assert (await hub.counters())["restarts"] == 0

    play(datapath, tmp_path, test)
