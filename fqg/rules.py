"""The rules of Function Quest: which calls are legal, what a call does, what wins, what play costs.

Pure functions over a level. A state is the set of true facts as an integer: bit i is fact i.
A call makes its deletes false and then its adds true, so a fact in both ends up true.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .level import Level


def bits(facts: Iterable[int]) -> int:
    """The state in which exactly these facts are true."""
    state = 0
    for fact in facts:
        state |= 1 << fact
    return state


@dataclass(frozen=True)
class _Call:
    pre: int
    add: int
    keep: int


class IllegalCallError(ValueError):
    """A function was called whose preconditions are not all true."""


class Rules:
    """The rules of one level, its sets made into bit masks once."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.start: int = bits(level.init)
        self._goal = bits(level.goal)
        self._calls = tuple(
            _Call(bits(f.pre), bits(f.add), ~bits(f.delete)) for f in level.functions
        )

    def legal(self, state: int) -> list[int]:
        """Indexes of the functions whose preconditions are all true, ascending."""
        return [at for at, call in enumerate(self._calls) if call.pre & ~state == 0]

    def step(self, state: int, function: int) -> int:
        """The state after a call. Raises IllegalCallError, IndexError."""
        if not 0 <= function < len(self._calls):
            raise IndexError(f"no function {function}: there are {len(self._calls)}")
        call = self._calls[function]
        if missing := call.pre & ~state:
            fact = self.level.facts[missing.bit_length() - 1]
            name = self.level.functions[function].name
            raise IllegalCallError(f"{name!r} needs {fact!r}, which is not true")
        return state & call.keep | call.add

    def won(self, state: int) -> bool:
        """Whether all facts of the goal are true."""
        return self._goal & ~state == 0

    def cost(self, calls: Iterable[int]) -> float:
        """What calling these functions costs in all, whether they were of use or not."""
        return sum((self.level.functions[call].cost for call in calls), start=0.0)

    def facts(self, state: int) -> frozenset[int]:
        """The indexes of the facts that are true."""
        return frozenset(at for at in range(len(self.level.facts)) if state >> at & 1)
