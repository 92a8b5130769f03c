"""From a file of another program to Melodies in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from .melodywriter import melody_name, melody_text
from .space import naming
from .workfiles import load_work_graphs
from .workgraphs import Form

SUFFIX: Final = ".melody.toml"


class Imported(Struct, frozen=True, kw_only=True):
    """One Melody that was written."""

    path: Annotated[str, Meta(description="the file")]
    name: Annotated[str, Meta(description="name of the Melody")]
    form: Annotated[Form, Meta(description="what it was")]
    steps: Annotated[int, Meta(description="how many steps it has")]
    links: Annotated[int, Meta(description="dependencies that the source has")]
    left_out: Annotated[int, Meta(description="of them: those that lead back, and are left out")]
    work_s: Annotated[float, Meta(description="seconds that all of its steps take together")]


class Imports(Struct, frozen=True, kw_only=True):
    """Answer of `import --json`."""

    melodies: Annotated[list[Imported], Meta(description="in the order of the file")]


def import_melodies(file: Path, folder: Path, scale: float) -> Imports:
    """Writes every graph of the file as a Melody. Raises `Problems` before anything is written."""
    graphs = load_work_graphs(file, scale)
    texts = [melody_text(graph) for graph in graphs]
    taken: set[Path] = set()
    found = []
    for graph, text in zip(graphs, texts, strict=True):
        name = melody_name(graph)
        path, number = folder / f"{name}{SUFFIX}", 1
        while path in taken:
            number += 1
            path = folder / f"{name}-{number}{SUFFIX}"
        taken.add(path)
        with naming(path):
            path.write_text(text, encoding="utf-8")
        found.append(
            Imported(
                path=str(path),
                name=name,
                form=graph.form,
                steps=len(graph.tasks),
                links=graph.links,
                left_out=len(graph.left_out),
                work_s=round(sum(task.seconds for task in graph.tasks), 6),
            )
        )
    return Imports(melodies=found)
