"""The contract suites themselves: what they cite, what they know by heart, how they compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from symphony.kernel.contracts import suite_of, suites
from symphony.kernel.contracts.contents import (
    EMPTY,
    HELLO,
    NEVER,
    NO_FOLDER,
    SMALL,
    TREE,
    TREE_REF,
    TREE_REFS,
    large,
    pieces,
)
from symphony.kernel.contracts.suite import ABSENT, UnfulfilledError, fits
from symphony.kernel.errors import ExitCode, SymphonyError

ROOT = Path(__file__).resolve().parents[3]
CHECKS = [
    pytest.param(ROOT / suite.document, check.sentence, id=f"{suite.capability}: {check.name}")
    for suite in suites().values()
    for check in suite.checks
]


def reference(data: bytes) -> str:
    return f"blake3:{blake3(data).hexdigest()}"


@pytest.mark.parametrize(("document", "sentence"), CHECKS)
def test_every_check_cites_its_contract_word_for_word(document: Path, sentence: str) -> None:
    assert sentence in document.read_text(encoding="utf-8")


@pytest.mark.parametrize("capability", suites())
def test_the_checks_of_a_suite_have_different_names(capability: str) -> None:
    names = [check.name for check in suite_of(capability).checks]
    assert len(names) == len(set(names)) > 10


def test_a_capability_without_a_suite_is_told_those_that_have_one() -> None:
    with pytest.raises(SymphonyError) as caught:
        suite_of("text.count/1")
    assert caught.value.code == ExitCode.NOT_FOUND
    assert all(capability in str(caught.value.help) for capability in suites())


def test_the_known_references_are_those_of_their_contents() -> None:
    for content in (EMPTY, HELLO, NEVER, NO_FOLDER, *SMALL, pieces(), large()):
        assert content.ref == reference(content.data)
    assert tuple(reference(data) for _, data, _ in TREE) == TREE_REFS
    listing = b"symphony-folder 1\x92"
    for (path, data, executable), ref in zip(TREE, TREE_REFS, strict=True):
        mode = b"\xcd\x01\xed" if executable else b"\xcd\x01\xa4"
        listing += b"\x94" + bytes([0xA0 | len(path)]) + path.encode()
        listing += mode + b"\xd9\x47" + ref.encode() + bytes([len(data)])
    assert reference(listing) == TREE_REF


@pytest.mark.parametrize(
    ("came", "expected"),
    [
        ({"a": 1, "more": 2}, {"a": 1}),
        ({"a": [{"b": True, "c": 0}]}, {"a": [{"b": True}]}),
        ({}, {"a": ABSENT}),
        (b"x", b"x"),
    ],
)
def test_what_came_may_have_more_than_is_expected(came: object, expected: object) -> None:
    fits(came, expected)


@pytest.mark.parametrize(
    ("came", "expected", "place"),
    [
        ({"a": 1}, {"a": 2}, ".a to be 2"),
        ({"a": 1}, {"a": True}, ".a to be True"),
        ({}, {"a": None}, ".a to be None"),
        ({"a": 1}, {"a": ABSENT}, ".a to be nothing"),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ".a[1].b to be 3"),
        ([1], [1, 2], " to be [1, 2]"),
        ("x", b"x", " to be b'x'"),
    ],
)
def test_the_first_difference_is_named(came: Any, expected: Any, place: str) -> None:
    with pytest.raises(UnfulfilledError) as caught:
        fits(came, expected)
    assert caught.value.expected == f"the reply{place}"
