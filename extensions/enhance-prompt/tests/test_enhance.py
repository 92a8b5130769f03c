"""What the player makes of single sentences, of whole briefs and of rubbish."""

# ruff: noqa: SIM105 - long lines read better unbroken

import re
from pathlib import Path

import brief_fields
import brief_text
import pytest
from brief_enhance import enhance
from brief_understand import understand
from hypothesis import given, settings
from hypothesis import strategies as st

BRIEFS = Path(__file__).resolve().parents[3] / "examples" / "spec-to-package" / "briefs"


def requirements(text: str) -> list[tuple[str, str, list[str]]]:
    spec = understand(*brief_text.statements(brief_text.load(text)))
    return [(r.verb, r.noun, [d for d in r.details if ":" not in d]) for r in spec.requirements]


THINGS = (
    "# X\n## Data\n- Task: title, due date, priority (low or high), tags, project\n"
    "- Product: name, price, quantity\n- Person: name\n## Features\n"
)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Add a task with a title", ("create", "task", [])),
        ("As a user, I want to add tasks so that I forget nothing", ("create", "task", [])),
        ("Show overdue tasks", ("list", "task", ["due_date<today"])),
        ("List open tasks sorted by due date", ("list", "task", ["status=open", "@sort=due_date"])),
        ("Filter tasks by project", ("list", "task", ["project"])),
        ("Show the details of a task", ("show", "task", [])),
        ("Mark a task as done", ("status", "task", ["status=done"])),
        ("Tasks can be archived", ("status", "task", ["status=archived"])),
        ("Change the priority of a task", ("update", "task", ["priority"])),
        ("Rename a task", ("update", "task", ["title"])),
        ("Remove a task", ("delete", "task", [])),
        ("Search tasks by title or project", ("search", "task", ["title", "project"])),
        ("Count open tasks per project", ("count", "task", ["status=open", "@group=project"])),
        ("Export tasks to JSON", ("export", "task", ["@format=json"])),
        ("Recieve new stock of a product", ("increase", "product", ["quantity"])),
        ("Sell a product", ("decrease", "product", ["quantity"])),
        ("Show products that are low on stock", ("list", "product", ["quantity<5"])),
        ("Total value of the stock", ("sum", "product", ["price*quantity"])),
        ("Tag a task", ("tag", "task", ["tags"])),
        ("The price of a product must not be negative", ("rule", "product", ["@minimum=price>=0"])),
        ("Send a reminder for each task", ("send", "task", [])),
        ("Export tasks to PDF", ("export-other", "task", [])),
        ("Show tasks with high priority", ("list", "task", ["priority=high"])),
        ("List tasks, latest first", ("list", "task", ["@sort=-due_date"])),
        ("List tasks that are not archived", ("list", "task", ["status=!archived"])),
        ("Show tasks we haven't finished yet", ("list", "task", ["status=!finished"])),
        ("Tasks to delete", ("delete", "task", [])),
        ("Delete tasks older than 2 years", ("delete-other", "task", [])),
        ("Which tasks are overdue", ("list", "task", ["due_date<today"])),
        ("At the end of the day I want to count tasks", ("count", "task", [])),
        ("Export the weather as CSV", ("export-other", "weather", [])),
    ],
)
def test_a_sentence_becomes_the_operation_it_asks_for(sentence: str, expected: object) -> None:
    assert expected in requirements(THINGS + "- " + sentence)


def test_verbs_in_a_row_share_their_object() -> None:
    verbs = {
        verb
        for verb, noun, _ in requirements(THINGS + "- Add, edit and delete tasks")
        if noun == "task"
    }
    assert {"create", "update", "delete"} <= verbs


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("an optional due date", "due_date:date?"),
        ("priority (low, normal or high)", "priority:choice(low|normal|high)"),
        ("how many we have", "quantity:integer"),
        ("an ISBN (unique)", "isbn:text!"),
        ("cooking time in minutes", "cooking_time:integer"),
        ("price in euros", "price:decimal"),
        ("a list of ingredients", "ingredients:list?"),
        ("class", "class_:text"),
    ],
)
def test_a_field_gets_the_type_that_its_words_suggest(text: str, token: str) -> None:
    field = brief_fields.parse_one(text)
    assert field is not None
    assert field.token() == token


@pytest.mark.parametrize("brief", sorted(BRIEFS.iterdir()), ids=lambda p: p.stem)
def test_every_example_gives_a_whole_prompt(brief: Path) -> None:
    text = enhance(brief)
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads == [
        "Goal",
        "Users",
        "Requirements",
        "Data",
        "Assumptions",
        "Context",
        "Open questions",
        "Statements of the brief",
    ]
    numbers = [int(n) for n in re.findall(r"^R(\d+)\.", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 10
    assert text.count("    Acceptance:\n    - ") == len(numbers)
    assert enhance(brief) == text


@pytest.mark.parametrize(
    ("brief", "said"),
    [
        ("todo app", "Operation: create\n    Noun: todo"),
        ("My birds\n\nI want to add birds with a name.", "# My birds"),
        ("**Features**\n\n1. Add a bird <ul><li>Fly a kite</li></ul>", "R2. Fly a kite"),
        (
            "# B\n1 Goal\n\nWe like birds a lot.\n\n2 Later not needed\n\nWe must not pay.\n",
            "Out of scope: We must not pay.",
        ),
        ("Birds:\n- Add a bird\n```json\n[1]\n```\n", "Example (json): [1]"),
        (
            "The log is kept in a notebook. I want to add a bird.",
            "- The log is kept in a notebook.",
        ),
        ("# B\n```sql\nCREATE TABLE birds (id INTEGER, n TEXT UNIQUE);\n```\n", "n: text, unique"),
    ],
)
def test_whatever_a_brief_looks_like_it_is_read(brief: str, said: str) -> None:
    assert said in enhance(brief)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Nobody can delete a bird.", "Admins can delete birds."),
        ("Birds do not need a name.", "Each bird has a name and a ring."),
        ("The ring of a bird is unique.", "The ring of a bird may occur more than once."),
    ],
)
def test_statements_that_contradict_each_other_are_asked_about(one: str, other: str) -> None:
    base = "# Birds\n- Each bird has a ring.\n- Add a bird\n"
    questions = enhance(f"{base}- {one}\n- {other}\n").split("## Open questions")[1]
    assert f"{one}” and “{other}" in questions or f"{other}” and “{one}" in questions
    assert "contradict" not in enhance(f"{base}- {one}\n")


def test_the_messy_brief_yields_both_products_and_orders() -> None:
    text = enhance(BRIEFS / "small-shop.txt")
    assert "product (plural: products)" in text
    assert "- quantity: integer, at least 0" in text
    assert "- customer: ref(customer)" in text


@pytest.mark.parametrize("bad", [b"", b" \n\t", b"\x00\x01\x02\x03" * 100, b"--- *** 123"])
def test_a_brief_without_words_is_refused_with_a_remedy(bad: bytes) -> None:
    with pytest.raises(brief_text.UnreadableBrief) as caught:
        enhance(bad)
    assert caught.value.help


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_other_encodings_are_read(encoding: str) -> None:
    assert "café" in enhance("Add a café with a name".encode(encoding))


def test_a_brief_in_which_nothing_is_recognised_asks_questions() -> None:
    text = enhance("The weather was lovely yesterday.")
    assert "None was recognised" in text
    assert "Q1. No requirement was recognised" in text


def test_a_brief_of_one_mebibyte_is_bounded() -> None:
    text = enhance("- Add a task with a title and a note number one\n" * 21_000)
    assert "were not read" in text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400))
def test_no_text_makes_it_crash(text: str) -> None:
    try:
        assert "## Requirements" in enhance(text)
    except brief_text.UnreadableBrief:
        pass


WORDS = st.sampled_from(
    [
        "i",
        "we",
        "members",
        "a",
        "the",
        "task",
        "tasks",
        "book",
        "books",
        "add",
        "lend",
        "return",
        "with",
        "by",
        "and",
        "or",
        ",",
        ".",
        "-",
        ":",
        "(",
        ")",
        "title",
        "price",
        "due",
        "date",
        "overdue",
        "list",
        "count",
        "per",
        "export",
        "csv",
        "must",
        "not",
        "can",
        "be",
        "want",
        "to",
        "cannot",
        "at",
        "most",
        "5",
        "unique",
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=40).map(" ".join))
def test_no_order_of_known_words_makes_it_crash(text: str) -> None:
    try:
        assert "## Requirements" in enhance(text)
    except brief_text.UnreadableBrief:
        pass
