"""Events as JSON lines, and what a killed kernel leaves of them."""

import asyncio
import json
from pathlib import Path

import pytest

from symphony.kernel.errors import ExitCode, SymphonyError
from symphony.kernel.model import StepSkipped
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


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = opened(path)
    sink(event(1000))
    sink(event(2000))
    sink(event(9000, run="other"))
    sink.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq": 3000, "run": "r"')
    assert last_seq(str(path), "r") == 2000
    assert path.read_bytes() == whole


def test_nothing_seen(tmp_path: Path) -> None:
    assert last_seq(str(tmp_path / "none"), "r") is None
    assert last_seq("-", "r") is None


def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(SymphonyError) as caught:
        opened(tmp_path / "no" / "such" / "folder")
    assert caught.value.code is ExitCode.IO
