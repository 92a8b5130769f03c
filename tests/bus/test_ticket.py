"""Where a ticket is read from."""

import os
from pathlib import Path

import pytest

from symphony.bus.errors import BusError
from symphony.bus.ticket import Ticket
from symphony.bus.wire import TICKET_VARIABLE

TICKET = Ticket(v=1, endpoint="ipc:///run/bus.sock", identity="0f" * 16, instance="a-1")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "a-1.ticket"
    place.write_bytes(TICKET.to_json())
    return place


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_alone_is_read(place: Path, mode: int) -> None:
    place.chmod(mode)
    assert Ticket.load({TICKET_VARIABLE: f"file:{place}"}) == TICKET


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_have_too_is_refused_with_the_remedy(place: Path, mode: int) -> None:
    place.chmod(mode)
    with pytest.raises(BusError, match=f"0{mode:o}") as caught:
        Ticket.load({TICKET_VARIABLE: f"file:{place}"})
    assert (caught.value.code, caught.value.where) == ("refused", str(place))
    assert (caught.value.help or "").startswith(f"chmod 600 {place}")


def test_a_descriptor_is_whoever_opened_it_s_affair(place: Path) -> None:
    place.chmod(0o644)
    descriptor = os.open(place, os.O_RDONLY)
    assert Ticket.load({TICKET_VARIABLE: f"fd:{descriptor}"}) == TICKET
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
