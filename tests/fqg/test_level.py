"""The interchange file: what is read, and that everything wrong is named with its place."""

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.fqg.level import LevelError, load_levels, parse_levels

DOOR: dict[str, Any] = {
    "id": "door",
    "facts": ["key", "unlocked", "open"],
    "init": [],
    "goal": [2],
    "functions": [
        {"name": "find_key", "pre": [], "add": [0], "del": []},
        {"name": "use_key", "args": ["rusty_key"], "pre": [0], "add": [1], "del": [0], "cost": 2},
        {"name": "open_door", "pre": [1], "add": [2], "del": [], "optional": False},
        {"name": "force_door", "pre": [], "add": [2], "del": [], "cost": 9, "alternatives_of": [2]},
    ],
    "optimal_calls": 3,
    "story": "A locked door.",
    "author": "ignored",
}


def problems(document: object) -> dict[str, str]:
    with pytest.raises(LevelError) as caught:
        parse_levels(document)
    return {problem.place: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["json", "gzip"])
def test_a_file_is_read_packed_or_not(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "levels"
    path.write_bytes(pack(json.dumps([DOOR]).encode()))
    (level,) = load_levels(path)
    assert (level.id, level.facts, level.optimal_calls) == ("door", ("key", "unlocked", "open"), 3)
    use, force = level.functions[1], level.functions[3]
    assert (use.args, use.pre, use.add, use.delete) == (("rusty_key",), {0}, {1}, {0})
    assert (use.cost, force.alternatives_of, level.functions[0].cost) == (2.0, (2,), 1.0)


def test_a_single_level_needs_no_list() -> None:
    assert parse_levels(DOOR) == parse_levels([DOOR])


def test_levels_can_be_kept_in_sets() -> None:
    assert len({*parse_levels(DOOR), *parse_levels(DOOR)}) == 1


def test_every_problem_of_a_file_is_named_at_once() -> None:
    bad = copy.deepcopy(DOOR)
    bad["goal"] = [3, -1]
    bad["init"] = [True]
    del bad["functions"][0]["add"]
    bad["functions"][1]["pre"] = "key"
    bad["functions"][2] |= {"cost": -1, "optional": 1}
    bad["functions"][3]["alternatives_of"] = [4]
    assert problems([DOOR, bad, 7]) == {
        "[1].id": "'door' is already the id of [0]",
        "[1].goal[0]": "3 is out of range: there are 3",
        "[1].goal[1]": "must be a whole number from 0, not -1",
        "[1].init[0]": "must be a whole number from 0, not True",
        "[1].functions[0].add": "must be a list, not absent",
        "[1].functions[1].pre": "must be a list, not 'key'",
        "[1].functions[2].cost": "must be a number from 0 to 1e12, not -1",
        "[1].functions[2].optional": "must be true or false, not 1",
        "[1].functions[3].alternatives_of[0]": "4 is out of range: there are 4",
        "[2]": "must be an object, not 7",
        "[2].id": "must be text, not absent",
        "[2].facts": "must be a list, not absent",
        "[2].functions": "must be a list, not absent",
        "[2].init": "must be a list, not absent",
        "[2].goal": "must be a list, not absent",
    }


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b'[{"id": }]', "line 1, column 9"),
        (b"", "line 1, column 1"),
        (b"\xff\xfe", "file"),
        (b"[" * 100_000, "file"),
        (b'{"cost": NaN}', "file"),
        (b"[" + b"9" * 5_000 + b"]", "file"),
        (gzip.compress(b"[]", mtime=0)[:-4], "file"),
        (b"\x1f\x8bgarbage", "file"),
    ],
    ids=["no value", "empty", "no text", "deep", "NaN", "digits", "cut gzip", "no gzip"],
)
def test_what_is_not_json_is_refused_with_its_place(
    tmp_path: Path, content: bytes, place: str
) -> None:
    path = tmp_path / "levels.json"
    path.write_bytes(content)
    with pytest.raises(LevelError) as caught:
        load_levels(path)
    assert [problem.place for problem in caught.value.problems] == [place]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*DOOR, *DOOR["functions"][3]]), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(json_values)
def test_any_json_gives_levels_or_problems(document: object) -> None:
    try:
        levels = parse_levels(document)
    except LevelError as error:
        assert error.problems  # noqa: PT017  either outcome is right, neither may be another exception
    else:
        assert isinstance(levels, tuple)
