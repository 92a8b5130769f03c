"""Errors as people and as programs read them."""

from __future__ import annotations

from symphony.bus import errors as bus
from symphony.kernel.errors import (
    BUS_CODES,
    SHOWN,
    ExitCode,
    Problem,
    Problems,
    SymphonyError,
    exit_code_of,
)


def test_exit_codes_are_those_of_the_interface() -> None:
    assert {code.label: int(code) for code in ExitCode} == {
        "done": 0,
        "failed": 1,
        "bad-request": 2,
        "refused": 3,
        "not-found": 4,
        "unavailable": 5,
        "io": 6,
        "internal": 70,
        "interrupted": 130,
        "terminated": 143,
    }


def test_every_code_of_the_bus_has_an_exit_code() -> None:
    assert set(BUS_CODES) == set(bus.FAULTS)
    assert exit_code_of("deadline") is ExitCode.FAILED
    assert exit_code_of("from-the-future") is ExitCode.FAILED


def test_an_error_is_rendered_for_people_and_programs() -> None:
    error = SymphonyError(ExitCode.NOT_FOUND, "no run r1", where="home", help="see runs list")
    assert error.render() == "error: no run r1 (home)\nhelp: see runs list"
    assert error.to_json() == {
        "error": {
            "code": "not-found",
            "message": "no run r1",
            "where": "home",
            "help": "see runs list",
            "fault": "caller",
        }
    }


def test_problems_are_rendered_together_and_bounded() -> None:
    problems = Problems([Problem(f"p{n}", f"f:{n}") for n in range(SHOWN + 5)])
    assert problems.code is ExitCode.BAD_REQUEST
    lines = problems.render().splitlines()
    assert lines[1] == "error: p1 (f:1)"
    assert lines[-1] == "error: 5 more problems are not shown"
    error = problems.to_json()["error"]
    assert isinstance(error, dict)
    assert len(error["problems"]) == SHOWN + 5
