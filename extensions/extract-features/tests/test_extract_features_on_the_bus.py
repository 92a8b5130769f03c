"""The player behind the real switch and codec, over the datapath in memory."""

import pytest

from symphony.bus.errors import BusError
from symphony.bus.testing import FakeConductor


def extracted(bus: FakeConductor, data: bytes) -> str:
    (bus.inbox / "prompt.txt").write_bytes(data)
    told = bus.call("features.extract/1", enhanced_prompt={"$file": "prompt.txt"})
    return (bus.outbox / told["$file"]).read_text(encoding="utf-8")


def test_a_prompt_becomes_a_backlog_in_the_outbox(bus: FakeConductor) -> None:
    assert "F7,Paint the shed" in extracted(bus, b"## Requirements\nR7. Paint the shed\n")


@pytest.mark.parametrize("text", ["", "hello", "\0\1\2", "id,feature\nF1,x\n"])
def test_a_text_without_requirements_is_a_bad_request(bus: FakeConductor, text: str) -> None:
    with pytest.raises(BusError) as caught:
        extracted(bus, text.encode())
    assert (caught.value.code, caught.value.where) == ("bad-request", "enhanced_prompt")
    assert caught.value.help


def test_text_in_another_encoding_is_a_bad_request(bus: FakeConductor) -> None:
    with pytest.raises(BusError) as caught:
        extracted(bus, b"## Requirements\nR1. caf\xe9\n")
    assert caught.value.code == "bad-request"
