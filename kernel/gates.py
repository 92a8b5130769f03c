"""The gate of a step: are the outputs what was declared, and good enough? Pure.

`check_outputs` looks at a result as it comes from the player and lists everything that has not the
declared type, each with its field. `judge` then looks at the outputs as expressions see them: are
all there, does the step's expression hold, is the quality high enough; the first that fails names
the reason. An expression that cannot be decided is the Melody's fault and not the player's: the
same outputs would meet it again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .errors import Problem
from .expressions import ExpressionError, compile_expression
from .melody import GateRule
from .structure import shown
from .syntax import hint
from .valuetypes import ValueType

QUALITY_OUTPUTS = ("quality", "score")  # an output of this name tells the quality, first wins


@dataclass(frozen=True)
class GateResult:
    """The verdict. `score` is the quality from 0 to 1, where there is one.

    `fault` says of a refusal who must change something: the player (`provider`), whose result is
    not good enough, or the Melody (`caller`), whose expression cannot be decided.
    """

    passed: bool
    gate: Literal["type", "expression", "min_quality"]
    score: float | None
    reason: str
    problems: tuple[Problem, ...] = ()
    fault: Literal["caller", "provider"] = "provider"


def name_outputs(declared: Mapping[str, ValueType], result: object) -> object:
    """A player's result as outputs by name: the bare value of the only output gets its name."""
    if len(declared) != 1:
        return {} if result is None and not declared else result
    (name,) = declared
    if isinstance(result, Mapping) and set(result) == {name}:
        return result
    return {name: result}


def check_outputs(declared: Mapping[str, ValueType], outputs: object) -> list[Problem]:
    """Why `outputs`, by name as the bus carries them, are not what was declared.

    `where` of each problem is `outputs.FIELD`. An optional output may be absent or null.
    """
    if not isinstance(outputs, Mapping):
        message = f"the result must be a table of outputs, not {shown(outputs)}"
        return [Problem(message, "outputs", f"return {', '.join(declared) or 'nothing'}")]
    problems = _missing(declared, outputs, ())
    for name, value in outputs.items():
        if name not in declared:
            message = f'the output "{name}" is not declared'
            remedy = hint(str(name), declared, "outputs")
            problems.append(Problem(message, f"outputs.{name}", remedy))
        elif value is not None or not declared[name].optional:
            problems += declared[name].check(value, f"outputs.{name}")
    return problems


def _missing(
    declared: Mapping[str, ValueType], outputs: Mapping[str, object], required: Collection[str]
) -> list[Problem]:
    return [
        Problem(f'the output "{name}" is missing', f"outputs.{name}", "return it")
        for name, kind in declared.items()
        if name not in outputs and (kind.required or name in required)
    ]


def quality_of(outputs: Mapping[str, object]) -> float | None:
    """The quality that a player reports by an output `quality` or `score`, if it is 0 to 1."""
    for name in QUALITY_OUTPUTS:
        value = outputs.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value) if math.isfinite(value) and 0 <= value <= 1 else None
    return None


def judge(
    declared: Mapping[str, ValueType],
    outputs: Mapping[str, object],
    *,
    rule: GateRule | None = None,
    required: Collection[str] = (),
    inputs: Mapping[str, Any] | None = None,
    quality: float | None = None,
    step: str = "",
) -> GateResult:
    """Judges outputs whose types are right, as variables of expressions.

    `required` names outputs that must be there although they are declared optional; `inputs` are
    the run's; `quality` overrides what the outputs report; `step` is named where the gate itself
    is at fault.
    """
    problems = _missing(declared, outputs, required)
    if problems:
        return GateResult(False, "type", None, problems[0].message, tuple(problems))
    score = quality if quality is not None else quality_of(outputs)
    if rule is None:
        return GateResult(True, "type", score, "the outputs have the declared types")
    if rule.expression is not None:
        try:
            compiled = compile_expression(rule.expression, ("inputs", "outputs"))
            holds = compiled.evaluate({"inputs": inputs or {}, "outputs": outputs})
        except ExpressionError as error:
            return _undecided(step, rule.expression, error, score)
        if not holds:
            problem = Problem(f"not fulfilled: {rule.expression}", "gate.expression")
            return GateResult(False, "expression", score, problem.message, (problem,))
    if rule.min_quality is None:
        return GateResult(True, "expression", score, f"{rule.expression} holds")
    if score is None:
        problem = Problem("no quality was reported", "quality", "return an output named quality")
        return GateResult(False, "min_quality", None, problem.message, (problem,))
    passed = score >= rule.min_quality
    verb = "reaches" if passed else "is below"
    reason = f"quality {score:g} {verb} {rule.min_quality:g}"
    problems = [] if passed else [Problem(reason, "quality")]
    return GateResult(passed, "min_quality", score, reason, tuple(problems))


def _undecided(
    step: str, expression: str, error: ExpressionError, score: float | None
) -> GateResult:
    whose = f'the gate of "{step}"' if step else "the gate"
    problem = Problem(
        f"{whose} cannot be decided: {error.message}: {expression}",
        f"steps.{step}.gate.expression" if step else "gate.expression",
        error.help or "correct the expression in the Melody, e.g. guard it with has() or && first",
    )
    return GateResult(False, "expression", score, problem.message, (problem,), fault="caller")
