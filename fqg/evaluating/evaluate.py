"""Plays levels with a player and scores it: the same way for the policy and for all baselines.

Where functions may fail a level is played several times; the fortunes follow from level and number
alone, so that players are paired. What is not solved costs as much as giving up, and counts as many
calls as a game may last.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from zlib import crc32

from ..baselines.rule import failure_rate
from ..failure import Mode
from ..game import Game
from ..level import Level
from ..player import Player
from ..rules import Rules, bits

GAMES = 10
"""Games of a level on which functions may fail."""


@dataclass(frozen=True)
class Played:
    """One game."""

    level: str
    optimal_calls: int | None
    won: bool
    calls: int
    cost: float
    """Of all actions; of a game that was not won, the price of giving up on top at most once."""
    limit: int
    fails: bool
    """Functions of this level may fail."""
    failed: bool
    """A call failed in this game."""
    recoverable: bool
    """What was drawn leaves a way to the goal, or skips do."""
    functions: int
    """Of the level."""
    rate: float
    """The chance that a first call fails, on average over the level's functions."""
    seconds: tuple[float, ...]
    """Of each decision."""


@dataclass(frozen=True)
class Score:
    """Shares and means over levels or games. None: there was nothing to take it from."""

    levels: int
    solved: float
    calls_ratio: float | None
    """Calls to the optimum, over solved games of levels with a known optimum."""
    optimal_hits: float | None
    """The share of levels with a known optimum that were solved with as few calls."""
    cost: float
    decision_us_p99: float
    games: int
    calls_ratio_all: float | None
    """As calls_ratio, games that were not solved counted at the longest a game may last."""
    recovery: float | None
    """The share won of the games in which a call failed and a way was left."""
    decision_us_median: float


def play(player: Player, level: Level, seed: int) -> Played:
    """Plays one game."""
    game = Game(level)
    situation = game.reset(seed)
    player.begin(level)
    mechanics = game.mechanics
    won, over, cost, calls, failed = game.won(), game.won(), 0.0, 0, False
    seconds: list[float] = []
    while not over:
        before = time.perf_counter()
        action = player.choose(situation)
        seconds.append(time.perf_counter() - before)
        outcome = game.step(action)
        situation, won = outcome.situation, outcome.won
        over = outcome.over or outcome.truncated
        cost -= outcome.reward
        calls += action < mechanics.count
        failed |= bool(outcome.error)
        if outcome.truncated:
            cost += mechanics.prices.give_up
    return Played(
        level=level.id,
        optimal_calls=level.optimal_calls,
        won=won,
        calls=calls,
        cost=cost,
        limit=mechanics.prices.limit,
        fails=_fails(level),
        failed=failed,
        recoverable=_recoverable(level, game.modes(), mechanics.skips),
        functions=len(level.functions),
        rate=failure_rate(level),
        seconds=tuple(seconds),
    )


def play_all(
    player: Player, levels: Iterable[Level], games: int = GAMES, seed: int = 0
) -> list[Played]:
    """Plays all levels: those on which something may fail `games` times, others once."""
    return [
        play(player, level, crc32(f"{seed} {level.id} {number}".encode()))
        for level in levels
        for number in range(games if _fails(level) else 1)
    ]


def score(played: Sequence[Played]) -> Score:
    """The score of some games, of which there must be one."""
    known = [game for game in played if game.optimal_calls]
    solved = [game for game in known if game.won]
    hard = [game for game in played if game.failed and game.recoverable]
    times = sorted(s * 1e6 for game in played for s in game.seconds) or [0.0]
    return Score(
        levels=len({game.level for game in played}),
        solved=fmean(game.won for game in played),
        calls_ratio=_mean([game.calls / (game.optimal_calls or 1) for game in solved]),
        optimal_hits=_mean([float(g.won and g.calls <= (g.optimal_calls or 0)) for g in known]),
        cost=fmean(game.cost for game in played),
        decision_us_p99=times[min(len(times) - 1, int(0.99 * len(times)))],
        games=len(played),
        calls_ratio_all=_mean(
            [(g.calls if g.won else g.limit) / (g.optimal_calls or 1) for g in known]
        ),
        recovery=_mean([float(game.won) for game in hard]),
        decision_us_median=times[len(times) // 2],
    )


def regret(played: Sequence[Played], against: Sequence[Played]) -> float:
    """How much more the games cost than another player's on the same fortunes, on average."""
    return fmean(a.cost - b.cost for a, b in zip(played, against, strict=True))


def gap_closed(
    played: Sequence[Played], rule: Sequence[Played], best: Sequence[Played]
) -> float | None:
    """How much of what best play saves over a rule a player saves: 1 all, 0 none. Paired games."""
    gap = regret(rule, best)
    return None if gap <= 0 else regret(rule, played) / gap


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _fails(level: Level) -> bool:
    return any(function.failure is not None for function in level.functions)


def _recoverable(level: Level, modes: Sequence[Mode], skips: Sequence[int]) -> bool:
    """Deletes aside: whether the functions that can succeed reach what cannot be skipped."""
    rules, waivable = Rules(level), 0
    for facts in skips:
        waivable |= facts
    state, before = rules.start, -1
    able = [at for at, mode in enumerate(modes) if mode is not Mode.PERMANENT]
    while state != before:
        before = state
        for call in able:
            function = level.functions[call]
            if bits(function.pre) & ~state == 0:
                state |= bits(function.add)
    return bits(level.goal) & ~waivable & ~state == 0
