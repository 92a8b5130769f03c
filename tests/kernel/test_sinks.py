"""Events as JSON lines, and what a killed kernel leaves of them."""

import asyncio
import json
from pathlib import Path

import pytest

from symphony.kernel.errors import ExitCode, SymphonyError
from symphony.kernel.events import StepSkipped
from symphony.kernel.sinks import JsonLines, last_seq


def event(seq: int, run: str = "r") -> StepSkipped:
    return StepSkipped(seq=seq, ts="2026-01-31T12:00:00.000Z", run=run, step="s", reason="why")


def opened(path: Path) -> JsonLines:
    return asyncio.run(JsonLines.open(str(path)))


def test_a_line_an_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for seq in (1, 2):
        sink = opened(path)
        sink(event(seq))
        sink.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seq"] for line in lines] == [1, 2]
    assert lines[0]["event"] == "step.skipped"


@pytest.mark.parametrize("torn", [b"{", b'{"event":"step.skip', b'{"event":"gate","seq":3000'])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "events.jsonl"
    sink = opened(path)
    sink(event(1000))
    sink(event(2000))
    sink(event(9000, run="other"))
    sink.close()
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert last_seq(str(path), "r") == 2000
    assert path.read_bytes() == whole


def test_a_line_that_is_no_event_is_not_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = opened(path)
    sink(event(1000))
    sink.close()
    path.write_bytes(path.read_bytes() + b"a note of mine")
    before = path.read_bytes()
    assert last_seq(str(path), "r") == 1000
    assert path.read_bytes() == before


def test_a_file_without_events_of_the_run_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious.txt"
    for content in (b"the only line", b'{"event":"of another program'):
        path.write_bytes(content)
        assert last_seq(str(path), "r") is None
        assert path.read_bytes() == content


def test_an_event_begins_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"a note of mine")
    sink = opened(path)
    sink(event(1))
    sink(event(2))
    sink.close()
    first, *events = path.read_bytes().splitlines()
    assert first == b"a note of mine"
    assert [json.loads(line)["seq"] for line in events] == [1, 2]


def test_nothing_seen(tmp_path: Path) -> None:
    assert last_seq(str(tmp_path / "none"), "r") is None
    assert last_seq("-", "r") is None


def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(SymphonyError) as caught:
        opened(tmp_path / "no" / "such" / "folder")
    assert caught.value.code is ExitCode.IO
