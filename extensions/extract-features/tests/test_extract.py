"""The backlog holds every requirement, whoever wrote the prompt."""

import csv
import io

import pytest
from backlog_extract import COLUMNS, NoRequirements, extract
from hypothesis import given
from hypothesis import strategies as st

PROMPT = """# T

## Requirements

R1. Add a task
    Actor: user
    Operation: create
    Noun: task
    Word: add
    Details: title:text; due:date?
    Priority: must
    Depends on: -
    Acceptance:
    - it is stored
    - it is "refused"

R2. Mark a task, or two
    Actor: clerk
    Operation: status
    Noun: task
    Details: status=done
    Depends on: R1, R9

## Data

R3. not a requirement
"""


def rows(prompt: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(extract(prompt))))


def test_each_requirement_becomes_a_row_with_its_details() -> None:
    first, second = rows(PROMPT)
    assert tuple(first) == COLUMNS
    assert first["id"] == "F1"
    assert first["fields"] == "title:text; due:date?; @word=add"
    assert first["acceptance"] == 'it is stored\nit is "refused"'
    assert (second["feature"], second["actor"], second["verb"]) == (
        "Mark a task, or two",
        "clerk",
        "status",
    )
    assert second["depends_on"] == "F1"


def test_a_requirement_without_details_keeps_its_first_word() -> None:
    [row] = rows("## Requirements\nR7. Paint the shed\n")
    assert (row["id"], row["verb"], row["noun"]) == ("F7", "paint", "")


def test_a_text_that_is_no_prompt_is_refused() -> None:
    with pytest.raises(NoRequirements):
        extract("hello")


@given(st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1), max_size=8))
def test_every_requirement_is_in_the_backlog(texts: list[str]) -> None:
    prompt = "## Requirements\n" + "".join(f"R{n}. {text}\n" for n, text in enumerate(texts, 1))
    assert [row["id"] for row in rows(prompt)] == [f"F{n}" for n in range(1, len(texts) + 1)]
