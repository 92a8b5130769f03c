"""One level of the campaign as a conversation: a typed line in, lines of text out."""

from dataclasses import dataclass

from ..failure import SHOWN
from ..game import Game
from ..level import Function
from ..solving.belief import Solver
from . import Stage

HELP = (
    "Type a function's number or its name to call it. What it needs, earlier calls have to return.",
    "skip N   do without an optional function",
    "look     the level again            restart   from the beginning",
    "hint     what best play would do    give up   end this level",
    "next     another level              quit      leave the game",
)
KINDS_OF_FAILURE = {
    "unavailable": "is not available at the moment",
    "refused": "refuses",
    "bad-output": "returns something that is not good enough",
    "timeout": "does not answer in time",
}


@dataclass(frozen=True)
class Reply:
    """What the game says. `over`: the level has ended, won or not."""

    lines: tuple[str, ...]
    over: bool = False
    won: bool = False


class Session:
    """A level being played. The fortune follows from the seed."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage, self._seed = stage, seed
        self._game = Game(stage.level)
        self._solver = Solver(stage.level)
        self._begin()

    def _begin(self) -> None:
        self._game.reset(self._seed)
        self._belief = self._solver.start()
        self._paid, self._calls, self._over = 0.0, 0, False

    def look(self) -> tuple[str, ...]:
        """The story, the goal, what is there, and the functions."""
        level, situation = self.stage.level, self._game.situation
        lines = [
            level.story,
            "",
            f"Goal: {self._names(self._game.mechanics.rules.facts(self._goal))}",
        ]
        if situation.state:
            lines.append(
                f"You have: {self._names(self._game.mechanics.rules.facts(situation.state))}"
            )
        if level.budget is not None:
            lines.append(f"Budget: {level.budget - situation.spent:g} of {level.budget:g} left")
        if level.deadline is not None:
            lines.append(f"Time: {level.deadline - situation.elapsed:g} of {level.deadline:g} left")
        lines.append("")
        legal = set(self._game.mechanics.legal(situation))
        for at, function in enumerate(level.functions):
            mark = "*" if at in legal else " "
            lines.append(f" {mark} {at + 1}. {self._described(function)}")
        return tuple(lines)

    def say(self, line: str) -> Reply:
        """Answers a typed line."""
        words = line.strip().lower().split()
        match words:
            case []:
                return Reply(())
            case ["help" | "?"]:
                return Reply(HELP)
            case ["look"]:
                return Reply(self.look())
            case ["restart"]:
                self._begin()
                return Reply(("From the beginning.", "", *self.look()))
            case _ if self._over:
                return Reply(("This level is over: `restart`, `next` or `quit`.",))
            case ["hint"]:
                return Reply((self._hint(),))
            case ["give", "up"]:
                return self._act(self._game.mechanics.give_up)
            case ["skip", name]:
                found = self._find(name)
                return self._unknown(name) if found is None else self._skip(found)
            case _:
                name = words[0].partition("(")[0]
                found = self._find(name)
                return self._unknown(line.strip()) if found is None else self._call(found)

    @property
    def _goal(self) -> int:
        return sum(1 << fact for fact in self.stage.level.goal)

    def _find(self, name: str) -> int | None:
        functions = self.stage.level.functions
        if name.isascii() and name.isdigit():
            return int(name) - 1 if 1 <= int(name[:4]) <= len(functions) and len(name) < 4 else None
        name = name.removesuffix("()")
        return next((at for at, f in enumerate(functions) if f.name.lower() == name), None)

    def _unknown(self, text: str) -> Reply:
        return Reply((f"There is no function {text[:60]!r}. `help` says what you can type.",))

    def _call(self, call: int) -> Reply:
        function, situation = self.stage.level.functions[call], self._game.situation
        missing = [fact for fact in sorted(function.pre) if not situation.state >> fact & 1]
        if missing:
            return Reply((f"{function.name} needs: {self._names(missing)}",))
        if call not in self._game.mechanics.legal(situation):
            return Reply((f"{function.name}: there is not enough money or time left for that.",))
        return self._act(call)

    def _skip(self, function: int) -> Reply:
        action = self._game.mechanics.count + function
        if action not in self._game.mechanics.legal(self._game.situation):
            name = self.stage.level.functions[function].name
            return Reply((f"{name} cannot be skipped: the goal needs it, or it is done.",))
        return self._act(action)

    def _act(self, action: int) -> Reply:
        mechanics, before = self._game.mechanics, self._game.situation
        outcome = self._game.step(action)
        if action < mechanics.count:
            function = self.stage.level.functions[action]
            self._calls += 1
            self._paid += mechanics.prices.calls[action]
            self._belief = self._solver.after_call(self._belief, action, outcome.error)
            new = mechanics.rules.facts(outcome.situation.state & ~before.state)
            shown = SHOWN[outcome.error]
            text = (
                f"{function.name} {KINDS_OF_FAILURE[shown]} [{shown}]"
                if shown
                else f"{self.stage.says[action]}" + (f"  -> {self._names(new)}" if new else "")
            )
        elif action < mechanics.give_up:
            name = self.stage.level.functions[action - mechanics.count].name
            self._belief = self._solver.after_skip(self._belief, action - mechanics.count)
            self._paid += mechanics.prices.skip
            text = f"You do without {name}."
        else:
            text = f"You give up. It was about: {self.stage.idea}."
        self._over = outcome.over or outcome.truncated
        if outcome.won:
            return Reply((text, "", *self._won()), over=True, won=True)
        if outcome.over:
            return Reply((text,), over=True)
        if outcome.truncated:
            return Reply((text, "", "So many calls: the day is over. `restart`?"), over=True)
        return Reply((text,))

    def _won(self) -> tuple[str, ...]:
        level = self.stage.level
        if level.optimal_calls is not None:
            cost, best = self._paid, level.optimal_cost or 0.0
            costs = "" if cost == self._calls else f", cost {cost:g} (best {best:g})"
            perfect = cost <= best + 1e-9
            line = f"Won with {self._calls} calls (best {level.optimal_calls}){costs}."
            praise = "As good as can be." if perfect else "It can be had for less: `restart`?"
        else:
            best = self._solver.value(self._solver.start())
            paid = f"{self._calls} calls, cost {self._paid:g}"
            line = f"Won with {paid}; best play costs {best:.3g} on average."
            praise = "Better than that." if self._paid <= best else "Bad luck, or a bad choice?"
        return line, praise, f"What it teaches: {self.stage.idea}."

    def _hint(self) -> str:
        values = self._solver.q_values(self._belief)
        mechanics = self._game.mechanics
        best = min(mechanics.legal(self._game.situation), key=values.__getitem__)
        if best == mechanics.give_up:
            return "There is no hope left here: restart, or give up."
        function = self.stage.level.functions[best % mechanics.count]
        return f"Best play would {'call' if best < mechanics.count else 'skip'} {function.name}."

    def _described(self, function: Function) -> str:
        needs = [name for name in self._sorted(function.pre) if name not in function.args]
        gives = self._names(function.add)
        text = f"{function.name}({', '.join(function.args)}) -> {gives}"
        if needs:
            text += f", needs {', '.join(needs)}"
        if function.delete:
            text += f", uses up {self._names(function.delete)}"
        notes = []
        if function.cost != 1:
            notes.append(f"cost {function.cost:g}")
        if function.duration:
            notes.append(f"takes {function.duration:g}")
        if function.quality is not None:
            notes.append(f"quality {function.quality:g}")
        if function.optional:
            notes.append("optional")
        if function.failure:
            calls, failed = function.failure.known
            notes.append(f"failed {failed} of {calls} earlier calls" if calls else "may fail")
        return text + (f"  [{'; '.join(notes)}]" if notes else "")

    def _sorted(self, facts: frozenset[int] | list[int]) -> list[str]:
        return [self.stage.level.facts[fact] for fact in sorted(facts)]

    def _names(self, facts: frozenset[int] | list[int]) -> str:
        return ", ".join(self._sorted(facts))
