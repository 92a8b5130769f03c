"""The player behind the real switch and codec, over the datapath in memory."""

import time

import pytest

from symphony.bus.errors import BusError
from symphony.bus.testing import FakeConductor


def test_it_waits_as_long_as_it_is_told(bus: FakeConductor) -> None:
    begun = time.monotonic()
    assert bus.call("time.wait/1", ms=30, stands_for="a tool") is None
    assert time.monotonic() - begun >= 0.03


def test_without_a_time_it_does_nothing(bus: FakeConductor) -> None:
    assert bus.call("time.wait/1") is None


@pytest.mark.parametrize("ms", [-1, 1e12])
def test_a_time_that_nobody_waits_is_a_bad_request(bus: FakeConductor, ms: float) -> None:
    with pytest.raises(BusError) as caught:
        bus.call("time.wait/1", ms=ms)
    assert (caught.value.code, caught.value.where) == ("bad-request", "ms")
    assert caught.value.help


def test_it_ends_as_soon_as_its_time_is_over(bus: FakeConductor) -> None:
    begun = time.monotonic()
    with pytest.raises(BusError) as caught:
        bus.call("time.wait/1", ttl_ms=50, ms=60_000)
    assert caught.value.code == "deadline"
    assert time.monotonic() - begun < 10
