"""What a worker does with a call that begins just as the bus is lost."""

from pathlib import Path

import pytest

from symphony.bus.codec import encode
from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension
from symphony.bus.heard import Called
from symphony.bus.ticket import Ticket
from symphony.bus.worker import _Worker

CAPABILITY = "test.count/1"
CALLED = Called(CAPABILITY, "call", 1, 1, encode({}), None, False, None)


@pytest.mark.parametrize("lost", [False, True])
def test_a_call_that_begins_afterwards_is_ended_at_once(tmp_path: Path, lost: bool) -> None:
    """The loss is told on another thread: it may come when the call was already taken."""
    extension, begun = Extension(), []

    @extension.provides(CAPABILITY)
    def count(ctx: Context) -> None:
        begun.append(ctx)

    ticket = Ticket(v=1, endpoint=f"ipc://{tmp_path}/nobody", identity="5e" * 16, instance="late")
    worker = _Worker(extension, ticket)
    worker._leaving.set()  # else it ends this process
    try:
        if lost:
            worker._on_end(BusError("unavailable", "the bus is lost"))
        worker._serve(CALLED)
    finally:
        worker._connection.close()
    assert len(begun) == (not lost)
