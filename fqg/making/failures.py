"""Levels with hidden failures on top of small plans.

A plan is a set of works, each needing what some earlier ones give. A work has a function, perhaps
alternatives at other prices, and the last works may be optional. A fact may also be had by a second
way through something else (such as rebuilding an early output from a later one).

Functions are of a few kinds (`KINDS`), which differ in how often which mode is drawn. A level shows
earlier calls and failures of some of its functions; the chances of the modes that it tells are
those given that (Bayes' rule over the kinds), so that whoever has learned how levels are made knows
from `known` all that can be known before the first call.
"""

import random
from dataclasses import dataclass

from ..failure import Chances, Failure
from ..level import Function, Level

KINDS = (
    Chances(0.94, 0.03, 0.02, 0.01),
    Chances(0.45, 0.27, 0.10, 0.18),
    Chances(0.12, 0.30, 0.36, 0.22),
)
"""Solid, shaky and poor functions."""


@dataclass(frozen=True)
class Dials:
    """What a level is like; shares are chances from 0 to 1.

    The usual ones leave much to find out: few earlier calls, several ways at very different prices,
    errors that mislead. There the best fixed rule costs a fifth more than best play; with more that
    is known and fewer ways it would cost a twentieth more, which measures nothing."""

    works: tuple[int, int] = (1, 3)
    """From, to."""
    needs: float = 0.85
    """A work but the first ones needs earlier ones."""
    joins: float = 0.3
    """It needs two."""
    alternatives: tuple[float, float, float] = (0.1, 0.5, 0.4)
    """The chances of no, one and two alternatives of a work."""
    detours: float = 0.5
    """A second way to a work's output."""
    optional: float = 0.35
    """A last work is optional."""
    rate: tuple[float, float, float] = (0.3, 0.3, 0.4)
    """The shares of solid, shaky and poor functions."""
    sure: float = 0.1
    """A function never fails."""
    costs: tuple[int, ...] = (1, 2, 4, 8)
    recovers: tuple[float, ...] = (0.2, 0.5, 0.8)
    improves: tuple[float, ...] = (0.2, 0.5, 0.8)
    misleads: tuple[float, ...] = (0.0, 0.3, 0.6)
    known: tuple[int, ...] = (0, 0, 2, 5)
    """Earlier calls that are shown."""


USUAL = Dials()
RATES: dict[str, tuple[float, float, float]] = {
    "low": (0.5, 0.3, 0.2),
    "middle": (0.3, 0.3, 0.4),
    "high": (0.1, 0.3, 0.6),
}
"""Failure rates by name: for splits and for rules that are tuned per rate."""


def make(seed: int, dials: Dials = USUAL) -> Level:
    """The level of this seed. Its goal can be reached if no call fails."""
    return _Maker(seed, dials).level()


class _Maker:
    def __init__(self, seed: int, dials: Dials) -> None:
        self._seed = seed
        self._dials = dials
        self._random = random.Random(f"failures {seed}")  # noqa: S311 - a game
        self._recovers = self._random.choice(dials.recovers)
        self._improves = self._random.choice(dials.improves)
        self._misleads = self._random.choice(dials.misleads)
        self._facts: list[str] = []
        self._functions: list[Function] = []

    def level(self) -> Level:
        dice, dials = self._random, self._dials
        outputs: list[int] = []
        pending: set[int] = set()  # outputs that no work has used
        works: list[tuple[int, frozenset[int]]] = []
        for _ in range(dice.randint(*dials.works)):
            pre = self._needs(outputs)
            pending -= pre
            output = self._fact("output")
            works.append((output, pre))
            outputs.append(output)
            pending.add(output)
        firm = 0
        for output, pre in works:
            last = output in pending
            optional = last and (firm or len(pending) > 1) and dice.random() < dials.optional
            firm += last and not optional
            self._work(output, pre, bool(optional))
        if not firm:  # something has to be the aim
            kept = max(pending)
            self._functions = [
                Function(**{**vars(f), "optional": f.optional and kept not in f.add})
                for f in self._functions
            ]
        return self._shuffled(frozenset(pending))

    def _needs(self, outputs: list[int]) -> frozenset[int]:
        dice, dials = self._random, self._dials
        if not outputs or dice.random() >= dials.needs:
            return frozenset()
        count = 2 if len(outputs) > 1 and dice.random() < dials.joins else 1
        return frozenset(dice.sample(outputs[-3:], min(count, len(outputs[-3:]))))

    def _work(self, output: int, pre: frozenset[int], optional: bool) -> None:
        dice, dials = self._random, self._dials
        first = len(self._functions)
        others = dice.choices(range(3), dials.alternatives)[0]
        for _ in range(1 + others):
            peers = tuple(range(first, first + 1 + others))
            self._function(pre, output, optional, tuple(p for p in peers if p != self._next))
        if dice.random() < dials.detours:
            middle = self._fact("detour")
            self._function(pre, middle, False, ())
            self._function(frozenset({middle}), output, optional, ())

    @property
    def _next(self) -> int:
        return len(self._functions)

    def _function(
        self, pre: frozenset[int], output: int, optional: bool, peers: tuple[int, ...]
    ) -> None:
        self._functions.append(
            Function(
                name=f"function_{self._next}",
                pre=pre,
                add=frozenset({output}),
                delete=frozenset(),
                cost=float(self._random.choice(self._dials.costs)),
                optional=optional,
                alternatives_of=peers,
                failure=self._failure(),
            )
        )

    def _failure(self) -> Failure | None:
        dice, dials = self._random, self._dials
        if dice.random() < dials.sure:
            return None
        kind = dice.choices(KINDS, dials.rate)[0]
        calls = dice.choice(dials.known)
        bad = sum(dice.random() >= self._works(kind) for _ in range(calls))
        return Failure(
            modes=self._given(calls, bad),
            recovers=self._recovers,
            improves=self._improves,
            misleads=self._misleads,
            known=(calls, bad),
        )

    def _works(self, kind: Chances) -> float:
        """The chance that a first call succeeds."""
        return kind.sound + kind.transient * self._recovers

    def _given(self, calls: int, bad: int) -> Chances:
        weights = []
        for share, kind in zip(self._dials.rate, KINDS, strict=True):
            chance = self._works(kind)
            weights.append(share * chance ** (calls - bad) * (1 - chance) ** bad)
        total = sum(weights)
        mixed = (
            sum(w * kind[mode] for w, kind in zip(weights, KINDS, strict=True)) / total
            for mode in range(1, 4)
        )
        failing = [round(chance, 6) for chance in mixed]
        return Chances(round(1 - sum(failing), 6), *failing)

    def _fact(self, word: str) -> int:
        self._facts.append(f"{word}_{len(self._facts)}")
        return len(self._facts) - 1

    def _shuffled(self, goal: frozenset[int]) -> Level:
        """Functions in an order that tells nothing."""
        order = list(range(len(self._functions)))
        self._random.shuffle(order)
        place = {old: new for new, old in enumerate(order)}
        moved = (self._functions[old] for old in order)
        functions = tuple(
            Function(
                **{**vars(f), "alternatives_of": tuple(sorted(place[p] for p in f.alternatives_of))}
            )
            for f in moved
        )
        return Level(
            id=f"failures-{self._seed}",
            facts=tuple(self._facts),
            init=frozenset(),
            goal=goal,
            functions=functions,
        )
