"""Failures in a level file: what is read, and the place of everything that is wrong."""

import copy
from typing import Any

import pytest

from symphony.fqg.failure import Chances, Error, Failure, Mode
from symphony.fqg.level import Level, LevelError, parse_levels
from symphony.fqg.writing import document

ASK: dict[str, Any] = {
    "id": "ask",
    "facts": ["answer"],
    "init": [],
    "goal": [0],
    "functions": [{"name": "ask", "pre": [], "add": [0], "del": [], "failure": {}}],
}


def read(failure: Any) -> Level:
    level = copy.deepcopy(ASK)
    level["functions"][0]["failure"] = failure
    return parse_levels(level)[0]


def test_what_the_modes_leave_is_sound() -> None:
    failure = read({"modes": {"transient": 0.25, "quality": 0.5}, "known": [4, 1]}).functions[0]
    assert failure.failure == Failure(Chances(0.25, 0.25, 0.0, 0.5), known=(4, 1))


@pytest.mark.parametrize(
    ("failure", "place", "message"),
    [
        (7, "", "must be an object, not 7"),
        ({"modes": []}, ".modes", "must be an object, not []"),
        ({"modes": {"transient": 2}}, ".modes.transient", "must be a number from 0 to 1, not 2"),
        (
            {"modes": {"sound": 0.5, "permanent": 0.1}},
            ".modes",
            "the chances must add up to 1, not 0.6",
        ),
        ({"modes": {"transient": 0.7, "quality": 0.7}}, ".modes", "add up to 1, not 1.4"),
        ({"misleads": -1}, ".misleads", "must be a number from 0 to 1, not -1"),
        ({"known": [1, 2]}, ".known", "must be [calls, failures], no more failures than calls"),
        ({"known": [1]}, ".known", "must be [calls, failures], no more failures than calls"),
    ],
    ids=["number", "modes", "range", "sum", "more than one", "misleads", "more failures", "short"],
)
def test_what_is_wrong_is_named_with_its_place(failure: Any, place: str, message: str) -> None:
    with pytest.raises(LevelError) as caught:
        read(failure)
    problem = caught.value.problems[0]
    assert problem.place == f"[0].functions[0].failure{place}"
    assert message in problem.message


def test_the_chances_of_what_a_failed_call_shows_add_up() -> None:
    failure = Failure(Chances(), misleads=0.4)
    for mode in list(Mode)[1:]:
        assert sum(failure.shows(mode, error) for error in list(Error)[1:]) == pytest.approx(1)
    assert failure.shows(Mode.TRANSIENT, Error.UNAVAILABLE) == pytest.approx(0.7)
    assert failure.shows(Mode.TRANSIENT, Error.TIMEOUT) == pytest.approx(0.1)


def test_a_written_level_is_read_as_it_was() -> None:
    level = {
        **copy.deepcopy(ASK),
        "optimal_calls": 1,
        "optimal_cost": 0,
        "budget": 3.5,
        "deadline": 9,
        "preferences": {"time": 0.5},
        "story": "Ask.",
    }
    level["functions"][0] |= {
        "cost": 0,
        "args": ["whom"],
        "quality": 0.0,
        "duration": 2,
        "optional": True,
        "failure": {"modes": {"permanent": 0.5}, "misleads": 0.1, "known": [2, 1]},
    }
    (once,) = parse_levels(level)
    assert parse_levels(document(once)) == (once,)
