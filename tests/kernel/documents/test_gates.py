"""Gates: wrong types are refused with the field named, then the rule decides."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.kernel.gates import check_outputs, judge, name_outputs, quality_of
from symphony.kernel.melody import GateRule
from symphony.kernel.valuetypes import ValueType

DECLARED = {
    "out": ValueType("text"),
    "image": ValueType("file", media="image/png"),
    "note": ValueType("text", optional=True),
}
GOOD: dict[str, Any] = {"out": "x", "image": {"$file": "i.png"}}


@pytest.mark.parametrize(
    ("outputs", "places"),
    [
        (GOOD, []),
        ({**GOOD, "note": None}, []),
        ({**GOOD, "note": 3}, ["outputs.note"]),
        ({**GOOD, "out": 3}, ["outputs.out"]),
        ({**GOOD, "image": "i.png"}, ["outputs.image"]),
        ({"out": None}, ["outputs.image", "outputs.out"]),
        ({**GOOD, "oot": "x"}, ["outputs.oot"]),
        ([1], ["outputs"]),
        (None, ["outputs"]),
    ],
)
def test_wrong_outputs_are_refused_with_the_field(outputs: object, places: list[str]) -> None:
    assert [problem.where for problem in check_outputs(DECLARED, outputs)] == places


def test_the_only_output_needs_no_name() -> None:
    one = {"out": ValueType("text")}
    assert name_outputs(one, "x") == {"out": "x"}
    assert name_outputs(one, {"out": "x"}) == {"out": "x"}
    assert name_outputs(one, {"$file": "x"}) == {"out": {"$file": "x"}}
    assert name_outputs(DECLARED, GOOD) == GOOD
    assert name_outputs({}, None) == {}


def rule(**fields: Any) -> GateRule:
    return msgspec.convert(fields, GateRule)


@pytest.mark.parametrize(
    ("gate", "outputs", "passed", "which", "reason"),
    [
        (None, {"score": 0.1}, True, "type", "declared types"),
        (None, {}, False, "type", '"score" is missing'),
        (rule(expression="outputs.score >= 0.9"), {"score": 0.95}, True, "expression", "holds"),
        (rule(expression="outputs.score >= 0.9"), {"score": 0.5}, False, "expression", "fulfilled"),
        (rule(expression="inputs.n == 3"), {"score": 0.5}, True, "expression", "holds"),
        (rule(min_quality=0.8), {"score": 0.8}, True, "min_quality", "reaches 0.8"),
        (rule(min_quality=0.8), {"score": 0.79}, False, "min_quality", "below 0.8"),
        (rule(min_quality=0.8), {"score": 80}, False, "min_quality", "no quality"),
        (rule(min_quality=0.8, expression="false"), {"score": 1}, False, "expression", "fulfilled"),
    ],
)
def test_the_rule_decides(
    gate: GateRule | None, outputs: dict[str, object], passed: bool, which: str, reason: str
) -> None:
    verdict = judge({"score": ValueType("number")}, outputs, rule=gate, inputs={"n": 3})
    assert (verdict.passed, verdict.gate) == (passed, which)
    assert reason in verdict.reason
    assert bool(verdict.problems) == (not passed)


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("1 / (outputs.count - outputs.count) > 0", "division by zero"),
        ("1 % (outputs.count - outputs.count) == 0", "zero"),
        ("outputs.gone > 1", "gone has no value here"),
        ("outputs.count", "must be true or false"),
        ("outputs.note > 3", "No such overload"),
        ("outputs.count + 9223372036854775807 > 0", "verflow"),
        ("outputs.count >", "not a valid expression"),
    ],
)
def test_a_gate_that_cannot_be_decided_is_the_fault_of_the_melody(
    expression: str, what: str
) -> None:
    declared = {"count": ValueType("integer"), "note": ValueType("text", optional=True)}
    outputs = {"count": 2, "note": "x"}
    verdict = judge(declared, outputs, rule=rule(expression=expression), step="test")
    assert (verdict.passed, verdict.gate, verdict.fault) == (False, "expression", "caller")
    assert what in verdict.reason
    assert expression in verdict.reason
    (problem,) = verdict.problems
    assert problem.message.startswith('the gate of "test" cannot be decided: ')
    assert problem.where == "steps.test.gate.expression"
    assert problem.help


def test_a_result_that_is_not_good_enough_is_the_fault_of_the_player() -> None:
    verdict = judge(DECLARED, GOOD, rule=rule(expression="outputs.out == 'y'"), step="test")
    assert (verdict.passed, verdict.fault) == (False, "provider")


def test_a_melody_can_require_an_optional_output() -> None:
    verdict = judge(DECLARED, GOOD, required=["note"])
    assert [problem.where for problem in verdict.problems] == ["outputs.note"]


def test_quality_prefers_its_own_name() -> None:
    assert quality_of({"quality": 1, "score": 0.5}) == 1.0
    assert quality_of({"score": True}) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=4) | st.binary(max_size=2),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["out", "image", "$file", "$artifact", "x"]), inner)
        ),
        max_leaves=8,
    )
)
def test_any_result_is_judged(result: object) -> None:
    for problem in check_outputs(DECLARED, result):
        assert (problem.where or "").startswith("outputs")
