"""Letters on their way to the box, beside the loop."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from symphony.bus import wire
from symphony.bus.codec import encode
from symphony.bus.listener import DeadLetter
from symphony.kernel import letterwriter
from symphony.kernel.deadletters import FILE, DeadLetterBox
from symphony.kernel.letterwriter import LetterWriter


def letter(word: str) -> DeadLetter:
    return DeadLetter(
        wire.CALL, "asker-1", "", "test.count/1", None, "unavailable", encode({"word": word}), {}
    )


class HeldBox(DeadLetterBox):
    """A box on a slow disk: its first letter is written when `release` is set."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.reached = threading.Event()
        self.release = threading.Event()
        self.writes = 0

    def add(self, letter: DeadLetter, *, times: int = 1) -> None:
        self.writes += 1
        self.reached.set()
        self.release.wait(10)
        super().add(letter, times=times)


def test_all_are_written_before_it_ends(tmp_path: Path) -> None:
    box = DeadLetterBox(tmp_path)
    writer = LetterWriter(box)
    for word in "abc":
        writer.put(letter(word))
    writer.close()
    writer.close()
    assert len(box.all(10).letters) == 3
    assert writer.lost == 0


def test_events_that_are_alike_but_for_being_kept_are_two(tmp_path: Path) -> None:
    box = DeadLetterBox(tmp_path)
    writer = LetterWriter(box)
    for options in ({}, {wire.KEEP_OPTION: True}):
        writer.put(replace(letter("a"), kind=wire.EVENT, options=options))
    writer.close()
    assert [found.times for found in box.all(10).letters] == [1, 1]


def test_equal_letters_that_wait_are_one_write(tmp_path: Path) -> None:
    box = HeldBox(tmp_path)
    writer = LetterWriter(box)
    writer.put(letter("first"))
    assert box.reached.wait(10)
    for _ in range(1_000):
        writer.put(letter("again"))
    box.release.set()
    writer.close()
    assert box.writes == 2
    assert sorted(found.times for found in box.all(10).letters) == [1, 1_000]


@pytest.mark.parametrize("bound", ["MOST_WAITING", "MOST_WAITING_BYTES"])
def test_past_its_bounds_letters_are_lost_and_counted(
    tmp_path: Path, bound: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    most = 2 if bound == "MOST_WAITING" else 2 * len(letter("a").body)
    monkeypatch.setattr(letterwriter, bound, most)
    box = HeldBox(tmp_path)
    writer = LetterWriter(box)
    writer.put(letter("0"))
    assert box.reached.wait(10)
    for word in "abcd":
        writer.put(letter(word))
    box.release.set()
    writer.close()
    assert writer.lost == 2
    assert [record.getMessage() for record in caplog.records] == ["dead letters lost"] * 2
    assert len(box.all(10).letters) == 3


def test_a_box_that_cannot_be_written_raises_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).mkdir()
    writer = LetterWriter(DeadLetterBox(tmp_path))
    writer.put(letter("a"))
    writer.close()
    assert writer.lost == 1
    assert "dead letters lost" in caplog.text
