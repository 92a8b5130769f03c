"""The store of calls and events that reached nobody."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from symphony.bus import wire
from symphony.bus.codec import encode
from symphony.bus.listener import DeadLetter
from symphony.kernel import deadletters
from symphony.kernel.deadletters import FILE, DeadLetterBox
from symphony.kernel.errors import ExitCode, SymphonyError

NOW = "2026-01-31T12:00:00.000Z"
FIRST_FORMAT = """
CREATE TABLE letters (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, sender TEXT NOT NULL, addressee TEXT NOT NULL,
    name TEXT NOT NULL, method TEXT, code TEXT NOT NULL, times INTEGER NOT NULL,
    first TEXT NOT NULL, last TEXT NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID
"""


def letter(body: object = None, **changes: object) -> DeadLetter:
    values: dict[str, object] = {
        "kind": wire.CALL,
        "sender": "asker-3",
        "addressee": "",
        "name": "text.count/1",
        "method": None,
        "code": "unavailable",
        "body": encode({"text": "to be"} if body is None else body),
        "options": {},
    }
    return DeadLetter(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def box(tmp_path: Path) -> DeadLetterBox:
    return DeadLetterBox(tmp_path)


def test_an_empty_box_makes_no_file(box: DeadLetterBox, tmp_path: Path) -> None:
    assert box.all(10).letters == []
    assert box.clear() == 0
    box.again("1f2e3d4c5b6a")
    assert not (tmp_path / FILE).exists()


def test_a_home_that_is_not_there_has_no_letters(tmp_path: Path) -> None:
    box = DeadLetterBox(tmp_path / "home")
    assert box.clear() == 0
    with pytest.raises(SymphonyError) as caught:
        box.drop("1f2e3d4c5b6a")
    assert caught.value.code == ExitCode.NOT_FOUND


def test_a_letter_is_kept_whole_and_for_its_user_alone(box: DeadLetterBox, tmp_path: Path) -> None:
    box.add(letter())
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    (found,) = box.all(10).letters
    assert (found.kind, found.sender, found.name, found.times) == (
        "call",
        "asker",
        "text.count/1",
        1,
    )
    assert found.body is None
    assert box.get(found.id).body == {"text": "to be"}


def test_equal_letters_are_one_with_a_count(box: DeadLetterBox) -> None:
    box.add(letter())
    box.add(letter(sender="asker-4", addressee="counter-2"))
    box.add(letter(code="overloaded"))
    assert sorted(found.times for found in box.all(10).letters) == [1, 2]


def test_an_event_that_was_to_be_kept_is_another_letter(box: DeadLetterBox) -> None:
    kept = {wire.KEEP_OPTION: True}
    for options in ({}, kept, kept, {wire.GAP_OPTION: 3}):
        box.add(letter(kind=wire.EVENT, name="test.words", options=options))
    found = [box.parcel(one.id) for one in box.all(10).letters]
    assert {(parcel.keep, parcel.times) for parcel in found} == {(False, 2), (True, 2)}


def test_a_box_of_the_first_format_is_read_and_written(box: DeadLetterBox, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as store:
        store.execute(FIRST_FORMAT)
        row = ("1f2e3d4c5b6a", "event", "a", "b-1", "test.words", None, "crashed", 3, NOW, NOW)
        insert = "INSERT INTO letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        store.execute(insert, (*row, encode("x")))
        store.execute("PRAGMA user_version = 1")
        store.commit()
    old = box.parcel("1f2e3d4c5b6a")
    assert (old.times, old.keep, old.body) == (3, False, "x")
    box.add(letter())
    assert len(box.all(10).letters) == 2


def test_the_oldest_make_room(box: DeadLetterBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadletters, "MOST", 3)
    for number in range(5):
        box.add(letter(number))
    kept = [box.get(found.id).body for found in box.all(10).letters]
    assert len(kept) == 3
    assert 4 in kept
    monkeypatch.setattr(deadletters, "MOST_BYTES", 1_000)
    box.add(letter(b"x" * 900))
    assert next(found.bytes > 900 for found in box.all(10).letters)
    assert sum(found.bytes for found in box.all(10).letters) <= 1_000


def test_dropped_is_gone_and_an_unknown_one_is_not_found(box: DeadLetterBox) -> None:
    box.add(letter())
    (found,) = box.all(10).letters
    box.drop(found.id)
    for forget in (box.drop, box.get):
        with pytest.raises(SymphonyError) as error:
            forget(found.id)
        assert error.value.code == ExitCode.NOT_FOUND
    box.add(letter())
    assert box.clear() == 1


def test_a_damaged_file_is_an_error_with_its_place(box: DeadLetterBox, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database, and long enough to be looked at" * 40)
    with pytest.raises(SymphonyError) as error:
        box.add(letter())
    assert error.value.code == ExitCode.IO
    assert str(tmp_path / FILE) in str(error.value.where)


def test_a_newer_format_is_not_touched(box: DeadLetterBox, tmp_path: Path) -> None:
    store = sqlite3.connect(tmp_path / FILE)
    store.execute("PRAGMA user_version = 99")
    store.commit()
    store.close()
    with pytest.raises(SymphonyError, match="newer version"):
        box.all(10)
