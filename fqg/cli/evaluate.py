"""`symphony-fqg evaluate`: scores a player on a file of levels."""

from dataclasses import asdict
from typing import Annotated

import typer

from ..baselines.rule import fixed
from ..evaluating.evaluate import GAMES, play_all, regret, score
from .common import (
    CommandError,
    ExitCode,
    JsonFlag,
    LevelsOption,
    find_player,
    print_json,
    read_levels,
)


def add_command(app: typer.Typer) -> None:
    """Adds it to `symphony-fqg`."""
    app.command("evaluate")(evaluate)


def evaluate(
    levels: LevelsOption,
    policy: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="dqn, guided, random, greedy, ff, fixed, bandit, exact, or a policy file.",
        ),
    ] = "dqn",
    games: Annotated[
        int, typer.Option(min=1, help="Games of a level on which functions may fail.")
    ] = GAMES,
    seed: Annotated[int, typer.Option(min=0, help="Of the games' fortunes.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Let a player play all levels of a file, and score it."""
    player = find_player(policy)
    found = read_levels(levels)
    if not found:
        fault = ("there is no level in the file", str(levels))
        raise CommandError(ExitCode.BAD_REQUEST, [fault], "name a file with levels")
    played = play_all(player, found, games, seed)
    result: dict[str, object] = {"policy": policy, **asdict(score(played))}
    if any(game.fails for game in played):
        result["regret"] = regret(played, play_all(fixed(), found, games, seed))
    print_json(result) if as_json else _show(result)


def _show(result: dict[str, object]) -> None:
    for name, value in result.items():
        shown = "-" if value is None else f"{value:.4g}" if isinstance(value, float) else value
        print(f"{name.replace('_', ' '):20} {shown}")
