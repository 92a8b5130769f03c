"""`pool`, `budget`, `why` and `stale` answer what their schemas say."""

from __future__ import annotations

import json

import pytest
from command_harness import PLAYERS, Symphony, of
from interface_checks import check_answer, check_errors

PIT = """
[tenants.lab]
weight = 2
[[budgets]]
name = "daily"
per = "day"
limit = 5.0
"""


@pytest.mark.parametrize("served", [False, True], ids=["no kernel", "kernel running"])
def test_each_answer_fits_its_schema(symphony: Symphony, served: bool) -> None:
    (symphony.home / "pit.toml").write_text(PIT)
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})
    code, events = symphony.play(melody, "--tenant", "lab")
    assert code == 0
    run = events[-1]["run"]
    (started,) = of(events, "step.started")
    if served:
        symphony.serve("--extensions", PLAYERS)
    check_answer("pool", symphony.kernel("pool", "--json"))
    budget = check_answer("budget", symphony.kernel("budget", "--tenant", "lab", "--json"))
    assert [row["name"] for row in budget["budgets"]] == ["daily"]
    why = check_answer("why", symphony.kernel("why", started["grant"], "--json"))
    assert (why["run"], why["step"], why["tenant"]) == (run, "a", "lab")
    check_answer("stale-plan", symphony.kernel("stale", "plan", "--json"))
    check_answer("stale-run", symphony.kernel("stale", "run", "--json"))
    check_answer("stale-restored", symphony.kernel("stale", "restore", run, "--json"))
    pinned = symphony.kernel("stale", "pin", run, "--why", "a test", "--json")
    assert check_answer("stale-pinned", pinned)["pinned"] == 1
    report = check_answer("stale-report", symphony.kernel("stale", "report", "--json"))
    assert report["pins"] == 1
    for words in (("pool",), ("budget",), ("why", started["grant"]), ("stale", "plan")):
        assert symphony.kernel(*words).returncode == 0
    check_errors(symphony.kernel("why", "g999"), 4)


def test_budgets_are_shown_before_anything_is_spent(symphony: Symphony) -> None:
    each = '[[budgets]]\nname = "each"\nper = "run"\nlimit = 2.0\n'
    (symphony.home / "pit.toml").write_text(PIT + each)
    rows = symphony.answer("budget")["budgets"]
    assert [(row["name"], row["who"], row["spent"]) for row in rows] == [
        ("daily", None, 0),
        ("each", None, 0),
    ]


def test_a_budget_is_not_asked_for_who_is_not_there(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text(PIT)
    check_errors(symphony.kernel("budget", "--tenant", "lob"), 4, 'no tenant "lob"', '"lab"')
    check_errors(symphony.kernel("budget", "--run", "no-such"), 4, "there is no such run")
    assert symphony.answer("budget", "--tenant", "lab")["budgets"][0]["name"] == "daily"


def test_a_spent_budget_is_told_without_a_log_that_is_not_there(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text(
        '[[budgets]]\nname = "none"\nper = "all"\nlimit = 0.0\n'
    )
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})
    done = symphony.kernel("run", melody, "--extensions", PLAYERS, "--json", "-")
    said = check_errors(done, 1, "the budget none is spent")
    assert ".log" not in said
    run = json.loads(done.stdout.splitlines()[0])["run"]
    (step,) = symphony.answer("runs", "show", run)["step_list"]
    assert "budget none" in step["reason"]
    assert ".log" not in step["reason"]
