"""Melodies: the plan of a valid one, and every fault of a bad one at its line."""

from __future__ import annotations

import contextlib
import json
import time
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from document_samples import ECHO, IMAGE, MELODY, found, kit_of, line_of, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symphony.kernel.bindings import FromInput, FromStep, Literal
from symphony.kernel.errors import ExitCode, Problems, SymphonyError
from symphony.kernel.kit import Kit
from symphony.kernel.melody import Melody, from_document, load_melody
from symphony.kernel.valuetypes import TypeName

OTHER = ECHO.replace('"echo"', '"other"').replace("text =", "phrase =")
DRAW = """
[[steps]]
id = "draw"
capability = "image.draw/1"
inputs = { scene = "$inputs.brief" }
"""


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return kit_of(tmp_path / "home", ECHO, IMAGE, OTHER)


def faults(tmp_path: Path, kit: Kit, text: str) -> list[tuple[int, str]]:
    with pytest.raises(Problems) as caught:
        load_melody(write(tmp_path, text), kit)
    assert caught.value.code is ExitCode.BAD_REQUEST
    return found(caught.value)


def test_a_valid_melody_is_read(tmp_path: Path, kit: Kit) -> None:
    melody = load_melody(write(tmp_path, MELODY), kit)
    assert (melody.name, melody.version) == ("two-steps", "1.0.0")
    assert [step.id for step in melody.steps] == ["first", "second"]
    assert melody.step["first"].bindings == {"text": FromInput("brief")}
    assert melody.outputs == {"result": FromStep("second", "out")}
    assert melody.contract(melody.step["first"]).outputs["out"].type == "text"


def test_two_dollars_begin_a_literal_dollar(tmp_path: Path, kit: Kit) -> None:
    text = MELODY.replace('"$inputs.brief"', '"$$inputs.brief"')
    melody = load_melody(write(tmp_path, text), kit)
    assert melody.step["first"].bindings == {"text": Literal("$inputs.brief")}


def test_toml_and_json_of_one_melody_have_one_digest(tmp_path: Path, kit: Kit) -> None:
    text = MELODY.replace('id = "first"', 'id = "first"\ntimeout_s = 60')
    toml = load_melody(write(tmp_path, text), kit)
    data = tomllib.loads(text.replace("timeout_s = 60", "timeout_s = 60.0"))
    as_json = load_melody(write(tmp_path, json.dumps(data), "test.melody.json"), kit)
    assert toml.digest == as_json.digest
    other = load_melody(write(tmp_path, text.replace("60", "61")), kit)
    assert other.digest != toml.digest


def test_a_melody_is_rebuilt_from_its_journal_without_a_kit(tmp_path: Path, kit: Kit) -> None:
    text = MELODY.replace("[outputs]", DRAW + "\n[outputs]")
    melody = load_melody(write(tmp_path, text), kit)
    again = from_document(json.loads(json.dumps(melody.document)))
    assert again == melody
    assert (again.digest, again.plan()) == (melody.digest, melody.plan())


@pytest.mark.parametrize("data", [None, {}, {"format": 2, "file": {}, "contracts": {}}])
def test_a_stored_melody_that_cannot_be_read_is_refused(data: object) -> None:
    with pytest.raises(SymphonyError) as caught:
        from_document(data)
    assert caught.value.code is ExitCode.IO


def test_dependencies_have_the_kind_that_their_use_gives_them(tmp_path: Path, kit: Kit) -> None:
    text = (
        MELODY.split("[[steps]]")[0]
        + """
[[steps]]
id = "counted"
capability = "demo.count/1"
inputs = { source = "$inputs.tree" }
importance = "optional"
[[steps]]
id = "a"
capability = "demo.echo/1"
inputs = { text = "x", count = "$steps.counted.total" }
[[steps]]
id = "b"
capability = "demo.echo/1"
inputs = { text = "$steps.a.out", count = "$steps.counted.total" }
after = ["a", "c"]
condition = "steps.counted.total > 3 && has(inputs.brief)"
[[steps]]
id = "c"
capability = "demo.echo/1"
inputs = { text = "y" }
condition = "steps['a'].quality > 0.5"
"""
    ).replace("[inputs]", '[inputs]\ntree = { type = "folder" }')
    plan = load_melody(write(tmp_path, text), kit).plan()
    assert {step: dict(waits) for step, waits in plan.items()} == {
        "counted": {},
        "a": {"counted": "optional"},
        "b": {"a": "hard", "counted": "optional", "c": "soft"},
        "c": {"a": "soft"},
    }


SECOND = 'inputs = { text = "$steps.first.out" }'


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('name = "two-steps"', 'name = "Two steps"', '"melody.name" is not well formed'),
        ('version = "1.0.0"', 'version = "one"', '"melody.version" is not well formed'),
        ('type = "file"', 'type = "fle"', '"inputs.brief.type" must be one of'),
        ("brief = {", "Brief = {", 'the name "Brief"'),
        ('id = "second"', 'id = "Second"', '"steps[1].id" is not well formed'),
        ('id = "second"', 'id = "first"', 'step id "first" is used twice'),
        ('id = "second"', 'id = "second"\nimportance = "high"', "must be one of"),
        ('id = "second"', 'id = "second"\ntimeout = 3', 'unknown key "steps[1].timeout"'),
        ('id = "second"', 'id = "second"\ntimeout_s = 0', "must be more than 0"),
        ('id = "second"', 'id = "second"\nretry = { attempts = 0 }', "must be at least 1"),
        ('id = "second"', 'id = "second"\nretry = { attempts = "3" }', 'whole number, not "3"'),
        ('id = "second"', 'id = "second"\nafter = ["third"]', 'there is no step "third"'),
        ('id = "second"', 'id = "second"\nafter = "first"', "must be a list"),
        ('id = "second"', 'id = "second"\noutputs = ["owt"]', 'has no output "owt"'),
        ('id = "second"', 'id = "second"\nplayer = "ecko"', 'no extension "ecko"'),
        ('id = "second"', 'id = "second"\nplayer = "draw"', "does not provide"),
        ('id = "second"', 'id = "second"\nfallbacks = ["ecko"]', 'no extension "ecko"'),
        ('id = "second"', 'id = "second"\nfallbacks = ["draw"]', "does not provide"),
        ('id = "second"', 'id = "second"\ncondition = "inputs.x >"', "not a valid expression"),
        ('id = "second"', 'id = "second"\ncondition = "outputs.x"', 'unknown name "outputs"'),
        ('id = "second"', 'id = "second"\ncondition = "inputs.x > 1"', 'no input "x"'),
        ('id = "second"', 'id = "second"\ncondition = "steps.z.out > 1"', 'no step "z"'),
        ('id = "second"', 'id = "second"\ncondition = "steps.first.x > 1"', 'no output "x"'),
        ('id = "second"', 'id = "second"\ngate = {}', "checks nothing"),
        ('id = "second"', 'id = "second"\ngate = { min_quality = 2 }', "must be at most 1"),
        ('id = "second"', 'id = "second"\ngate = { expression = "outputs.x > 1" }', 'output "x"'),
        ('id = "second"', 'id = "second"\ngate = { expression = "steps.x" }', 'name "steps"'),
        (SECOND, 'inputs = { text = "$steps.second.out" }', "second → second"),
        (SECOND, 'inputs = { text = "$steps.frist.out" }', 'there is no step "frist"'),
        (SECOND, 'inputs = { text = "$steps.first.owt" }', 'has no output "owt"'),
        (SECOND, 'inputs = { text = "$inputs.breef" }', 'no input "breef"'),
        (SECOND, 'inputs = { text = "$breef" }', "is not a reference"),
        (SECOND, 'inputs = { text = "$steps.first" }', "is not a reference"),
        (SECOND, "inputs = { text = 3 }", '"text" must be text, not 3'),
        (SECOND, "inputs = { txet = 3, text = 'x' }", 'has no input "txet"'),
        (SECOND, "inputs = {}", 'the step "second" lacks the input "text"'),
        (
            SECOND,
            'inputs = { text = "x", count = "$inputs.brief" }',
            "a file is not a whole number",
        ),
        ('"$steps.second.out"', '"second.out"', 'the output "result" is not a reference'),
        ('"$steps.second.out"', '"$steps.third.out"', 'there is no step "third"'),
        ('"$steps.second.out"', '"$steps.second.owt"', 'has no output "owt"'),
    ],
)
def test_each_fault_is_named_with_its_line(
    tmp_path: Path, kit: Kit, old: str, new: str, what: str
) -> None:
    text = MELODY.replace(old, new)
    assert text != MELODY
    line = line_of(text, new.splitlines()[-1])
    if "→" in what:
        line = line_of(text, 'id = "second"')
    if "used twice" in what:
        line = text.splitlines().index('id = "first"', line) + 1
    problems = faults(tmp_path, kit, text)
    assert [(number, True) for number, message in problems if what in message] == [(line, True)], (
        problems
    )


@pytest.mark.parametrize(
    ("capability", "remedy"),
    [
        ("demo.eco/1", 'did you mean "demo.echo/1"?'),
        ("demo.echo/2", 'did you mean "demo.echo/1"?'),
        ("zzz/1", "known capabilities: demo.count/1, demo.echo/1, image.draw/1"),
    ],
)
def test_an_unknown_capability_gets_a_suggestion(
    tmp_path: Path, kit: Kit, capability: str, remedy: str
) -> None:
    text = MELODY.replace("demo.echo/1", capability, 1)
    with pytest.raises(Problems) as caught:
        load_melody(write(tmp_path, text), kit)
    (problem,) = caught.value.problems
    assert problem.message == f'no installed extension provides "{capability}"'
    assert problem.help == remedy


def test_a_broken_extension_is_named_where_its_capability_is_missed(tmp_path: Path) -> None:
    kit = kit_of(tmp_path / "home", ECHO.replace("1.2.0", "one"))
    problems = faults(tmp_path, kit, MELODY)
    assert len(problems) == 2
    with pytest.raises(Problems) as caught:
        load_melody(write(tmp_path, MELODY), kit)
    assert "symphony-ext check" in (caught.value.problems[0].help or "")


def test_a_missing_step_key_does_not_hide_other_faults(tmp_path: Path, kit: Kit) -> None:
    text = MELODY.replace('id = "first"\n', "").replace('"$steps.second.out"', '"second"')
    messages = [message for _, message in faults(tmp_path, kit, text)]
    assert messages == ['"steps[0].id" is missing', 'the output "result" is not a reference']


def test_every_cycle_is_named_once(tmp_path: Path, kit: Kit) -> None:
    waits = {"a": "c", "b": "a", "c": "b", "d": "e", "e": "d", "f": "a"}
    text = MELODY.split("[[steps]]")[0] + "".join(
        f'\n[[steps]]\nid = "{step}"\ncapability = "demo.echo/1"\n'
        f'inputs = {{ text = "x" }}\nafter = ["{on}"]\n'
        for step, on in waits.items()
    )
    assert faults(tmp_path, kit, text) == [
        (line_of(text, 'id = "a"'), "the steps wait for each other in a circle: a → c → b → a"),
        (line_of(text, 'id = "d"'), "the steps wait for each other in a circle: d → e → d"),
    ]


def test_media_types_must_agree(tmp_path: Path, kit: Kit) -> None:
    text = MELODY.replace("text/markdown", "text/html").replace("[outputs]", DRAW + "\n[outputs]")
    text += 'picture = "$steps.draw.image"\n'
    assert faults(tmp_path, kit, text) == [
        (
            line_of(text, "scene ="),
            '"$inputs.brief" does not fit the input "scene": text/html is not text/markdown',
        )
    ]


def test_what_may_be_absent_cannot_feed_what_must_be_there(tmp_path: Path, kit: Kit) -> None:
    text = MELODY.replace('media = "text/markdown"', "optional = true")
    with pytest.raises(Problems) as caught:
        load_melody(write(tmp_path, text), kit)
    (problem,) = caught.value.problems
    assert problem.message.endswith('does not fit the input "text": it may be absent')
    assert problem.help == "give it a default, or remove its optional"
    given = text.replace("optional = true", 'optional = true, default = "none"')
    assert isinstance(load_melody(write(tmp_path, given), kit), Melody)


def test_a_fallback_with_other_inputs_is_refused(tmp_path: Path, kit: Kit) -> None:
    text = MELODY.replace('id = "second"', 'id = "second"\nfallbacks = ["other"]')
    messages = [message for _, message in faults(tmp_path, kit, text)]
    assert messages == [
        'for the fallback "other": "demo.echo/1" has no input "text"',
        'for the fallback "other": the step "second" lacks the input "phrase"',
    ]


def test_all_faults_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path, kit: Kit) -> None:
    text = (
        MELODY.replace("two-steps", "Two")
        .replace('capability = "demo.echo/1"', 'capability = "demo.eco/1"', 1)
        .replace('id = "second"', 'id = "second"\ntimeout_s = -1\nafter = ["second"]')
        .replace("$steps.first.out", "$steps.gone.out")
        .replace("$steps.second.out", "$steps.second.owt")
    )
    marks = ('"Two"', "demo.eco", 'id = "second"', "timeout_s", "gone", "owt")
    lines = [line for line, _ in faults(tmp_path, kit, text)]
    assert lines == [line_of(text, mark) for mark in marks]


def test_a_key_given_twice_and_odd_values_hide_no_other_fault(tmp_path: Path, kit: Kit) -> None:
    text = """\
{"melody": {"name": "twice", "version": "one"},
 "inputs": {"brief": {"type": "file"},
            "brief": {"type": "fle"}},
 "steps": [
   {"id": "a", "capability": "demo.eco/1",
    "timeout_s": 1e999,
    "capability": "demo.eco/1",
    "inputs": {"text": "$inputs.gone"}}],
 "outputs": {"result": "$steps.b.out"}}
"""
    with pytest.raises(Problems) as caught:
        load_melody(write(tmp_path, text, "twice.melody.json"), kit)
    assert found(caught.value) == [
        (1, '"melody.version" is not well formed: "one"'),
        (3, 'the key "brief" is given twice'),
        (
            3,
            '"inputs.brief.type" must be one of '
            + ", ".join(f'"{name}"' for name in sorted(get_args(TypeName)))
            + ', not "fle"',
        ),
        (6, "the number is not finite"),
        (7, 'the key "capability" is given twice'),
        (7, 'no installed extension provides "demo.eco/1"'),
        (8, 'the Melody has no input "gone"'),
        (9, 'there is no step "b"'),
    ]


@pytest.mark.parametrize(
    ("players", "messages"),
    [
        ('player = "echo"\nfallbacks = ["echo"]', ['"echo" is the player already']),
        ('fallbacks = ["same", "same"]', ['"same" is named twice']),
        (
            'player = "same"\nfallbacks = ["echo", "same", "echo"]',
            ['"same" is the player already', '"echo" is named twice'],
        ),
    ],
)
def test_a_fallback_that_would_only_repeat_is_refused(
    tmp_path: Path, players: str, messages: list[str]
) -> None:
    kit = kit_of(tmp_path / "home", ECHO, ECHO.replace('"echo"', '"same"'))
    text = MELODY.replace('id = "second"', f'id = "second"\n{players}')
    line = line_of(text, "fallbacks")
    assert faults(tmp_path, kit, text) == [(line, f"the fallback {what}") for what in messages]


def test_a_melody_without_steps_or_with_too_many_is_refused(tmp_path: Path, kit: Kit) -> None:
    head = MELODY.split("[[steps]]")[0]
    assert faults(tmp_path, kit, head) == [(1, '"steps" is missing')]
    many = json.dumps({"melody": {}, "steps": [0] * 20_001})
    with pytest.raises(Problems) as caught:
        load_melody(write(tmp_path, many, "many.json"), kit)
    assert "at most 20000 steps, this one 20001" in caught.value.message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    line=st.integers(0, MELODY.count("\n")),
    junk=st.sampled_from([*MELODY.splitlines(), 'inputs = "x"', "steps = 3", "[steps.gate]"])
    | st.text(max_size=30),
)
def test_a_damaged_melody_is_read_or_refused(
    tmp_path: Path, kit: Kit, line: int, junk: str
) -> None:
    lines = MELODY.splitlines()
    lines[line : line + 1] = [junk]
    path = tmp_path / "damaged.melody.toml"
    path.write_bytes("\n".join(lines).encode())
    with contextlib.suppress(Problems):
        assert load_melody(path, kit).plan()


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from(["$inputs.a", "a", "demo.echo/1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["melody", "steps", "inputs", "outputs", "id", "capability", "gate", "type"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.dictionaries(st.sampled_from(["melody", "steps", "inputs", "outputs"]), json_like))
def test_any_json_is_read_or_refused(tmp_path: Path, kit: Kit, data: dict[str, object]) -> None:
    with pytest.raises(Problems):  # never valid: no name fits both patterns
        load_melody(write(tmp_path, json.dumps(data), "any.melody.json"), kit)


def test_a_melody_of_ten_thousand_steps_is_read(tmp_path: Path, kit: Kit) -> None:
    """Prints how long it takes; the time is a budget of the benchmarks, not of this test."""
    steps = "".join(
        f'[[steps]]\nid = "s{n}"\ncapability = "demo.echo/1"\n'
        f'inputs = {{ text = "{"$inputs.brief" if n == 0 else f"$steps.s{n - 1}.out"}" }}\n'
        for n in range(10_000)
    )
    path = write(tmp_path, MELODY.split("[[steps]]")[0] + steps)
    begun = time.perf_counter()
    melody = load_melody(path, kit)
    loaded = time.perf_counter()
    plan = melody.plan()
    print(f"load {loaded - begun:.3f} s, plan {time.perf_counter() - loaded:.3f} s")
    assert plan["s9999"] == [("s9998", "hard")]
