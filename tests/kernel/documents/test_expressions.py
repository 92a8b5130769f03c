"""Expressions: what they may name, and that whatever goes wrong is one typed error."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.kernel.expressions import ExpressionError, compile_expression

VALUES = {"inputs": {"x": 4, "s": "abc", "l": [1, 2]}, "steps": {"run-tests": {"score": 0.95}}}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("inputs.x > 3", True),
        ("inputs.x > 3.5", True),
        ("steps['run-tests'].score >= 1.0", False),
        ('inputs.s.startsWith("a") && size(inputs.l) == 2', True),
        ("inputs.l.all(i, i > 1)", False),
        ("has(inputs.y)", False),
        ("'y' in inputs ? inputs.y : true", True),
    ],
)
def test_an_expression_is_evaluated(text: str, result: bool) -> None:
    assert compile_expression(text).evaluate(VALUES) is result


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("inputs.x >", "not a valid expression, column 11"),
        ("", "not a valid expression"),
        ("output.x > 3", 'unknown name "output"'),
        ("system(inputs.x)", 'unknown function "system"'),
        ("(" * 40 + "true" + ")" * 40, "nested too deeply"),
        ("true || " * 1000 + "true", "too long"),
    ],
)
def test_a_bad_expression_is_refused_when_it_is_read(text: str, what: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert what in caught.value.message


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("inputs.y > 3", "y has no value here"),
        ("inputs.s > 3", "No such overload"),
        ("inputs.x", "must be true or false, not 4"),
        ("inputs.x / 0 > 1", "division by zero"),
        ("inputs.s.matches('[')", "not a valid regex"),
    ],
)
def test_a_wrong_evaluation_is_a_typed_error(text: str, what: str) -> None:
    expression = compile_expression(text)
    with pytest.raises(ExpressionError) as caught:
        expression.evaluate(VALUES)
    assert what in caught.value.message
    assert caught.value.where == text


def test_references_are_found_outside_of_strings() -> None:
    text = """steps.a.score > 1.0 && steps["b-c"].out == 'steps.d.x' && inputs.l.exists(i, i.n > 0)
        && inputs.s.size() > 1"""
    assert compile_expression(text).references == (
        ("steps", "a", "score"),
        ("steps", "b-c", "out"),
        ("inputs", "l"),
        ("inputs", "s"),
    )


@given(st.text(max_size=30) | st.text(alphabet="inputs.x'\"[]()&|<>=!+-*/%?: 123", max_size=30))
def test_any_text_is_an_expression_or_one_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        assert compile_expression(text).evaluate(VALUES) in (True, False)


def test_loops_in_loops_are_bounded() -> None:
    two = "inputs.a.all(x, inputs.a.exists(y, x == y))"
    assert compile_expression(two).evaluate({"inputs": {"a": [1, 2]}, "steps": {}}) is True
    with pytest.raises(ExpressionError, match="too long"):
        compile_expression(two).evaluate({"inputs": {"a": [1] * 10_000}, "steps": {}})
    with pytest.raises(ExpressionError, match="inside each other"):
        compile_expression("[1].all(x, [1].all(y, [1].all(z, true)))")
    side_by_side = "[1].all(x, true) && [1].all(y, true) && [')('].all(z, true)"
    assert compile_expression(side_by_side).evaluate({"inputs": {}, "steps": {}}) is True
