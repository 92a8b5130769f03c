"""Players that ask the network: `Dqn`, greedy, and `Guided`, a bounded search by its values.

Both avoid what they have been at: an action whose predicted next situation was visited is taken
only if all others were visited as often. They need nothing but NumPy and the file of weights.
"""

import heapq
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np

from .encode import Floats, features, moment, structure, unit
from .game import Mechanics, Situation
from .level import Level
from .network import Bound, Network, expand, load

REVISIT = np.float32(1e3)
"""What each earlier visit of the next state takes from an action's value."""
EXPANSIONS = 300
"""Of one search of `Guided`."""
SHIPPED = "policy.npz"


def shipped() -> Path:
    """The file of the policy that comes with the package. Raises FileNotFoundError."""
    path = Path(str(resources.files(__package__) / "shipped" / SHIPPED))
    if not path.is_file():
        raise FileNotFoundError(f"no policy is shipped with this package ({path})")
    return path


def read(path: Path, rounds: int | None = None) -> Network:
    """The network of a file, with the rounds that its configuration names, or others.

    Raises `network.WeightsError`; OSError if it cannot be read."""
    weights, config = load(path)
    return Network(weights, rounds or config["rounds"])


class Judge:
    """The network on one level: the values of a situation's actions."""

    def __init__(self, network: Network, level: Level) -> None:
        self.level = level
        self.mechanics = Mechanics(level)
        self._structure = structure(level)
        self._bound: Bound = network.bind(self._structure)

    def values(self, situation: Situation, legal: list[int]) -> Floats:
        """[2N + 1]; overwritten by the next call."""
        mask = np.zeros(2 * len(self.level.functions) + 1, np.bool_)
        mask[legal] = True
        return self._bound.values(features(np, self._structure, moment(situation, mask)))


class Dqn:
    """The best action by the network, first of those that lead to the least visited situation.

    To give up it is asked only where functions can fail: elsewhere trying on costs nothing more.
    """

    name = "dqn"

    def __init__(self, network: Network) -> None:
        self._network = network

    def begin(self, level: Level) -> None:
        """A new game on this level."""
        self._judge = Judge(self._network, level)
        self._visits: Counter[tuple[int, int]] = Counter()
        self._hopeful = all(function.failure is None for function in level.functions)

    def choose(self, situation: Situation) -> int:
        """The action to take; called once for every situation of a game, in order."""
        mechanics = self._judge.mechanics
        self._visits[situation.state, situation.waived] += 1
        legal = mechanics.legal(situation)
        if len(legal) == 1:
            return legal[0]
        values = self._judge.values(situation, legal)
        give_up = mechanics.give_up
        best = max(legal, key=lambda action: float(values[action]))
        if best == give_up and not self._hopeful:
            return best
        rest = legal[:-1]
        return max(
            rest, key=lambda action: float(values[action] - self._penalty(situation, action))
        )

    def _penalty(self, situation: Situation, action: int) -> np.float32:
        mechanics = self._judge.mechanics
        if action < mechanics.count:
            after = mechanics.rules.step(situation.state, action), situation.waived
        else:
            waives = mechanics.skips[action - mechanics.count] & ~situation.state
            after = situation.state, situation.waived | waives
        return REVISIT * np.float32(self._visits[after])


class Guided:
    """A best-first search by cost so far and the network's estimate, where calls do not fail.

    It goes on for its expansions after the first plan, to find a cheaper one. Without a plan, and
    on levels where functions can fail, it plays like `Dqn`.
    """

    name = "guided"

    def __init__(self, network: Network, expansions: int = EXPANSIONS) -> None:
        self._network, self._expansions = network, expansions
        self._greedy = Dqn(network)

    def begin(self, level: Level) -> None:
        """A new game on this level."""
        self._greedy.begin(level)
        self._plan: list[int] | None = None
        self._fails = any(function.failure is not None for function in level.functions)

    def choose(self, situation: Situation) -> int:
        """The action to take."""
        if self._fails:
            return self._greedy.choose(situation)
        if self._plan is None:
            self._plan = self._search(situation)[::-1]
        return self._plan.pop() if self._plan else self._greedy.choose(situation)

    def _search(self, start: Situation) -> list[int]:
        judge = self._greedy._judge
        mechanics, prices = judge.mechanics, judge.mechanics.prices
        scale = unit(judge.level)
        root = start.state, start.waived
        situations, spent = {root: start}, {root: 0.0}
        came: dict[tuple[int, int], tuple[tuple[int, int], int]] = {}
        queue = [(0.0, 0, root, 0.0)]
        pushed, found, cheapest = 0, None, float("inf")
        for _ in range(self._expansions):
            while queue and (queue[0][3] > spent[queue[0][2]] or queue[0][0] >= cheapest):
                heapq.heappop(queue)  # reached at less cost since, or no better than the plan
            if not queue:
                break
            _, _, here, cost = heapq.heappop(queue)
            situation = situations[here]
            legal = mechanics.legal(situation)
            values = judge.values(situation, legal)
            for action in legal[:-1]:
                if action < mechanics.count:
                    after = mechanics.after_call(situation, action)
                    price = prices.calls[action]
                else:
                    after = mechanics.after_skip(situation, action - mechanics.count)
                    price = prices.skip
                there, total = (after.state, after.waived), cost + price
                if total >= min(spent.get(there, float("inf")), cheapest):
                    continue
                situations[there], spent[there], came[there] = after, total, (here, action)
                if mechanics.won(*there):
                    found, cheapest = there, total
                    continue
                to_go = float(expand(max(-float(values[action]), 0.0))) * scale
                pushed += 1
                heapq.heappush(queue, (cost + max(to_go, price), pushed, there, total))
        plan: list[int] = []
        while found is not None and found != root:
            found, action = came[found]
            plan.append(action)
        return plan[::-1]
