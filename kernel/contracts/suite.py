"""What a contract suite is made of: checks, what a check is given, and how it says what is wrong.

A check is a coroutine that calls the extension under test and compares what comes with what the
contract says. It names the sentence of the contract that it holds the extension to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from symphony.bus.errors import BusError
from symphony.bus.localcalls import LocalHandler

LONGEST_SHOWN = 400  # characters of a value in a report


class UnfulfilledError(Exception):
    """The extension does not do what the contract says."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}; came {came}")
        self.expected = expected
        self.came = came


class NotApplicableError(Exception):
    """The check cannot be made of this extension; the text says why."""


class Subject(Protocol):
    """The extension under test: one process of it, on a store that is the check's own.

    `folder` is an empty folder for the check's files, `store` where the extension keeps its own.
    """

    folder: Path
    store: Path

    async def ask(self, method: str, /, **args: object) -> Any:
        """The reply to a call; that there is none raises `UnfulfilledError`."""

    async def refused(
        self, code: str | tuple[str, ...], method: str, /, **args: object
    ) -> BusError:
        """The error of a call that must be refused, with one of these codes, and not because the
        method is not there."""

    async def unheard(self, method: str) -> None:
        """That there is no such method."""

    async def restart(self) -> None:
        """Kills the process (SIGKILL) and starts another one on the same store."""

    async def killed(self, after_s: float, method: str, /, **args: object) -> None:
        """Makes a call, kills the process so long after, whatever it does, and starts another."""

    def serve(self, capability: str, handler: LocalHandler) -> None:
        """Stands in for what the extension calls."""


Run = Callable[[Subject], Awaitable[None]]
R = TypeVar("R", bound=Run)


@dataclass(frozen=True)
class Check:
    """One check; `sentence` stands in the contract word for word."""

    name: str
    sentence: str
    run: Run


class Checks(list[Check]):
    """Checks in the order in which they are made."""

    def add(self, sentence: str) -> Callable[[R], R]:
        """Adds the decorated coroutine; its name says what it checks."""

        def add(run: R) -> R:
            name = getattr(run, "__name__", "").replace("_", " ")
            self.append(Check(name, sentence, run))
            return run

        return add


@dataclass(frozen=True)
class Suite:
    """All checks of one capability; `document` is the contract, below the sources."""

    capability: str
    document: str
    checks: Checks


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()  # in what is expected: a field that must not be there


def fits(came: object, expected: object, what: str = "the reply") -> None:
    """What came has everything that is expected; maps may have more. Raises `UnfulfilledError`."""
    if fault := _fault(came, expected, ""):
        place, wanted, found = fault
        raise UnfulfilledError(f"{what}{place} to be {show(wanted)}", show(found))


def holds(truth: object, expected: str, came: object) -> None:
    """Raises `UnfulfilledError` unless it is true."""
    if not truth:
        raise UnfulfilledError(expected, show(came))


def show(value: object) -> str:
    """A value in a report."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} … ({len(text)} in all)"


def _fault(came: object, expected: object, place: str) -> tuple[str, object, object] | None:
    """Where the two differ first: the place, what was expected there, what came."""
    if isinstance(expected, Mapping) and isinstance(came, Mapping):
        for key, wanted in expected.items():
            at = f"{place}.{key}"
            if wanted is ABSENT:
                if key in came:
                    return at, ABSENT, came[key]
            elif key not in came:
                return at, wanted, ABSENT
            elif fault := _fault(came[key], wanted, at):
                return fault
        return None
    if isinstance(expected, list) and isinstance(came, list):
        if len(came) != len(expected):
            return place, expected, came
        for number, (found, wanted) in enumerate(zip(came, expected, strict=True)):
            if fault := _fault(found, wanted, f"{place}[{number}]"):
                return fault
        return None
    # Equal and of one type: True is no 1.
    return None if type(came) is type(expected) and came == expected else (place, expected, came)
