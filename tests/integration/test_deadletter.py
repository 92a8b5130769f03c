"""Calls that reached nobody: kept, shown, sent again by the commands."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from command_harness import PEERS, Symphony
from interface_checks import check_error_json, check_errors, schema

from symphony.bus import wire
from symphony.bus.codec import encode
from symphony.bus.listener import DeadLetter
from symphony.kernel.deadletters import DeadLetterBox


def keep_letter(symphony: Symphony, **changes: Any) -> str:
    values: dict[str, Any] = {
        "kind": wire.CALL,
        "sender": "asker-3",
        "addressee": "",
        "name": "test.count/1",
        "method": None,
        "code": "unavailable",
        "body": encode({"word": "late"}),
        "options": {},
    }
    box = DeadLetterBox(symphony.home)
    box.add(DeadLetter(**{**values, **changes}))
    return box.all(1).letters[0].id


def test_a_call_to_nobody_is_kept_and_arrives_once_when_sent_again(symphony: Symphony) -> None:
    symphony.serve()
    symphony.attach(PEERS / "asker")
    (error,) = symphony.ask("late")["found"]
    assert error["code"] == "unavailable"
    # Written beside the loop: the answer to the caller is no sign that it is there already.
    symphony.kernel("stop")
    listed = symphony.answer("deadletter", "list")
    jsonschema.validate(listed, schema("deadletters"))
    (letter,) = listed["letters"]
    assert (letter["sender"], letter["name"], letter["code"]) == (
        "asker",
        "test.count/1",
        "unavailable",
    )
    shown = symphony.answer("deadletter", "show", letter["id"])
    assert shown["body"] == {"word": "late"}

    symphony.serve()
    failed = symphony.kernel("deadletter", "redrive", letter["id"], "--json")
    check_errors(failed, 5, "test.count/1", "attach an extension that provides test.count/1")
    assert check_error_json(failed)["code"] == "unavailable"
    assert symphony.answer("deadletter", "show", letter["id"])["times"] == 2

    counter = symphony.attach(PEERS / "counter")["instance"]
    arrived = symphony.answer("deadletter", "redrive", letter["id"])
    assert arrived == {"letter": letter["id"], "arrived": True}
    assert [line["word"] for line in symphony.logged(counter, "counted")] == ["late"]
    assert symphony.answer("deadletter", "list") == {"letters": []}
    check_errors(symphony.kernel("deadletter", "redrive", letter["id"]), 4, letter["id"])
    assert len(symphony.logged(counter, "counted")) == 1


def test_a_letter_that_fails_again_stays_with_its_count(symphony: Symphony) -> None:
    letter = keep_letter(symphony, body=encode({"sentence": "late"}))
    symphony.serve()
    symphony.attach(PEERS / "counter")
    check_errors(symphony.kernel("deadletter", "redrive", letter), 2, "word")
    assert symphony.answer("deadletter", "show", letter)["times"] == 2


def test_a_letter_without_arguments_is_refused_with_a_remedy(symphony: Symphony) -> None:
    letter = keep_letter(symphony, body=b"\xc1")
    symphony.serve()
    said = check_errors(symphony.kernel("deadletter", "redrive", letter), 2)
    assert f"deadletter drop {letter}" in said


def test_an_event_that_nobody_subscribes_to_stays(symphony: Symphony) -> None:
    letter = keep_letter(symphony, kind=wire.EVENT, name="test.words", body=encode("late"))
    symphony.serve()
    failed = symphony.kernel("deadletter", "redrive", letter)
    check_errors(failed, 5, "test.words", "attach an extension that subscribes to test.words")
    assert symphony.answer("deadletter", "show", letter)["times"] == 2


@pytest.mark.parametrize("id_", ["", "../x", "1f2e3d4c5b6a"])
def test_an_unknown_letter_is_not_found(symphony: Symphony, id_: str) -> None:
    symphony.serve()
    check_errors(symphony.kernel("deadletter", "redrive", id_), 4 if id_ else 2)


def test_without_a_kernel_letters_are_listed_and_not_sent(symphony: Symphony) -> None:
    letter = keep_letter(symphony)
    assert letter in symphony.kernel("deadletter", "list").stdout
    done = symphony.kernel("deadletter", "redrive", letter, "--json")
    check_errors(done, 5, "no kernel is running")
    assert json.loads(done.stdout)["error"]["code"] == "unavailable"
    assert symphony.answer("deadletter", "drop", letter) == {"dropped": 1}


def test_what_a_letter_carries_is_only_shown(symphony: Symphony) -> None:
    letter = keep_letter(symphony, method="a\x1b[2J\nerror: b", body=encode({"c\u202ed": "e\x9bf"}))
    for command in (("list",), ("show", letter)):
        shown = symphony.kernel("deadletter", *command).stdout
        assert r"a\x1b[2J\nerror: b" in shown
        assert not {"\x1b", "\u202e", "\x9b"}.intersection(shown)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"\xd4\x05\x00", {"$ext": [5, "00"]}),
        (b"\x82\xc0\x02\x91\x01\x02", {"$map": [[None, 2], [[1], 2]]}),
        (b"\x81\xa1a\xc4\x01\xff", {"a": {"$bytes": "ff"}}),
        (b"\xc1", {"$msgpack": "c1"}),
    ],
)
def test_what_json_cannot_hold_is_shown_all_the_same(
    symphony: Symphony, body: bytes, shown: object
) -> None:
    letter = keep_letter(symphony, body=body)
    assert symphony.answer("deadletter", "show", letter)["body"] == shown
    told = symphony.kernel("deadletter", "show", letter)
    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout[told.stdout.index("\n{") :]) == shown


def test_a_long_method_is_short_in_the_list_and_whole_when_shown(symphony: Symphony) -> None:
    letter = keep_letter(symphony, method="m" * 4_000)
    assert "m" * 64 not in symphony.kernel("deadletter", "list").stdout
    assert symphony.answer("deadletter", "show", letter)["method"] == "m" * 4_000


def test_without_letters_nothing_is_dropped(symphony: Symphony) -> None:
    assert symphony.answer("deadletter", "drop", "--all") == {"dropped": 0}
    check_errors(symphony.kernel("deadletter", "drop", "1f2e3d4c5b6a"), 4, "deadletter list")
    assert symphony.kernel("deadletter", "list").stdout == "no dead letters\n"
