"""Conditions and gate expressions in CEL (the Common Expression Language, cel.dev).

CEL has no side effects and no unbounded loops. The library is imported with the first expression:
it takes 150 ms, and many Melodies have none. Names are checked as far as the library and the
text tell: which variables and functions an expression uses, and which members it names.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .errors import ExitCode, SymphonyError
from .syntax import hint

if TYPE_CHECKING:
    from cel import Program

MAX_LENGTH: Final = 4096
MAX_NESTING: Final = 32
MAX_LOOPS: Final = 2  # one in another; each turn takes some microseconds and nothing can stop it
MAX_TURNS: Final = 5_000_000
FUNCTIONS: Final = (  # those of the CEL specification that the library has
    *("size", "contains", "startsWith", "endsWith", "matches", "has", "type", "dyn"),
    *("int", "uint", "double", "string", "bytes", "timestamp", "duration"),
    *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"),
    *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
)

_STRING = r'"(?:\\.|[^"\\\n])*"|' + r"'(?:\\.|[^'\\\n])*'"
_TOKENS = re.compile(
    rf"(?P<string>{_STRING})"
    rf"|(?<![\w.])(?P<root>[A-Za-z_]\w*)(?P<members>(?:\s*\.\s*[A-Za-z_]\w*\b(?!\s*\()"
    rf"|\s*\[\s*(?:{_STRING})\s*\])*)"
)
_MEMBER = re.compile(rf"\.\s*([A-Za-z_]\w*)|\[\s*({_STRING})\s*\]")
_BINDER = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_BRACKETS = re.compile(r"(?P<macro>\.\s*(?:all|exists|exists_one|filter|map)\s*)?\(|\)")
_PLACE = re.compile(r"<input>:(\d+):(\d+): (.*)")


class ExpressionError(SymphonyError):
    """An expression that cannot be read, or cannot be evaluated with the values it got."""

    def __init__(self, message: str, text: str, help: str | None = None) -> None:  # noqa: A002
        super().__init__(ExitCode.BAD_REQUEST, message, where=text, help=help)


@dataclass(frozen=True)
class Expression:
    """A valid expression.

    `references` are the members it names, e.g. `("steps", "test", "score")`, as far as they are
    written out; a computed index ends a reference.
    """

    text: str
    references: tuple[tuple[str, ...], ...]
    _program: Program
    _loops: int

    def evaluate(self, variables: Mapping[str, object]) -> bool:
        """True or false for these variables. Raises `ExpressionError` for any other outcome."""
        if self._loops > 1 and _longest(variables) ** self._loops > MAX_TURNS:
            message = "a loop in a loop over lists of this length would take too long"
            raise ExpressionError(message, self.text, "let a player work it out")
        try:
            value: Any = self._program.execute(dict(variables))
        except KeyError as error:
            raise ExpressionError(f"{error.args[0]} has no value here", self.text) from error
        except Exception as error:  # the library raises several builtin types
            raise ExpressionError(_first_sentence(error), self.text) from error
        if not isinstance(value, bool):
            message = f"the result must be true or false, not {value!r:.60}"
            raise ExpressionError(message, self.text, "compare it, e.g. x > 3")
        return value


@functools.lru_cache(maxsize=1024)  # a Melody often repeats one expression in many steps
def compile_expression(text: str, variables: tuple[str, ...] = ("inputs", "steps")) -> Expression:
    """Reads an expression over the given variables. Raises `ExpressionError`."""
    import cel

    if len(text) > MAX_LENGTH or _nesting(text) > MAX_NESTING:
        raise ExpressionError("the expression is too long or nested too deeply", f"{text[:60]}…")
    if (loops := _loops(text)) > MAX_LOOPS:
        message = f"more than {MAX_LOOPS} of all, exists, filter, map inside each other"
        raise ExpressionError(message, f"{text[:60]}…", "let a player work it out")
    try:
        program = cel.compile(text)
    except Exception as error:  # a ValueError by its documentation
        raise ExpressionError(_syntax(error), text, "see https://cel.dev") from error
    bound = set(_BINDER.findall(text))
    known = variables
    for name in program.variables():
        if name not in known and name not in bound:
            remedy = f"it may use {' and '.join(known)}"
            raise ExpressionError(f'unknown name "{name}" in the expression', text, remedy)
    for name in program.functions():
        if name.isidentifier() and name not in FUNCTIONS:
            remedy = hint(name, FUNCTIONS, "functions")
            raise ExpressionError(f'unknown function "{name}" in the expression', text, remedy)
    return Expression(text, _references(text, known), program, loops)


def _references(text: str, roots: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    found: dict[tuple[str, ...], None] = {}
    for token in _TOKENS.finditer(text):
        if token["root"] in roots:
            members = (
                name or quoted[1:-1] for name, quoted in _MEMBER.findall(token["members"] or "")
            )
            found[(token["root"], *members)] = None
    return tuple(found)


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _loops(text: str) -> int:
    """How many macros that go through a list stand inside each other at most."""
    opened: list[bool] = []
    deepest = 0
    for token in _BRACKETS.finditer(re.sub(_STRING, '""', text)):
        if token[0] == ")":
            if opened:
                opened.pop()
        else:
            opened.append(token["macro"] is not None)
            deepest = max(deepest, sum(opened))
    return deepest


def _longest(value: object) -> int:
    """The length of the longest list or table in a value; at least what a literal can have."""
    longest = MAX_LENGTH // 2
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, Mapping):
            longest = max(longest, len(found))
            waiting.extend(found.values())
        elif isinstance(found, list):
            longest = max(longest, len(found))
            waiting.extend(found)
    return longest


def _syntax(error: Exception) -> str:
    place = _PLACE.search(str(error))
    if place is None:
        return _first_sentence(error)
    what = place[3].removeprefix("Syntax error: ").partition(" expecting {")[0]
    return f"not a valid expression, column {place[2]}: {what}"


def _first_sentence(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". ")[0][:200]
