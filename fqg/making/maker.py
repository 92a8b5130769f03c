"""Levels from seeds: draws one, gives it a goal that can be won, and keeps it if it teaches.

The same seed gives the same level on every machine. Of one that is not kept the reason is counted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random

from ..canonical import canonical_hash
from ..level import Level
from ..rules import Rules
from ..solving import native
from ..solving.reachable import Costs, Space
from .dials import LEARNING, Dials
from .plain import plain_world
from .schemas import carrying_world, nested_world, schemas_world
from .variables import variables_world
from .world import DiscardError, World, level_of, with_costs

Draw = Callable[[Random, Dials], World]
KINDS: Mapping[str, tuple[Draw, float]] = {
    "nested": (nested_world, 0.42),
    "carrying": (carrying_world, 0.24),
    "schemas": (schemas_world, 0.18),
    "variables": (variables_world, 0.10),
    "plain": (plain_world, 0.06),
}
"""The kinds of levels, how each is drawn, and how often one is tried."""
VALIDATION, TEST = 1 << 31, 1 << 32
"""The first seed of each split; training seeds come before."""
TRIES = 3
"""Goals that are tried in one world."""


@dataclass(frozen=True)
class Made:
    """A level with its reachable states; `level` has its optimum, by cost and by calls."""

    seed: int
    kind: str
    level: Level
    space: Space
    to_go: Costs
    """[states]: from each of `space` the least cost to the goal; infinite: none."""
    easy: bool
    """Whether greedy h_add without revisits is optimal."""

    @cached_property
    def hash(self) -> int:
        """The canonical hash of the level."""
        return canonical_hash(self.level)


@dataclass
class Maker:
    """Makes levels one after the other: none twice, and of easy ones no more than the share.

    `discards` counts those that were not kept by reason, `kept` the others by kind.
    """

    dials: Dials = LEARNING
    kinds: Mapping[str, float] = field(
        default_factory=lambda: {kind: share for kind, (_, share) in KINDS.items()}
    )
    seen: set[int] = field(default_factory=set)
    discards: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    _easy: int = 0

    def levels(self, seeds: Iterable[int]) -> Iterator[Made]:
        """What is kept of the levels of these seeds."""
        for seed in seeds:
            try:
                made = draw(seed, self.dials, self.kinds)
                self._admit(made)
            except DiscardError as reason:
                self.discards[str(reason)] += 1
            else:
                yield made

    def _admit(self, made: Made) -> None:
        share = self._easy / max(1, self.kept.total())
        if made.easy and share >= self.dials.easy:
            raise DiscardError("easy: greedy h_add is optimal")
        if made.hash in self.seen:
            raise DiscardError("repeated")
        self.seen.add(made.hash)
        self._easy += made.easy
        self.kept[made.kind] += 1


def draw(seed: int, dials: Dials, kinds: Mapping[str, float]) -> Made:
    """The level of a seed. Raises DiscardError if it is none worth keeping."""
    rng = Random(seed)  # noqa: S311 (levels are no secrets)
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    world = KINDS[kind][0](rng, dials)
    level = level_of(world, dials.functions, dials.facts, rng)
    if rng.random() < dials.costly:
        level = with_costs(level, _costs(rng, level, dials.costs))
    space = native.reach(level, dials.states)
    if space is None:
        raise DiscardError("too many states")
    if len(space) < 2 * dials.depth[0]:
        raise DiscardError("too few states")
    level, to_go = _with_goal(rng, replace(level, id=f"{kind}-{seed}"), space, dials)
    plan = native.greedy(level, 3 * (level.optimal_calls or 0) + 10)
    easy = plan is not None and Rules(level).cost(plan) <= float(to_go[0])
    return Made(seed, kind, level, space, to_go, easy)


def _costs(rng: Random, level: Level, costs: tuple[int, ...]) -> list[float]:
    """Random costs: at times per name, so that what is alike costs alike."""
    if rng.random() < 0.5:
        by_name = {function.name: rng.choice(costs) for function in level.functions}
        return [float(by_name[function.name]) for function in level.functions]
    return [float(rng.choice(costs)) for _ in level.functions]


def _with_goal(rng: Random, level: Level, space: Space, dials: Dials) -> tuple[Level, Costs]:
    """The level with the goal that takes longest, of a few that are drawn from late states."""
    best: tuple[int, Level, Costs] | None = None
    rules = Rules(level)
    ones = [1.0] * len(level.functions)
    shortest = min(dials.depth[1], dials.depth[0] + int(rng.expovariate(0.3)))
    if space.depth(len(space) - 1) < shortest:
        raise DiscardError("no goal at this depth")
    for _ in range(TRIES):
        late = len(space) - 1 - int((len(space) - 1) * 0.5 * rng.random() ** 2)
        goal = _goal(rng, level, rules.facts(space.state(late)))
        if goal is None:
            continue
        wanted = replace(level, goal=goal)
        calls = int(space.to_go(goal, ones)[0])
        if shortest <= calls <= dials.depth[1] and (best is None or calls > best[0]):
            costs = [function.cost for function in level.functions]
            to_go = space.to_go(goal, costs)
            best = calls, replace(wanted, optimal_calls=calls, optimal_cost=float(to_go[0])), to_go
    if best is None:
        raise DiscardError("no goal at this depth")
    return best[1], best[2]


def _goal(rng: Random, level: Level, true: frozenset[int]) -> frozenset[int] | None:
    """Facts of one or two families that are true there, at least one of them not at the start."""
    family_of = {fact: level.facts[fact].partition("(")[0] for fact in sorted(true)}
    families = sorted({family for family in family_of.values() if not family.startswith("free_")})
    if not families:
        return None
    chosen = rng.sample(families, min(len(families), rng.choice((1, 1, 2))))
    facts = [fact for fact, family in family_of.items() if family in chosen]
    if rng.random() < 0.35:
        facts = rng.sample(facts, rng.randint(1, len(facts)))
    return frozenset(facts) if set(facts) - level.init else None
