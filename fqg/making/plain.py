"""Plain levels: functions that make artifacts of artifacts, using some up.

Chains, shared sub-goals, joins, consumables, alternatives, distractors and inverse functions that
rebuild an early artifact from a later one.
"""

from random import Random

from .dials import Dials
from .world import Call, Fact, World


def plain_world(rng: Random, dials: Dials) -> World:
    """Each function makes one or two artifacts of one to three that came before."""
    least, most = dials.functions
    target = rng.randint(least, max(least, min(most, 40)))
    inverse = rng.uniform(*dials.inverse) * 0.5
    given = [_fact(f"given_{at}") for at in range(rng.randint(2, 4))]
    made: list[Fact] = list(given)
    calls: list[Call] = []
    while len(calls) < target:
        name = f"make_{len(calls)}"
        useful = rng.random() >= dials.distractors
        recent = made[-6:] if useful else made
        pre = frozenset(rng.sample(recent, min(len(recent), rng.choice((1, 1, 2, 2, 3)))))
        # Making again what was there gives two ways to one thing.
        again = rng.random() < 0.3 and len(made) > len(given)
        add = frozenset({rng.choice(made)} if again else {_fact(f"thing_{len(made)}")}) - pre
        if not add:
            continue
        used = rng.sample(sorted(pre), 1) if rng.random() < dials.deletes else []
        call = Call(name, (), pre, add, frozenset(used))
        calls.append(call)
        if useful:
            made += sorted(add - set(made))
        if rng.random() < inverse:
            calls.append(Call(f"recover_{name}", (), add, frozenset(rng.sample(sorted(pre), 1)),
                              add if rng.random() < dials.deletes else frozenset()))  # fmt: skip
        if rng.random() < dials.alternatives:
            spent = pre if rng.random() < 0.5 else frozenset()
            calls.append(Call(f"other_{name}", (), pre, add, spent, stands_in_for=name))
    return World(frozenset(given), tuple(calls[:target]))


def _fact(name: str) -> Fact:
    return (name, "ready")
