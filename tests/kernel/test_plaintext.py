"""Text of players on the user's terminal: shown, never obeyed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.kernel.errors import ExitCode, Problem, SymphonyError
from symphony.kernel.plaintext import encodable, one_line

EVIL = "a\x1b[2J\x9b1m\nerror: forged\r\t\u202eb\udcff"


def test_escapes_are_shown() -> None:
    assert one_line(EVIL) == ("a\\x1b[2J\\x9b1m\\nerror: forged\\r\\t\\u202eb\\udcff")


@pytest.mark.parametrize("text", ["", "plain", "naïve Größe 日本 👩\u200d💻", "C:\\n"])
def test_what_can_be_seen_stays(text: str) -> None:
    assert one_line(text) == text


@given(st.text(st.characters()))
def test_nothing_is_obeyed(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in shown)
    shown.encode()
    encodable(text).encode()


def test_an_error_is_one_line_and_its_help_another() -> None:
    shown = Problem(EVIL, EVIL, EVIL).render().splitlines()
    assert [line.split(": ")[0] for line in shown] == ["error", "help"]


def test_an_error_as_json_can_be_encoded_and_keeps_the_text() -> None:
    error = SymphonyError(ExitCode.IO, "a\x1bb", where="\udcff", help="c")
    body = msgspec.json.decode(msgspec.json.encode(error.to_json()))["error"]
    assert body["message"] == "a\x1bb"
    assert body["where"] == "\\udcff"


def test_nobody_reads_a_hundred_thousand_characters() -> None:
    error = SymphonyError(ExitCode.FAILED, "x" * 100_000, where="here", help="look")
    said = error.render()
    assert said.endswith("x… (98000 more characters) (here)\nhelp: look")
    assert len(said) < 2_100
    assert error.body()["message"] == "x" * 100_000, "a program may want all of it"
