"""A datapath by itself, for tests of the switch: flows are installed by hand, so that each limit is
seen alone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from symphony.bus import wire
from symphony.bus.codec import Header, encode, encode_header
from symphony.bus.datapath import (
    KERNEL,
    Flow,
    FlowStats,
    PeerStats,
    Upcall,
)
from symphony.bus.memory import MemoryDatapath

from .conftest import KINDS, NEEDS_NATIVE, Clock, Connection, Plane

FLOW = 7
GRACE_S = wire.GRACE_MS / 1000


class Bare(Plane):
    """A datapath without a control plane: upcalls are kept, commands are given by the test."""

    def __init__(self, folder: Path, datapath: Any, clock: Clock) -> None:
        super().__init__(folder, datapath, clock)
        self.upcalls: list[Upcall] = []
        self.busy = False  # no upcall is taken

    def pump(self) -> None:
        self._told.hush()
        if not self.busy:
            self.upcalls += self.datapath.poll()

    def add(self, name: str) -> Connection:
        """An opened peer."""
        identity = os.urandom(wire.IDENTITY_BYTES)
        memory = isinstance(self.datapath, MemoryDatapath)
        endpoint = f"memory://{name}" if memory else f"ipc://{self.folder}/{name}"
        self.datapath.admit(name, identity)
        self.datapath.open(name)
        self.datapath.bind(endpoint)
        connection = Connection(self, identity, endpoint)
        connection.fence()
        return connection

    def install(self, flow: Flow) -> None:
        self.datapath.install(flow)
        self.tick()  # in force before the next message is read

    def upcall(self, event: str) -> Upcall:
        """The next one of this event; waits for it."""
        self.until(lambda: any(upcall.event == event for upcall in self.upcalls))
        return next(self.upcalls.pop(i) for i, u in enumerate(self.upcalls) if u.event == event)

    def inject(self, kind: int, request: int, body: bytes = b"", **more: Any) -> None:
        """A message of the kernel about `FLOW`."""
        self.datapath.inject(KERNEL, encode_header(kind, FLOW, request, **more), body)

    def stats(self) -> FlowStats:
        (row,) = self.datapath.flows()
        return row

    def peer(self, name: str) -> PeerStats:
        return next(row for row in self.datapath.peers() if row.peer == name)


@pytest.fixture(params=["memory", "reference", pytest.param("native", marks=NEEDS_NATIVE)])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bare]:
    clock = Clock()
    bare = Bare(tmp_path, KINDS[request.param](clock=clock), clock)
    yield bare
    bare.close()


class Ends:
    """A caller and a provider joined by `FLOW`."""

    def __init__(self, bare: Bare, **limits: Any) -> None:
        self.bare = bare
        self.caller, self.provider = bare.add("caller"), bare.add("provider")
        self.install(**limits)

    def install(self, generation: int = 1, provider: str = "provider", **limits: Any) -> None:
        self.bare.install(Flow(FLOW, "caller", provider, generation, **limits))

    def call(self, request: int, **more: Any) -> Header:
        self.caller.say(wire.CALL, FLOW, request, **more)
        return self.provider.expect(wire.CALL, request)[0]

    def repeat(self, request: int) -> None:
        """A call that may have been sent before, as the control plane lets it pass."""
        header = encode_header(wire.CALL, FLOW, request, options={"again": True})
        self.bare.datapath.inject("caller", header, b"\x80")

    def answer(self, request: int) -> None:
        self.provider.say(wire.RESULT, FLOW, request, body=encode("done"))
        self.caller.expect(wire.RESULT, request)

    def error(self, request: int) -> dict[str, Any]:
        return self.caller.expect(wire.ERROR, request)[1]

    def settle(self) -> None:
        """Everything sent until now has been handled."""
        assert self.caller.fence() == []
        assert self.provider.fence() == []


@pytest.fixture
def ends(bare: Bare) -> Ends:
    return Ends(bare)
