"""The command `symphony-kernel artifacts`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import Problem, Problems
from .common import HomeOption, JsonFlag, find_places, print_json

app = typer.Typer(help="Artifacts of this home.", no_args_is_help=True, rich_markup_mode=None)
LONG_S = 3600.0  # for one answer
NAMED = "A reference, the beginning of one, a file name, or NAME@VERSION."
Wanted = Annotated[str, typer.Argument(metavar="REF", help=NAMED)]


class Way(StrEnum):
    """In which direction the lineage is followed."""

    BOTH = "both"
    INPUTS = "inputs"
    OUTPUTS = "outputs"


@app.command(
    "list",
    epilog="Examples: symphony-kernel artifacts list --name backlog.csv | "
    "symphony-kernel artifacts list --archived",
)
def artifacts_list(
    name: Annotated[str | None, typer.Option(help="Only of this file name.")] = None,
    run: Annotated[str | None, typer.Option(help="Only of this run.")] = None,
    step: Annotated[str | None, typer.Option(help="Only of this step.")] = None,
    player: Annotated[str | None, typer.Option(help="Only of this player.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    only_archived: Annotated[
        bool, typer.Option("--archived", help="Those that only the archive has.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """The newest artifacts."""
    from .. import archived, queries
    from . import renderstore
    from .session import query

    if only_archived:
        if step or player:
            option = "--step" if step else "--player"
            remedy = "leave it out; --name and --run go with it"
            raise Problems([Problem("this does not go with --archived", option, remedy)])
        away = query(find_places(home), lambda s: archived.archived(s.ask, limit, run, name))
        print_json(away) if as_json else renderstore.archived(away)
        return

    asked = {"name": name, "run": run, "step": step, "player": player}
    filters = {key: value for key, value in asked.items() if value is not None}
    found = query(find_places(home), lambda s: queries.artifacts(s.ask, limit, filters))
    print_json(found) if as_json else renderstore.artifacts(found)


@app.command("show", epilog="Example: symphony-kernel artifacts show backlog.csv --json")
def artifacts_show(
    artifact: Wanted,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """One artifact: what it is, who made it, from what."""
    from .. import queries
    from . import render
    from .session import query

    found = query(find_places(home), lambda s: queries.resolve(s.ask, artifact))
    print_json(found) if as_json else render.artifacts([found])


@app.command("get", epilog="Example: symphony-kernel artifacts get backlog.csv --out backlog.csv")
def artifacts_get(
    artifact: Wanted,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Where to write it; a file goes to stdout without.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Get an artifact: a file to stdout or --out, a folder to --out."""
    from .fetch import fetch
    from .session import query

    if out is None and as_json:
        help_ = "add --out PATH"
        raise Problems([Problem("--json needs a place for the content", "--json", help_)])
    places = find_places(home)
    found = query(places, lambda s: fetch(s.ask, places, artifact, out))
    if as_json:
        print_json(found)


@app.command(
    "diff",
    epilog="Examples: symphony-kernel artifacts diff notes.md@1 notes.md | "
    "symphony-kernel artifacts diff blake3:8e4c7c blake3:0d12f3 --context 0",
)
def artifacts_diff(
    first: Annotated[str, typer.Argument(metavar="A", help=NAMED)],
    second: Annotated[str, typer.Argument(metavar="B", help=NAMED)],
    context: Annotated[int, typer.Option(min=0, max=1000, help="Lines around each change.")] = 3,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """What lines differ between two texts, as a unified diff."""
    from .. import storequeries
    from . import renderstore
    from .session import query

    found = query(find_places(home), lambda s: storequeries.diff(s.ask, first, second, context))
    print_json(found) if as_json else renderstore.diff(found)


@app.command(
    "lineage",
    epilog="Examples: symphony-kernel artifacts lineage source_files --way inputs | "
    "symphony-kernel artifacts lineage backlog.csv --openlineage > events.jsonl",
)
def artifacts_lineage(
    artifact: Wanted,
    depth: Annotated[int, typer.Option(min=0, max=100, help="How many makings away.")] = 10,
    way: Annotated[Way, typer.Option(help="What it was made from, what from it.")] = Way.BOTH,
    openlineage: Annotated[
        bool, typer.Option("--openlineage", help="OpenLineage events, a JSON line each.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """What an artifact was made from, by whom, and what was made from it."""
    from .. import storequeries
    from . import renderstore
    from .session import query

    places = find_places(home)
    if openlineage:
        asked = query(places, lambda s: storequeries.openlineage(s.ask, artifact, depth, way.value))
        renderstore.openlineage(*asked)
        return
    found = query(places, lambda s: storequeries.lineage(s.ask, artifact, depth, way.value))
    print_json(found) if as_json else renderstore.lineage(found)


@app.command(
    "search",
    epilog="Examples: symphony-kernel artifacts search 'sqlite store' --quality 700 | "
    "symphony-kernel artifacts search --tag release --player generate-code --json",
)
def artifacts_search(
    text: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", help="Words that all stand in it.", show_default=False),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only of this file name.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    player: Annotated[str | None, typer.Option(help="Only made by this player.")] = None,
    quality: Annotated[
        int | None, typer.Option(min=0, max=1000, help="Only of at least this quality.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 20,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Artifacts by what stands in them, name, tag, player and quality; all must fit."""
    from .. import storequeries
    from . import renderstore
    from .session import query

    asked = {"text": text, "name": name, "tag": tag, "player": player, "quality": quality}
    wanted = {key: value for key, value in asked.items() if value is not None}
    if not wanted:
        remedy = "give words, --name, --tag, --player or --quality; `artifacts list` has them all"
        raise Problems([Problem("nothing to search for", "command line", remedy)])
    found = query(find_places(home), lambda s: storequeries.search(s.ask, wanted, limit), LONG_S)
    print_json(found) if as_json else renderstore.search(found)


@app.command(
    "verify",
    epilog="Examples: symphony-kernel artifacts verify | "
    "symphony-kernel artifacts verify backlog.csv source_files --json",
)
def artifacts_verify(
    artifacts: Annotated[
        list[str] | None, typer.Argument(metavar="[REF]...", help=NAMED, show_default=False)
    ] = None,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Read artifacts back and check their hashes; without a name all, and the audit trail too.

    What is damaged is named, and the exit code is 6.
    """
    from .. import storequeries
    from . import renderstore
    from .session import query

    places = find_places(home)
    with renderstore.reading() as progress:
        found = query(
            places,
            lambda s: (
                storequeries.verify_some(s.ask, artifacts, progress)
                if artifacts
                else storequeries.verify(s.ask, progress)
            ),
            LONG_S,
        )
    print_json(found) if as_json else renderstore.verified(found)


@app.command("audit", epilog="Example: symphony-kernel artifacts audit --after 1200 --json")
def artifacts_audit(
    after: Annotated[int, typer.Option(min=0, help="From behind this record on.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 1000,
    home: HomeOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Who read or wrote what, when: a chain of records in which no change stays unseen."""
    from .. import storequeries
    from . import renderstore
    from .session import query

    found = query(find_places(home), lambda s: storequeries.audit(s.ask, after, limit), LONG_S)
    print_json(found) if as_json else renderstore.audit(found)
