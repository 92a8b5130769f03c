"""From brief to passing tests, through the players' own functions, for briefs of several fields."""

# ruff: noqa: E501 - long lines read better unbroken

import ast
import csv
import io
import re
import subprocess
import sys
from pathlib import Path

import package_tests
import pytest
from backlog_extract import extract
from brief_enhance import enhance
from code_generate import generate
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_read import UnreadableBacklog

BRIEFS = Path(__file__).resolve().parents[3] / "examples" / "spec-to-package" / "briefs"
CLINIC = """# Clinic appointments
- The receptionist can register patients with name, date of birth, phone and email
- Book an appointment for a patient with a doctor on a date and time
- Doctors can see their appointments for a given day
- Reschedule an appointment
- Cancel an appointment
- No two appointments for the same doctor at the same date and time
- Send SMS reminders the day before
- Report the number of appointments per doctor
"""
GYM = """Gym

Each member has a name, an email (unique), a membership type (monthly or yearly) and a join date.
A class has a title, a trainer, a start date and a capacity.
I want to register members, edit them and delete them. As a member, I want to book a class.
Members can be deactivated. I want to list members by membership type, and export members to JSON and PDF.
It should be possible to import members from JSON. Count members per membership type.
"""
OWN = Path(__file__).with_name("briefs")
FILES = sorted([*BRIEFS.iterdir(), *OWN.iterdir()])
ALL = {path.stem: path.read_text(encoding="utf-8") for path in FILES} | {
    "clinic": CLINIC,
    "gym": GYM,
}


def build(brief: str) -> tuple[str, dict[str, str]]:
    prompt = enhance(brief)
    backlog = extract(prompt)
    return backlog, generate(backlog, prompt)


def write(files: dict[str, str], folder: Path) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def ids(backlog: str) -> list[str]:
    return [row["id"] for row in csv.DictReader(io.StringIO(backlog))]


def assert_nothing_is_dropped(backlog: str, files: dict[str, str]) -> None:
    code = "".join(
        text for name, text in files.items() if name.endswith((".py", "UNRECOGNISED.md"))
    )
    for one in ids(backlog):
        assert re.search(rf"\b{one}\b|test_{one.lower()}_", code), one
    for name, text in files.items():
        if name.endswith(".py"):
            ast.parse(text, name)


@pytest.mark.parametrize("name", ALL)
def test_a_brief_becomes_a_package_that_passes_all_its_tests(name: str, tmp_path: Path) -> None:
    backlog, files = build(ALL[name])
    assert_nothing_is_dropped(backlog, files)
    folder, scratch = write(files, tmp_path / "package"), tmp_path / "scratch"
    scratch.mkdir()
    outcome = package_tests.run(folder, tmp_path / "report.xml", scratch, 120, lambda _: None)
    assert outcome.failed == ()
    assert outcome.score == 1.0
    assert outcome.real >= 10
    assert outcome.gaps == files["README.md"].count("fails with this name")


@pytest.mark.parametrize("name", ALL)
def test_generated_code_is_clean_and_the_same_every_time(name: str, tmp_path: Path) -> None:
    _, files = build(ALL[name])
    assert build(ALL[name])[1] == files
    folder = write(files, tmp_path)
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "E,F,W,I", str(folder)]
    done = subprocess.run(ruff, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_command_line_works_by_hand(tmp_path: Path) -> None:
    _, files = build(ALL["task-list"])
    folder = write(files, tmp_path)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "task_list", "--db", str(tmp_path / "x.db"), *arguments]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=folder / "src"
        )

    assert run("add-task", "--title", "Buy milk", "--priority", "high").stdout == "added task 1\n"
    assert "Buy milk" in run("list-tasks").stdout
    assert run("mark-task-done", "1").returncode == 0
    assert run("list-tasks-open-by-due_date").returncode != 0
    missing = run("delete-task", "7")
    assert (missing.returncode, missing.stderr) == (1, "error: there is no task 7\n")
    gap = run("send-me")
    assert gap.returncode == 1
    assert gap.stderr.startswith("error: not generated: F15: Send me an e-mail")


def test_figures_of_each_thing_are_told_with_its_name(tmp_path: Path) -> None:
    brief = "# Rota\n- Nurse: name\n- Shift: date, nurse, hours\n- Add a shift\n- Add a nurse\n"
    folder = write(
        build(brief + "- Count shifts per nurse\n- Average hours per nurse\n")[1], tmp_path
    )

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "rota", "--db", str(tmp_path / "x.db"), *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=folder / "src"
        ).stdout

    for name in ("Ann", "Bo", "Ann"):
        run("add-nurse", "--name", name)
    for nurse, hours in (("1", "4"), ("1", "8"), ("3", "5")):
        run("add-shift", "--date", "2030-01-01", "--nurse-id", nurse, "--hours", hours)
    assert run("count-shifts-by-nurse") == "Ann (1): 2\nAnn (3): 1\n"
    assert run("average-shifts-hours-by-nurse") == "Ann (1): 6.0\nAnn (3): 5.0\n"


def test_things_that_need_each_other_can_be_added_all_the_same() -> None:
    backlog = (
        "id,feature,verb,noun,fields\nF1,Add a hen,create,hen,name:text; egg:ref(egg)\n"
        "F2,Add an egg,create,egg,size:text; hen:ref(hen)\n"
    )
    models = generate(backlog)["src/generated_package/models.py"]
    assert sorted(re.findall(r"egg_id|hen_id|egg: str|hen: str", models)) == ["egg: str", "hen_id"]


def test_broken_generated_code_fails_its_tests(tmp_path: Path) -> None:
    _, files = build(ALL["task-list"])
    store = "src/task_list/storage.py"
    files[store] = files[store].replace("return replace(item, id=cursor.lastrowid)", "return item")
    folder, scratch = write(files, tmp_path / "package"), tmp_path / "scratch"
    scratch.mkdir()
    assert (
        package_tests.run(folder, tmp_path / "report.xml", scratch, 120, lambda _: None).score < 0.9
    )


def test_what_is_not_recognised_is_listed_by_name() -> None:
    _, files = build("- Fold a paper plane\n- Add a task with a title\n- Export tasks to PDF\n")
    assert "Fold a paper plane" in files["UNRECOGNISED.md"]
    assert "Export tasks to PDF" in files["README.md"].split("## Not generated")[1]


def rows(name: str) -> list[tuple[str, str, str]]:
    """Verb, noun and first token of each row of a brief's backlog."""
    table = csv.DictReader(io.StringIO(build(ALL[name])[0]))
    return [(r["verb"], r["noun"], r["fields"].split("; ")[0]) for r in table]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dental-clinic", ("rule", "patient", "@referred=appointment")),
        ("dental-clinic", ("sum", "treatment", "price")),
        ("school-timetable", ("rule", "lesson", "@distinct=room,weekday,start_time")),
        ("school-timetable", ("list", "lesson", "teacher")),
        ("school-timetable", ("list-other", "room", "@word=list")),
        ("workshop-invoices", ("rule", "invoice", "@kept=status:paid")),
        ("workshop-invoices", ("sum", "line_item", "unit_price*quantity")),
        ("recipe-box", ("status", "recipe", "favourite=true")),
        ("recipe-box", ("count", "recipe", "@group=category")),
        ("ward-rota", ("update", "shift", "nurse")),
        ("ward-rota", ("create", "swap_request", "shift:ref(shift)")),
        ("ward-rota", ("status", "swap_request", "status=rejected")),
        ("ward-rota", ("rule", "shift", "@distinct=nurse,date")),
        ("movie-night", ("list", "movie", "watched=false")),
        ("movie-night", ("import", "movie", "@format=json")),
        ("movie-night", ("create", "vote", "movie:ref(movie)")),
        ("parcel-locker", ("list", "parcel", "status=!picked-up")),
        ("hive-log", ("create", "visit", "date:date")),
        ("hive-log", ("list", "visit", "@sort=-date")),
        ("hive-log", ("sum", "honey_harvest", "kilo")),
    ],
)
def test_what_a_brief_asks_for_is_recognised(name: str, expected: tuple[str, str, str]) -> None:
    assert expected in rows(name)


def test_criteria_of_the_brief_stand_in_the_backlog_and_are_skipped_by_name() -> None:
    backlog, files = build(ALL["workshop-invoices"])
    said = "Given an invoice that is paid, when I delete it, then I get an error."
    [row] = [r for r in csv.DictReader(io.StringIO(backlog)) if said in r["acceptance"]]
    assert row["noun"] == "invoice"
    tests = files["tests/test_features.py"]
    assert re.search(rf"pytest.mark.skip.*\n.*test_{row['id'].lower()}_criterion_", tests)
    assert said in files["README.md"].split("## Criteria without a test")[1]


def test_a_generated_package_can_be_installed_offline(tmp_path: Path) -> None:
    _, files = build(ALL["task-list"])
    folder, target = write(files, tmp_path / "package"), tmp_path / "target"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(target)]
    done = subprocess.run([*pip, str(folder)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "task_list", "--help"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=target).stdout
    assert "add-task" in told
    assert (target / "bin" / "task-list").is_file()


def test_a_file_that_is_no_backlog_is_refused() -> None:
    with pytest.raises(UnreadableBacklog):
        generate("hello\nworld\n")


TEXT = st.one_of(
    st.text(min_size=3, max_size=200),
    st.lists(st.sampled_from(
        ["I", "want", "to", "add", "list", "delete", "export", "tasks", "books", "members", "lend", "return", "a", "the", "with", "title", "date", "price", "quantity", ";", "and", "or", "must", "not", "unique", '"', "'", "\\", "{{", "}}", "{%", "per", "by", "overdue", "sorted", "class", "def", "\n-", "\n##", "Data\n-", ":", "(", ",", ")", "."]
    ), min_size=4, max_size=50).map(" ".join),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(TEXT)
def test_no_requirement_of_any_text_is_dropped(text: str) -> None:
    if not any(c.isalpha() for c in text):
        return
    prompt = enhance(text)
    backlog = extract(prompt)
    assert len(ids(backlog)) == len(re.findall(r"^R\d+\. ", prompt, re.MULTILINE))
    assert_nothing_is_dropped(backlog, generate(backlog, prompt))
