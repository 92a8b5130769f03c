"""The player behind the real switch and codec, over the datapath in memory."""

import pytest

from symphony.bus.errors import BusError
from symphony.bus.testing import FakeConductor


def enhanced(bus: FakeConductor, data: bytes) -> str:
    (bus.inbox / "brief.md").write_bytes(data)
    told = bus.call("prompt.enhance/1", brief={"$file": "brief.md"})
    return (bus.outbox / told["$file"]).read_text(encoding="utf-8")


def test_a_brief_becomes_a_file_in_the_outbox(bus: FakeConductor) -> None:
    assert "R1. Add a task with a title" in enhanced(bus, b"Add a task with a title")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (b"1 2 3 ... !", "no words"),
        (b"\0\1\2" * 100, "binary"),
        (bytes(range(256)) * 8, "binary"),
        (b"\x7fELF" + bytes(200), "binary"),
    ],
)
def test_what_is_no_text_is_a_bad_request_with_place_and_remedy(
    bus: FakeConductor, data: bytes, says: str
) -> None:
    with pytest.raises(BusError) as caught:
        enhanced(bus, data)
    error = caught.value
    assert (error.code, error.where) == ("bad-request", "brief")
    assert says in error.message
    assert error.help


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_brief_in_another_encoding_is_read(bus: FakeConductor, encoding: str) -> None:
    text = enhanced(bus, "- Füge hinzu\n- Add a café with a naïve name".encode(encoding))
    assert "Add a café with a naïve name" in text


def test_a_brief_of_a_mebibyte_says_what_was_not_read(bus: FakeConductor) -> None:
    line = "- Add a task with a title and a due date\n"
    text = enhanced(bus, (line * (1024 * 1024 // len(line))).encode())
    assert "R1. Add a task" in text
    assert "further statements were not read" in text
