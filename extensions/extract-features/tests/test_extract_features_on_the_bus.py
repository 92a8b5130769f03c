"""The player behind the real switch and codec, over the datapath in memory."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from symphony.bus.errors import BusError
from symphony.bus.testing import FakeConductor

MAIN = Path(__file__).resolve().parents[1] / "main.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("extract_features_main", MAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def extracted(text: str) -> str:
    with FakeConductor(load().ext) as bus:
        (bus.inbox / "prompt.txt").write_text(text, encoding="utf-8")
        told = bus.call("features.extract/1", enhanced_prompt={"$file": "prompt.txt"})
        return (bus.outbox / told["$file"]).read_text(encoding="utf-8")


def test_a_prompt_becomes_a_backlog_in_the_outbox() -> None:
    assert "F7,Paint the shed" in extracted("## Requirements\nR7. Paint the shed\n")


@pytest.mark.parametrize("text", ["", "hello", "\0\1\2", "id,feature\nF1,x\n"])
def test_a_text_without_requirements_is_a_bad_request(text: str) -> None:
    with pytest.raises(BusError) as caught:
        extracted(text)
    assert (caught.value.code, caught.value.where) == ("bad-request", "enhanced_prompt")
    assert caught.value.help


def test_text_in_another_encoding_is_a_bad_request() -> None:
    with FakeConductor(load().ext) as bus:
        (bus.inbox / "prompt.txt").write_bytes(b"## Requirements\nR1. caf\xe9\n")
        with pytest.raises(BusError) as caught:
            bus.call("features.extract/1", enhanced_prompt={"$file": "prompt.txt"})
    assert caught.value.code == "bad-request"
