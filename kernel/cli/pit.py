"""The commands `symphony-kernel pool`, `budget` and `why`."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import HomeOption, JsonFlag, find_places, print_json

pool_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


def add_commands(app: typer.Typer) -> None:
    """Adds them to `symphony-kernel`."""
    app.add_typer(pool_app, name="pool")
    app.command(
        epilog="Examples: symphony-kernel budget | symphony-kernel budget --tenant research --json"
    )(budget)
    app.command(epilog="Example: symphony-kernel why g17")(why)


@pool_app.callback(
    epilog="Examples: symphony-kernel pool --json | symphony-kernel pool drain word-count"
)
def pool(context: typer.Context, home: HomeOption = None, as_json: JsonFlag = False) -> None:
    """Players' processes: which are warm, which are at work, how often one was ready."""
    if context.invoked_subcommand is not None:
        return
    from ..pit import questions
    from . import renderpit
    from .session import query

    found = query(find_places(home), lambda s: questions.pool(s.ask))
    print_json(found) if as_json else renderpit.pool(found)


@pool_app.command(
    "drain", epilog="Example: symphony-kernel pool drain word-count-12 --home /srv/symphony"
)
def pool_drain(
    name: Annotated[
        str, typer.Argument(metavar="INSTANCE|PLAYER", help="A process, or all of a player's.")
    ],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Let a player's process end what it does and take nothing new; others are started instead."""
    from ..pit import questions
    from .session import query

    found = query(find_places(home), lambda s: questions.drain(s.ask, name))
    print_json(found) if as_json else print(f"draining: {' '.join(found.instances)}")


def budget(
    run: Annotated[str | None, typer.Option(help="Only this run's.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """What was spent of each budget, who waits for what, and how evenly it was shared."""
    from ..pit import questions
    from . import renderpit
    from .session import query

    found = query(find_places(home), lambda s: questions.budget(s.ask, run, tenant))
    print_json(found) if as_json else renderpit.budget(found)


def why(
    grant: Annotated[str, typer.Argument(metavar="GRANT", help="As in step.started, e.g. g17.")],
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Why something was granted: inputs, strategy, scores, who waited and why."""
    from ..pit import questions
    from . import renderpit
    from .session import query

    found = query(find_places(home), lambda s: questions.why(s.ask, grant))
    print_json(found) if as_json else renderpit.why(found)
