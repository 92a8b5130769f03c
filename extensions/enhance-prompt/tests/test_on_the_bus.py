"""The player behind the real switch and codec, over the datapath in memory."""

import importlib.util
from pathlib import Path

import pytest

from symphony.bus.errors import BusError
from symphony.bus.testing import FakeConductor

MAIN = Path(__file__).resolve().parents[1] / "main.py"


def conductor() -> FakeConductor:
    spec = importlib.util.spec_from_file_location("enhance_prompt_main", MAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return FakeConductor(module.ext)


def test_a_brief_becomes_a_file_in_the_outbox() -> None:
    with conductor() as bus:
        (bus.inbox / "brief.md").write_text("Add a task with a title")
        told = bus.call("prompt.enhance/1", brief={"$file": "brief.md"})
        text = (bus.outbox / told["$file"]).read_text(encoding="utf-8")
    assert "R1. Add a task with a title" in text


def test_a_brief_without_words_is_a_bad_request_naming_the_brief() -> None:
    with conductor() as bus:
        (bus.inbox / "brief.md").write_bytes(b"\0\1\2")
        with pytest.raises(BusError) as caught:
            bus.call("prompt.enhance/1", brief={"$file": "brief.md"})
    assert (caught.value.code, caught.value.where) == ("bad-request", "brief")
