"""`symphony-kernel import`: workflows and tool graphs of other programs as Melodies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..errors import Problem, Problems
from .common import JsonFlag, out_folder, print_json

if TYPE_CHECKING:
    from ..importing import Imports

MOST_SCALE: Final = 1e6


def add_command(app: typer.Typer) -> None:
    """Adds it to `symphony-kernel`."""
    app.command(
        "import",
        epilog="Examples: symphony-kernel import montage.json.gz --scale 0.01 --out melodies | "
        "symphony-kernel import tools/graph_desc.json --out melodies --json",
    )(import_)


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="JSON, or JSON in .gz: a workflow (also of WfCommons), calls, or a graph of "
            "tools (nodes, links).",
        ),
    ],
    out: Annotated[str, typer.Option("--out", "-o", metavar="DIR", help="Folder for Melodies.")],
    scale: Annotated[
        float, typer.Option(metavar="FACTOR", help="What durations are multiplied by.")
    ] = 1.0,
    as_json: JsonFlag = False,
) -> None:
    """Make Melodies of recorded workflows or of tool graphs: their steps wait as long as the
    original took (capability time.wait/1) and depend on each other as there."""
    from ..importing import import_melodies
    from ..plays import require_writable
    from . import render

    if not 0 < scale <= MOST_SCALE:
        message = f"the scale {scale:g} is no factor of durations"
        raise Problems([Problem(message, "--scale", "give a number above 0, such as 0.001")])
    folder = out_folder(out)
    require_writable(folder)
    assert folder is not None  # noqa: S101 - the option is required
    found = import_melodies(file, folder, scale)
    for one in found.melodies:
        if one.form == "tools" and one.steps > 1 and not one.links:
            render.tell(
                f"note: {one.name} has {one.steps} steps that do not wait for each other: the file "
                "names tools and no links; what may feed what stands in a file with links "
                "(graph_desc.json beside a tool_desc.json)"
            )
    print_json(found) if as_json else _show(found)


def _show(found: Imports) -> None:
    from rich.table import Table

    from ..plaintext import one_line
    from .render import console

    table = Table("melody", "form", "steps", "links", "left out", "work (s)", "file", box=None)
    for one in found.melodies:
        numbers = (one.steps, one.links, one.left_out)
        table.add_row(one.name, one.form, *map(str, numbers), f"{one.work_s:g}", one_line(one.path))
    console().print(table)
