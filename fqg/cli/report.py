"""`symphony-fqg report`: players side by side on files of levels, as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from ..evaluating.evaluate import GAMES, play_all
from ..evaluating.report import CURVES, html
from .common import CommandError, ExitCode, find_player, read_levels

PLAYERS = ("dqn", "guided", "random", "greedy", "ff", "fixed")


def add_command(app: typer.Typer) -> None:
    """Adds it to `symphony-fqg`."""
    app.command("report")(report)


def report(
    levels: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of levels.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page.")] = Path("report.html"),
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A player or policy file; may be repeated."),
    ] = None,
    games: Annotated[int, typer.Option(min=1, help="Of a level where functions fail.")] = GAMES,
    seed: Annotated[int, typer.Option(min=0, help="Of the games' fortunes.")] = 0,
    training: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Of a training, for its curves.")
    ] = None,
) -> None:
    """Let players play files of levels, and write how they did."""
    if training is not None and not (training / CURVES).is_file():
        fault = ("this training has left no scores", str(training / CURVES))
        raise CommandError(ExitCode.BAD_REQUEST, [fault], "name a folder of `symphony-fqg train`")
    players = {name: find_player(name) for name in policy or PLAYERS}
    sets = {str(path): read_levels(path) for path in levels}
    for path, found in sets.items():
        if not found:
            fault = ("there is no level in the file", path)
            raise CommandError(ExitCode.BAD_REQUEST, [fault], "name files with levels")
    played = {
        path: {name: play_all(player, found, games, seed) for name, player in players.items()}
        for path, found in sets.items()
    }
    out.write_text(html(played, training=training), encoding="utf-8")
    print(out)
