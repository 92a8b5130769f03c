"""Documents: what is read, what is refused, and at which line."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.kernel.document import MAX_BYTES, load_document, parse_document
from symphony.kernel.errors import ExitCode, Problems
from symphony.kernel.structure import Report

TOML = Path("x.toml")
JSON = Path("x.json")


def refusals(path: Path, source: bytes) -> list[tuple[str | None, str]]:
    with pytest.raises(Problems) as caught:
        Report(parse_document(path, source)).raise_if_any()
    assert caught.value.code is ExitCode.BAD_REQUEST
    return [(problem.where, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("path", "source", "where", "what"),
    [
        (TOML, b"a = 1\nb = = 2\n", "x.toml:2", "not valid TOML"),
        (TOML, b"a = 1\n\nb = [1,\n", "x.toml:3", "not valid TOML"),
        (TOML, b"a = 1\na = 2\n", "x.toml:2", "Cannot overwrite"),
        (TOML, b"a = 1\nb = '\xff'\n", "x.toml:2", "not UTF-8"),
        (TOML, b"a = 1\nb = 2020-01-01\n", "x.toml:2", "dates and times"),
        (TOML, b"\n\n[t]\nb = [1, nan]\n", "x.toml:4", "not finite"),
        (TOML, b"a = 9223372036854775808\n", "x.toml:1", "64 bits"),
        (TOML, b"a = " + b"9" * 5000, "x.toml", "cannot be read"),
        (TOML, b"a = " + b"[" * 5000 + b"]" * 5000, "x.toml", "nested too deeply"),
        (TOML, b"\na = " + b"[" * 70 + b"]" * 70, "x.toml:2", "nested deeper than 64"),
        (TOML, b"\xef\xbb\xbfa = 1", "x.toml:1", "not valid TOML"),
        (TOML, b"#" * (MAX_BYTES + 1), "x.toml", "larger than 4 MiB"),
        (JSON, b'{"a": 1,\n}', "x.json:2", "not valid JSON"),
        (JSON, b"", "x.json:1", "not valid JSON"),
        (JSON, b"[1]", "x.json:1", "must hold a table, not a list"),
        (JSON, b'{"a": 1,\n "b": {"c": 1,\n "c": 2}}', "x.json:3", '"c" is given twice'),
        (JSON, b'{"a":\n NaN}', "x.json", "NaN"),
        (JSON, b'{"a":\n 1e999}', "x.json:1", "not finite"),
        (JSON, b'{"a": 1,\n "b": "\\ud800"}', "x.json:2", "surrogate"),
        (JSON, b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "x.json", "nested too deeply"),
    ],
)
def test_what_is_not_plain_data_is_refused_at_its_line(
    path: Path, source: bytes, where: str, what: str
) -> None:
    ((place, message),) = refusals(path, source)
    assert (place, what in message) == (where, True), message


def test_every_odd_value_is_reported_at_once() -> None:
    found = refusals(TOML, b"a = nan\nb = 12:00:00\n")
    assert [place for place, _ in found] == ["x.toml:1", "x.toml:2"]
    source = b'{"a": 1,\n "b": {"\\ud800": 1e999},\n "a": {"c": 1}, "a": 3}'
    assert refusals(JSON, source) == [
        ("x.json:2", "a key holds half a surrogate pair"),
        ("x.json:2", "the number is not finite"),
        ("x.json:3", 'the key "a" is given twice'),
        ("x.json:3", 'the key "a" is given twice'),
    ]


def test_of_a_key_given_twice_the_last_counts_and_is_located() -> None:
    source = b'{"a": {"x": 1},\n "a": {\n"x": 2}}'
    document = parse_document(JSON, source)
    assert document.data == {"a": {"x": 2}}
    assert (document.line(("a",)), document.line(("a", "x"))) == (2, 3)
    assert refusals(JSON, source) == [("x.json:2", 'the key "a" is given twice')]


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.toml"
    os.mkfifo(fifo)
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    for path in (tmp_path, fifo, loop, tmp_path / "none.toml", tmp_path / ("n" * 300)):
        with pytest.raises(Problems) as caught:
            load_document(path)
        assert caught.value.problems[0].where == str(path)


LOCATED = """\
# a comment
top = 1

[melody]
name = "x"
"quoted key" = 2
dotted.inner.key = 3
list = [
  1,
  2, # two
  { deep = [4,
            5] },
]

[[steps]]
id = "a"
inputs = { x = "y", z = { w = 1 } }
[steps.gate]
expression = "e"
[[steps.parts]]
p = 1
[[steps.parts]]
p = 2

[[steps]]
id = "b"
[steps.gate]
expression = "f"
"""


@pytest.mark.parametrize(
    ("key", "fragment"),
    [
        (("top",), "top ="),
        (("melody",), "[melody]"),
        (("melody", "quoted key"), "quoted key"),
        (("melody", "dotted", "inner", "key"), "dotted."),
        (("melody", "list", 1), "2, # two"),
        (("melody", "list", 2, "deep", 1), "5] },"),
        (("steps", 0, "inputs", "z", "w"), "inputs ="),
        (("steps", 0, "gate", "expression"), 'expression = "e"'),
        (("steps", 0, "parts", 1, "p"), "p = 2"),
        (("steps", 1), None),
        (("steps", 1, "id"), 'id = "b"'),
        (("steps", 1, "gate", "expression"), 'expression = "f"'),
        (("steps", 1, "gate", "missing"), None),
        (("missing", "too"), None),
    ],
)
def test_toml_keys_are_located(key: tuple[str | int, ...], fragment: str | None) -> None:
    special = {("steps", 1): 25, ("steps", 1, "gate", "missing"): 27, ("missing", "too"): 1}
    lines = LOCATED.splitlines()
    line = parse_document(TOML, LOCATED.encode()).line(key)
    if fragment is None:
        assert line == special[key]
    else:
        assert fragment in lines[line - 1]


def test_json_keys_are_located() -> None:
    source = b'{"a": 1,\n "b": [1,\n  {"c\\n": null,\n   "d": 2}]\n}'
    document = parse_document(JSON, source)
    assert document.where(("b", 1, "d")) == "x.json:4"
    assert document.line(("b", 1, "c\n")) == 3
    assert document.line(("b", 0)) == 2


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=8), plain))
def test_json_plain_data_is_read_back_and_every_key_located(data: dict[str, object]) -> None:
    source = json.dumps(data, indent=1).encode()
    document = parse_document(JSON, source)
    assert document.data == data
    lines = source.decode().split("\n")
    for key in data:
        assert json.dumps(key) in lines[document.line((key,)) - 1]


@given(st.binary(max_size=60) | st.text(alphabet="[]{}=.,\"'#\n ab1-:tnf\\u", max_size=60))
def test_arbitrary_content_is_read_or_refused(content: bytes | str) -> None:
    source = content if isinstance(content, bytes) else content.encode()
    for path in (TOML, JSON):
        with contextlib.suppress(Problems):
            assert parse_document(path, source).line(("a", 0, "b")) >= 1
