"""The generated program by hand: what it shows where nothing is said, and how it refuses."""

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from backlog_extract import extract
from brief_enhance import enhance
from code_generate import generate
from plan_make import plan
from plan_read import attribute

BRIEF = """# Club desk
- Member: name, email (optional)
- Visit: member, date
- Task: title, priority (low, normal or high), size (small or large), kind (indoor or outdoor, optional)
- Add a task
- Remove a member
- Show today's visits
- See visits of this week
- List visits of last month
- List visits of the last 7 days
- Record the weight of a member
- Export the tasks to CSV
"""  # noqa: E501 - long lines read better unbroken

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    prompt = enhance(BRIEF)
    for name, text in generate(extract(prompt), prompt).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "src"


@pytest.fixture
def run(sources: Path, tmp_path: Path) -> Run:
    def command(*arguments: str, db: str = "") -> "subprocess.CompletedProcess[str]":
        start = [sys.executable, "-m", "club_desk", "--db", db or str(tmp_path / "x.db")]
        return subprocess.run(
            [*start, *arguments], check=False, capture_output=True, text=True, cwd=sources
        )

    return command


def shown(output: str) -> list[str]:
    return [line.split()[2] for line in output.splitlines()[1:]]


@pytest.mark.parametrize(
    ("command", "first", "last"),
    [
        ("show-visits-today", "2030-03-01", "2030-03-01"),
        ("see-visits-this-week", "2030-02-25", "2030-03-03"),
        ("list-visits-last-month", "2030-02-01", "2030-02-28"),
        ("list-visits-last-7-days", "2030-02-22", "2030-03-01"),
    ],
)
def test_a_list_of_a_period_shows_that_period_unless_another_is_named(
    run: Run, command: str, first: str, last: str
) -> None:
    run("add-member", "--name", "Ann")
    edges = [date.fromisoformat(first), date.fromisoformat(last)]
    days = [edges[0] - timedelta(days=1), *sorted(set(edges)), edges[1] + timedelta(days=1)]
    for day in days:
        assert run("add-visit", "--member-id", "1", "--date", str(day)).returncode == 0
    assert shown(run(command, "--today", "2030-03-01").stdout) == list(map(str, days[1:-1]))
    every = run(command, "--from", "2000-01-01")
    assert shown(every.stdout) == list(map(str, days))


def test_a_measure_is_recorded_as_a_number(run: Run) -> None:
    run("add-member", "--name", "Ann")
    assert run("record-weight", "--member-id", "1").returncode == 2
    assert run("record-weight", "--member-id", "1", "--weight", "70.5").returncode == 0
    assert "70.5" in run("list-weights").stdout


def test_a_database_that_cannot_be_used_is_told_without_a_traceback(
    run: Run, tmp_path: Path
) -> None:
    junk = tmp_path / "junk.db"
    junk.write_text("this is no database, only a text of some length\n" * 50)
    for db in (str(tmp_path / "no" / "x.db"), str(junk)):
        done = run("list-tasks", db=db)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith(f"error: cannot use the database {db}: ")
        assert done.stderr.count("\n") == 1
    unwritable = run("export-tasks", str(tmp_path / "no" / "x.csv"))
    assert (unwritable.returncode, unwritable.stderr.count("\n")) == (1, 1)
    assert unwritable.stderr.startswith("error: ")


def test_a_refused_removal_says_what_still_refers_to_it(run: Run) -> None:
    run("add-member", "--name", "Ann")
    for _ in range(2):
        run("add-visit", "--member-id", "1", "--date", "2030-01-01")
    done = run("remove-member", "1")
    assert done.returncode == 1
    assert done.stderr == "error: member 1 cannot be deleted, it is referred to by visits 1, 2\n"
    missing = run("add-visit", "--member-id", "9", "--date", "2030-01-01")
    assert missing.stderr == "error: there is no member 9 for the visit\n"


def test_a_choice_has_the_usual_default_or_none(run: Run) -> None:
    assert run("add-task", "--title", "Sweep").returncode == 2
    assert run("add-task", "--title", "Sweep", "--size", "small").returncode == 0
    assert "normal" in run("list-tasks").stdout
    assert "indoor" not in run("list-tasks").stdout


@pytest.mark.parametrize(
    ("token", "default"),
    [
        ("priority:choice(low|normal|high)", '"normal"'),
        ("size:choice(small|medium|large)", '"medium"'),
        ("size:choice(small|large)", None),
        ("size:choice(small|large)?", "None"),
        ("status:choice(open|done)", '"open"'),
    ],
)
def test_the_default_of_a_choice(token: str, default: str | None) -> None:
    one = attribute(token)
    assert one is not None
    assert one.default == default


@pytest.mark.parametrize("bad", ["@period=week:5", "@period=hour:0", "@range=title; @period=day:0"])
def test_a_period_that_is_not_known_is_a_gap(bad: str) -> None:
    out = io.StringIO()
    rows = [
        ("id", "feature", "verb", "noun", "fields"),
        ("F1", "Add a task", "create", "task", "title:text; date:date"),
        ("F2", "List tasks", "list", "task", bad if "range" in bad else f"@range=date; {bad}"),
    ]
    csv.writer(out).writerows(rows)
    assert [f.id for f in plan(out.getvalue()).gaps] == ["F2"]
