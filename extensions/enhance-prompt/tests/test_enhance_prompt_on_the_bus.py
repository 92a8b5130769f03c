"""The player behind the real switch and codec, over the datapath in memory."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from symphony.bus.errors import BusError
from symphony.bus.testing import FakeConductor

MAIN = Path(__file__).resolve().parents[1] / "main.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("enhance_prompt_main", MAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def enhanced(data: bytes) -> str:
    with FakeConductor(load().ext) as bus:
        (bus.inbox / "brief.md").write_bytes(data)
        told = bus.call("prompt.enhance/1", brief={"$file": "brief.md"})
        return (bus.outbox / told["$file"]).read_text(encoding="utf-8")


def refusal(data: bytes) -> BusError:
    with pytest.raises(BusError) as caught:
        enhanced(data)
    return caught.value


def test_a_brief_becomes_a_file_in_the_outbox() -> None:
    assert "R1. Add a task with a title" in enhanced(b"Add a task with a title")


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
def test_what_is_no_text_is_a_bad_request_with_place_and_remedy(data: bytes, says: str) -> None:
    error = refusal(data)
    assert (error.code, error.where) == ("bad-request", "brief")
    assert says in error.message
    assert error.help


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_brief_in_another_encoding_is_read(encoding: str) -> None:
    text = enhanced("- Füge hinzu\n- Add a café with a naïve name".encode(encoding))
    assert "Add a café with a naïve name" in text


def test_a_brief_of_a_mebibyte_says_what_was_not_read() -> None:
    line = "- Add a task with a title and a due date\n"
    text = enhanced((line * (1024 * 1024 // len(line))).encode())
    assert "R1. Add a task" in text
    assert "further statements were not read" in text
