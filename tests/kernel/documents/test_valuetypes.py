"""Value types: what fits, what does not, and in which field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.kernel.errors import Problems
from symphony.kernel.valuetypes import (
    ValueType,
    compatible,
    declaration_findings,
    parse_inputs,
)

REF = "blake3:" + "0" * 64
SCHEMA = {
    "type": "object",
    "properties": {"rows": {"type": "array", "items": {"type": "integer"}}},
    "required": ["rows"],
}


def kind(type_: str, **more: Any) -> ValueType:
    return msgspec.convert({"type": type_, **more}, ValueType)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (kind("text"), "x"),
        (kind("text"), {"$file": "a/b.txt", "size": 3}),
        (kind("integer"), -(2**63)),
        (kind("number"), 3),
        (kind("number"), 0.5),
        (kind("boolean"), False),
        (kind("json"), None),
        (kind("json", schema=SCHEMA), {"rows": [1, 2]}),
        (kind("file"), {"$file": "x"}),
        (kind("file"), {"$artifact": REF}),
        (kind("folder"), {"$folder": "x/y"}),
        (kind("folder"), {"$artifact": REF}),
    ],
)
def test_a_value_of_its_type_has_no_problem(declared: ValueType, value: object) -> None:
    assert declared.check(value) == []


@pytest.mark.parametrize(
    ("declared", "value", "message"),
    [
        (kind("text"), 3, '"f" must be text, not 3'),
        (kind("text"), {"$folder": "x"}, '"f" must be text, not a table'),
        (kind("integer"), True, '"f" must be a whole number, not true'),
        (kind("integer"), 1.0, '"f" must be a whole number, not 1.0'),
        (kind("integer"), 2**63, '"f" does not fit in 64 bits'),
        (kind("number"), True, '"f" must be a number, not true'),
        (kind("number"), float("nan"), '"f" must be a finite number'),
        (kind("boolean"), 0, '"f" must be true or false, not 0'),
        (kind("json"), {1, 2}, '"f" must be JSON data'),
        (kind("file"), "text", '"f" must be a file, not "text"'),
        (kind("file"), {"$file": "../x"}, '"f" must be a file, not a table'),
        (kind("file"), {"$file": "/x"}, '"f" must be a file, not a table'),
        (kind("file"), {"$file": "x", "$folder": "x"}, '"f" must be a file, not a table'),
        (kind("file"), {"$artifact": "blake3:00"}, '"f" must be a file, not a table'),
        (kind("folder"), {"$file": "x"}, '"f" must be a folder, not a table'),
        (kind("json", schema=SCHEMA), {}, '"f.rows" is missing'),
        (kind("json", schema=SCHEMA), {"rows": [1, "x"]}, '"f.rows[1]" must be a whole number'),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_field(
    declared: ValueType, value: object, message: str
) -> None:
    (problem,) = declared.check(value, "f")
    assert problem.message.startswith(message)
    assert (problem.where or "").startswith("f")


def test_text_is_taken_for_a_text_file_only_where_conversion_is_asked_for() -> None:
    assert kind("file", media="text/markdown").check("# x", convert=True) == []
    assert kind("file").check("x")
    assert kind("file", media="image/png").check("x", convert=True)


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        (kind("text"), kind("text"), True),
        (kind("text"), kind("file"), True),
        (kind("file", media="text/csv"), kind("text"), True),
        (kind("file", media="application/json"), kind("text"), True),
        (kind("file", media="image/png"), kind("text"), False),
        (kind("text"), kind("file", media="image/png"), False),
        (kind("file", media="text/csv"), kind("file"), True),
        (kind("file", media="text/csv"), kind("file", media="text/*"), True),
        (kind("file", media="text/csv;charset=utf-8"), kind("file", media="text/csv"), True),
        (kind("file", media="text/csv"), kind("file", media="text/plain"), False),
        (kind("file"), kind("folder"), False),
        (kind("integer"), kind("number"), True),
        (kind("number"), kind("integer"), False),
        (kind("boolean"), kind("json"), True),
        (kind("json"), kind("boolean"), False),
        (kind("json"), kind("text"), False),
    ],
)
def test_what_can_be_given_where(source: ValueType, target: ValueType, fits: bool) -> None:
    reason = compatible(source, target)
    assert (reason is None) == fits, reason


def test_the_command_line_is_read_by_type(tmp_path: Path) -> None:
    brief = tmp_path / "brief.md"
    brief.write_text("x")
    declared = {
        "brief": kind("file"),
        "folder": kind("folder"),
        "n": kind("integer"),
        "x": kind("number"),
        "b": kind("boolean"),
        "t": kind("text"),
        "j": kind("json", schema=SCHEMA),
        "d": kind("integer", default=7),
        "o": kind("text", optional=True),
    }
    given = [
        f"brief={brief}",
        f"folder={tmp_path}",
        "n=3",
        "x=2",
        "b=true",
        "t=a=b",
        'j={"rows":[]}',
    ]
    assert parse_inputs(given, declared) == {
        "brief": brief,
        "folder": tmp_path,
        "n": 3,
        "x": 2,
        "b": True,
        "t": "a=b",
        "j": {"rows": []},
        "d": 7,
    }


def test_all_faults_of_the_command_line_come_at_once(tmp_path: Path) -> None:
    declared = {
        "brief": kind("file", description="what to build"),
        "folder": kind("folder"),
        "n": kind("integer"),
        "b": kind("boolean"),
        "j": kind("json", schema=SCHEMA),
        "t": kind("text"),
    }
    given = ["folder=/none", "n=three", "n=3", "b=yes", 'j={"rows": [0.5]}', "txt=1", "t"]
    with pytest.raises(Problems) as caught:
        parse_inputs([*given, f"brief={tmp_path}"], declared)
    assert [problem.message for problem in caught.value.problems] == [
        'there is no folder "/none"',
        '"n" must be a whole number, not "three"',
        'the input "n" is given twice',
        '"b" must be true or false, not "yes"',
        '"j.rows[0]" must be a whole number, not 0.5',
        'there is no input "txt"',
        "an input is NAME=VALUE",
        f'"{tmp_path}" is not a file'
        if len(str(tmp_path)) < 50
        else caught.value.problems[7].message,
        'the input "t" is missing',
    ]
    assert caught.value.problems[5].where == "--input txt"


@given(
    st.sampled_from(["text", "integer", "number", "boolean", "json", "file", "folder"]),
    st.text(max_size=20),
)
def test_any_text_on_the_command_line_is_read_or_refused(type_: str, text: str) -> None:
    try:
        values = parse_inputs([f"x={text}"], {"x": kind(type_)})
    except Problems:
        return
    if type_ not in ("file", "folder"):
        assert kind(type_).check(values["x"]) == []


def doubling(levels: int) -> dict[str, Any]:
    """A schema whose check takes 2 ** levels steps."""
    tables: dict[str, Any] = {
        f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(levels)
    }
    return {"$ref": "#/$defs/a0", "$defs": {**tables, f"a{levels}": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        (doubling(40), "x", "takes too long to check"),
        ({"pattern": "^(a+)+$"}, "a" * 40 + "!", "not well formed"),
        ({"patternProperties": {"^(a+)+$": {"type": "null"}}}, {"a" * 40: 1}, "must be null"),
        (
            {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
            {"a" * 40 + "!": 1},
            "unknown key",
        ),
        ({"additionalProperties": {"type": "null"}, "properties": {"a": {}}}, {"b": 1}, "null"),
        ({"$ref": "#"}, 1, "nested too deeply"),
    ],
)
def test_a_schema_made_to_hurt_is_bounded(
    schema: dict[str, Any], value: object, message: str
) -> None:
    declared = kind("json", schema=schema)
    assert list(declaration_findings(("x",), declared)) == []
    problems = declared.check(value, "f")
    assert [message in problem.message for problem in problems] == [True], problems


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)b", "look-around, including look-ahead and look-behind, is not supported"),
        (r"(a)\1", "backreferences are not supported"),
        ("(", '"pattern" is not valid'),
    ],
)
def test_a_pattern_that_cannot_be_bounded_is_refused(pattern: str, reason: str) -> None:
    (finding,) = declaration_findings(("x",), kind("json", schema={"pattern": pattern}))
    assert (finding.key, reason in finding.message) == (("x", "schema"), True), finding.message


def test_a_pattern_may_match_anywhere() -> None:
    declared = kind("json", schema={"pattern": "b+", "type": "string"})
    assert declared.check("abbc") == []
    assert declared.check("ac") != []
