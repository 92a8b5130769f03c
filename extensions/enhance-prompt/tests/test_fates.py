"""No statement of a brief is dropped: each has a fate, and what asks for something is built or
named as a gap."""

# ruff: noqa: E501 - long lines read better unbroken

import re

import brief_text
import pytest
from brief_enhance import enhance
from brief_fate import is_gap
from brief_model import Specification, Statement
from brief_understand import understand
from hypothesis import given, settings
from hypothesis import strategies as st

PLANTS = """I'd like a thing to track my plants. Plants have a name, a location, and how often they
need watering in days. When I water a plant I note it. Show me which plants need water today. Also
delete plants that died :(  Plus a photo diary? And please "export everything" to JSON.
"""


def specification(text: str) -> Specification:
    return understand(*brief_text.statements(brief_text.load(text)))


def asked_for(text: str) -> dict[str, list[tuple[str, bool]]]:
    """Verb of each requirement, and whether it is a gap, for each statement."""
    return {
        s.text: [(made.verb, is_gap(made)) for made in fate.requirements]
        for s, fate in specification(text).fates.items()
    }


def test_an_emoticon_ends_a_sentence_and_a_question_mark_swallows_no_wish() -> None:
    fates = asked_for(PLANTS)
    assert fates["Also delete plants that died."] == [("delete", False)]
    assert fates["Plus a photo diary?"] == [("provide", True)]
    assert fates["When I water a plant I note it."] == [("water", True)]
    assert fates["show which plants need water today."] == [("show-other", True)]
    assert fates['And please "export everything" to JSON.'] == [("export", False)]
    assert "Plus a photo diary?" in specification(PLANTS).questions


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Add a plant :) Delete it ;-)", ["Add a plant.", "Delete it."]),
        ("Add a plant 🌱 Delete it!", ["Add a plant.", "Delete it!"]),
        ("Add it :D and more", ["Add it and more"]),
        ("Add it… Delete it (soon.) Show it", ["Add it…", "Delete it (soon.)", "Show it"]),
        (
            "Plants like fern and moss - filter by it",
            ["Plants like fern and moss.", "filter by it"],
        ),
        ("Features: add plants. Delete plants.", ["add plants.", "Delete plants."]),
        (
            "A plant can be moved, but must not be sold.",
            ["A plant can be moved.", "A plant must not be sold."],
        ),
    ],
)
def test_each_wish_is_a_sentence_of_its_own(text: str, sentences: list[str]) -> None:
    assert [s.text for s in brief_text.statements(text)[1]] == sentences


@pytest.mark.parametrize(
    ("question", "built"),
    [
        ("Plus a photo diary?", True),
        ("Is there a way to print labels?", True),
        ("How about a dark mode?", True),
        ("Could you add a calendar?", True),
        ("Who may delete a plant?", False),
        ("And what happens when a plant dies?", False),
        ("Should the members pay?", False),
    ],
)
def test_a_wish_that_ends_as_a_question_is_a_requirement_too(question: str, built: bool) -> None:
    text = f"Each plant has a name. {question}"
    assert bool(asked_for(text)[question]) == built
    assert question in specification(text).questions


def details(text: str, noun: str) -> set[str]:
    return {f.token() for f in specification(text).entities[noun].fields}


def test_a_field_that_is_not_understood_is_kept_as_text_and_asked_about() -> None:
    assert "watering_interval:integer" in details(PLANTS, "plant")
    text = "A plant has a name, the old secret family washing method, and we sell it on Fridays."
    assert "family_washing_method:text?" in details(text, "plant")
    questions = " ".join(specification(text).questions)
    assert "“the old secret family washing method” of a plant" in questions
    assert "“we sell it on Fridays”" in questions


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (
            "A visit can be cancelled or moved to another day.",
            [("status", False), ("update", False)],
        ),
        ("A visit can be paid or moved to another day.", [("status", False), ("update", False)]),
        (
            "A visit can be paid, scanned or deleted.",
            [("status", False), ("scan", True), ("delete", False)],
        ),
        ("A visit can be photographed or deleted.", [("photographed", True), ("delete", False)]),
        (
            "A visit can be fed, repotted or sung to.",
            [("fed", True), ("repotted", True), ("sung", True)],
        ),
        ("A visit can be paid or on hold.", [("status", False), ("on", True)]),
        ("A visit can be moved to another shelf.", [("move", True)]),
    ],
)
def test_each_part_of_a_passive_is_built_or_named_as_a_gap(
    sentence: str, expected: list[tuple[str, bool]]
) -> None:
    assert asked_for(f"A visit has a name and a date. {sentence}")[sentence] == expected


@pytest.mark.parametrize(
    ("words", "token"),
    [
        ("Show today's visits", "@period=day:0"),
        ("See visits of this week", "@period=week:0"),
        ("List the visits of last month", "@period=month:-1"),
        ("List visits of the last 7 days", "@period=days:-7"),
        ("List upcoming visits", "@period=days:36500"),
    ],
)
def test_the_period_that_is_asked_for_stays(words: str, token: str) -> None:
    spec = specification(f"A visit has a name and a date.\n\n- {words}\n")
    [made] = [r for r in spec.requirements if r.verb == "list" and r.line]
    assert made.details == ["@range=date", token]
    assert "without naming a period" in " ".join(made.acceptance)


def test_a_figure_of_one_period_is_no_figure_of_all() -> None:
    text = "A visit has a name and a date.\n\n- Count the visits of this week\n"
    assert asked_for(text)["Count the visits of this week"] == [("count-other", True)]


def test_what_is_measured_is_a_number() -> None:
    text = "An animal has a name. Record the weight of an animal at each visit."
    assert "weight:decimal" in details(text, "weight")
    assert "animal:ref(animal)" in details(text, "weight")


def test_no_cell_of_a_table_is_lost() -> None:
    text = "| No | Feature | Description | Effort |\n|-|-|-|-|\n| 1 | Fold kites | in red paper | two days |\n"
    assert "“Fold kites (in red paper; two days)” → R1" in enhance(text)


def test_a_wish_among_users_and_data_is_no_context() -> None:
    text = (
        "# X\n## Users\n- Clerk: reads\n- Clerk: can delete plants\n"
        "## Data\n- Plant: name, place\n- The name of a plant must not be empty\n"
        "## Features\n- Delete plants\n  - Ask first\n"
    )
    fates = asked_for(text)
    assert fates["Clerk: reads"] == []
    assert fates["Clerk: can delete plants"]
    assert fates["The name of a plant must not be empty"] == [("rule", False)]
    assert fates["Delete plants"] == [("delete", False)]


WISHES = ("add {}", "delete {}", "fold {}", "show {}", "water {} daily", "export {} to PDF")
NOUNS = ("plants", "a plant", "kites", "the list of birds", "photos")
WISH = st.builds(
    lambda how, what, noun, end: (how + what.format(noun)).capitalize() + end,
    st.sampled_from(
        ("I want to ", "We need to ", "Please ", "It should be possible to ", "Also ", "")
    ),
    st.sampled_from(WISHES),
    st.sampled_from(NOUNS),
    st.sampled_from((".", "!", "?", " :(", " 🌱", " ;-)", ". :)")),
)
ASIDE = st.sampled_from(
    (
        "A plant has a name and a place.",
        "Our garden is old.",
        "Who waters it?",
        "Kites fly.",
        "Each bird has a ring, and we like how it sings in the morning.",
    )
)
BRIEF = st.lists(
    st.one_of(st.tuples(st.just(True), WISH), st.tuples(st.just(False), ASIDE)),
    min_size=1,
    max_size=12,
)


def letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalpha())


@settings(max_examples=150, deadline=None)
@given(BRIEF, st.sampled_from((" ", "\n\n", "\n- ")))
def test_every_wish_is_a_requirement_and_everything_else_is_told(
    parts: list[tuple[bool, str]], between: str
) -> None:
    text = between.lstrip(" ") + between.join(said for _, said in parts)
    spec = specification(text)
    fates = {letters(s.text): fate for s, fate in spec.fates.items()}
    for wished, said in parts:
        own = letters(re.sub(r":D|;-\)|:\(|:\)", "", said))
        fate = next((f for key, f in fates.items() if own in key or key in own), None)
        assert fate is not None, (said, fates)
        assert not wished or fate.requirements, said
    assert_all_told(text)


def assert_all_told(text: str) -> None:
    """Each statement stands in the prompt with its fate, and each fate names what there is."""
    title, found, left_out = brief_text.statements(brief_text.load(text))
    spec = understand(title, found, left_out)
    assert set(found) <= set(spec.fates)
    for fate in spec.fates.values():
        assert fate.requirements or fate.reasons
    prompt = enhance(text)
    told = [
        line for line in prompt.split("## Statements of the brief")[1].splitlines() if line.strip()
    ]
    assert len(told) == len(spec.fates) + bool(left_out)
    known = set(re.findall(r"^(R\d+)\.", prompt, re.MULTILINE))
    for line in told:
        fate_told = line.rpartition("→")[2]
        assert fate_told.strip(), line
        assert set(re.findall(r"\bR\d+\b", fate_told)) <= known


TEXT = st.one_of(st.text(max_size=300), st.lists(st.sampled_from(
    ["I", "want", "to", "add", "delete", "plants", "a", "plant", "has", "name", "and", "or", "but", "can", "be", "paid", "not", "must", "today", "this week", "weight", "of", "?", ":(", ".", "\n- ", "\n## Data\n", "\n## Users\n", "\n  - ", "Features: ", "|", "when", "given", "then", "how often", "in days", "12", "-"]
), min_size=1, max_size=40).map(" ".join))  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(TEXT)
def test_every_statement_of_any_text_has_a_fate(text: str) -> None:
    if any(c.isalpha() for c in text):
        assert_all_told(text)


def test_what_a_long_brief_leaves_out_is_told() -> None:
    prompt = enhance("".join(f"- Fold the kite number {n} in a new way\n" for n in range(600)))
    told = prompt.split("## Statements of the brief")[1]
    assert "after line 400: 200 further statements were not read" in told
    assert told.count("left out: the brief asks for more than is kept") == 400 - 120


def test_a_statement_that_no_reader_takes_becomes_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The safety net: whatever a new way of reading forgets is a gap."""
    monkeypatch.setattr("brief_understand.take", lambda spec, s, actors: None)
    spec = understand("X", [Statement("Sing a song", "prose", False, 1)], 0)
    assert [r.text for r in spec.requirements] == ["Sing a song"]
