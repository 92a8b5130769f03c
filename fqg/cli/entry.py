"""`symphony-fqg`: the game, its levels and players at the command line."""

import typer

from . import evaluate, generate, play, report, solve, train
from .common import execute

app = typer.Typer(
    help="Function Quest: play, make, solve and score levels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (play, generate, solve, evaluate, train, report):
    command.add_command(app)


def main() -> None:
    """The program."""
    raise SystemExit(execute(app, "symphony-fqg"))


if __name__ == "__main__":
    main()
