"""What no peer can do but a mistake of ours: wrong headers, failing commands, a dead thread."""

import asyncio
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from symphony.bus import wire
from symphony.bus.codec import decode_as, encode, encode_header
from symphony.bus.datapath import FAILED, KERNEL, Upcall
from symphony.bus.errors import BusError, ProtocolError
from symphony.bus.function import Function
from symphony.bus.messages import Progress
from symphony.bus.reference import ReferenceDatapath

from .conftest import LIMIT_S
from .test_processes import ECHO, Kernel, run


@pytest.mark.parametrize(
    "fields",
    [
        {"ttl": -1},
        {"ttl": wire.MAX_TTL + 1},
        {"request": -1},
        {"request": wire.MAX_REQUEST + 1},
        {"target": 0},
        {"target": wire.MAX_FLOW + 1},
    ],
)
def test_a_header_that_nobody_could_read_is_not_written(fields: dict[str, Any]) -> None:
    with pytest.raises(BusError) as caught:
        encode_header(wire.CALL, **fields)
    assert caught.value.code == "bad-request"
    assert caught.value.where == next(iter(fields))


@pytest.mark.parametrize("done", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_no_progress(done: float) -> None:
    for body in ({"done": done}, {"done": 1, "total": done}):
        with pytest.raises(ProtocolError):
            decode_as(encode(body), Progress)
    assert decode_as(encode({"done": 2, "total": 0.5}), Progress) == Progress(2, 0.5)


class Clock:
    """Time that can break."""

    def __init__(self) -> None:
        self.broken = False

    def __call__(self) -> float:
        if self.broken:
            raise ZeroDivisionError("the clock broke")
        return time.monotonic()


@pytest.fixture
def started() -> Iterator[tuple[ReferenceDatapath, Clock, threading.Event]]:
    clock, woken = Clock(), threading.Event()
    datapath = ReferenceDatapath(clock=clock)
    datapath.start(
        woken.set,
        heartbeat_ms=wire.HEARTBEAT_MS,
        liveness=wire.LIVENESS,
        grace_ms=wire.GRACE_MS,
    )
    yield datapath, clock, woken
    datapath.close()


def test_a_failing_command_is_counted_and_the_next_ones_are_obeyed(
    started: tuple[ReferenceDatapath, Clock, threading.Event], tmp_path: Path
) -> None:
    datapath, _, woken = started
    datapath.inject(KERNEL, b"no header", b"")
    datapath.bind(f"ipc://{tmp_path}/s")
    assert (tmp_path / "s").is_socket()
    assert datapath.counters()["failed-commands"] == 1
    assert not woken.is_set()


def test_a_dead_thread_is_reported_with_its_reason(
    started: tuple[ReferenceDatapath, Clock, threading.Event],
) -> None:
    datapath, clock, woken = started
    clock.broken = True
    datapath.revoke(1)  # wakes it
    assert woken.wait(LIMIT_S)
    (told,) = datapath.poll()
    assert isinstance(told, Upcall)
    assert told.event == FAILED
    assert told.header == b"ZeroDivisionError: the clock broke"


def test_when_the_bus_ends_for_good_open_calls_fail_and_so_do_later_ones(
    tmp_path: Path,
) -> None:
    clock = Clock()

    async def test(kernel: Kernel) -> None:
        await kernel.spawn()
        begun = asyncio.Event()
        waiting = asyncio.create_task(
            kernel.hub.call(ECHO, "wait", {}, on_progress=lambda _: begun.set())
        )
        await begun.wait()
        clock.broken = True
        with pytest.raises(BusError, match="the bus has ended"):
            await waiting
        assert await kernel.notices.get() == ("bus ended", "ZeroDivisionError: the clock broke")
        with pytest.raises(BusError, match="the bus has ended"):
            await kernel.hub.call(ECHO, None, {})

    run(tmp_path, test, ReferenceDatapath(clock=clock))


class Foreign:
    """Nothing that the bus could carry."""


def test_an_annotation_that_no_value_can_have_is_told_when_it_is_registered() -> None:
    def plain(ctx: object, x: object) -> None: ...

    def nested(ctx: object, x: dict[str, list[Foreign]]) -> None: ...

    def fine(ctx: object, a: Any, b: Path | None, c: list[Path], d: dict[str, int] | None) -> None:
        """All of these can come."""

    for target, name in ((plain, "object"), (nested, "Foreign")):
        with pytest.raises(TypeError, match=f"argument x: .*{name}"):
            Function(target)
    Function(fine)
