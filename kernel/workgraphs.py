"""What is done in a workflow of another program, and after what; with the checks of such files.

Every fault is collected with its place, so that all of them are told at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from .circles import circles
from .document import MAX_FAULTS
from .errors import Problem, Problems
from .melody import MAX_STEPS
from .structure import shown

MAX_EDGES: Final = 400_000  # a larger one would be no file that can be played
LONGEST_S: Final = 300_000.0  # of a task: a step may take half as much again

Form = Literal["workflow", "wfformat", "calls", "tools"]


@dataclass(frozen=True)
class Task:
    """One thing that is done."""

    name: str
    seconds: float
    after: tuple[int, ...]  # places of the tasks that it waits for


@dataclass(frozen=True)
class WorkGraph:
    """One workflow or graph, without circles."""

    name: str
    form: Form
    tasks: tuple[Task, ...]
    links: int  # that the file has
    left_out: tuple[tuple[str, str], ...] = ()  # source and target of links that led back


class Faults:
    """Collects what is wrong with one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: list[Problem] = []

    def add(self, place: str, message: str, remedy: str) -> None:
        if len(self._found) < MAX_FAULTS:
            self._found.append(Problem(message, f"{self._path}:{place}", remedy))

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        if self._found:
            raise Problems(self._found)


def rows_of(value: object, place: str, faults: Faults) -> list[Any]:
    if not isinstance(value, list) or not value:
        found = "an empty one" if value == [] else shown(value)
        faults.add(place, f"must be a list of at least one, not {found}", "add what is done")
    elif len(value) > MAX_STEPS:
        message = f"a Melody has at most {MAX_STEPS} steps, this has {len(value)}"
        faults.add(place, message, "split it into several files")
    else:
        return value
    return []


def name_of(value: object, place: str, faults: Faults) -> str:
    if isinstance(value, str) and value:
        if not any("\ud800" <= letter <= "\udfff" for letter in value):
            return value
        faults.add(place, "the name has half of a surrogate pair", "write whole characters")
        return ""
    faults.add(place, f"a name is needed, not {shown(value)}", "write a text that is not empty")
    return ""


def seconds_of(value: object, scale: float, place: str, faults: Faults) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        faults.add(place, f"must be a number of seconds, not {shown(value)}", "write a number")
    elif isinstance(value, float) and not math.isfinite(value):
        faults.add(place, f"the duration {value} is not finite", "write an ordinary number")
    elif value < 0:
        faults.add(place, f"the duration {shown(value)} is negative", "write 0 or more")
    elif value > LONGEST_S / scale:
        message = f"{shown(value)} s, times {scale:g}, are more than {LONGEST_S:g} s"
        faults.add(place, message, "choose a smaller scale")
    else:
        return float(value) * scale
    return 0.0


def places_of(value: object, own: int, count: int, place: str, faults: Faults) -> tuple[int, ...]:
    if not isinstance(value, list):
        faults.add(place, f"must be a list of places, not {shown(value)}", "write [] for none")
        return ()
    for at, parent in enumerate(value):
        where = f"{place}[{at}]"
        if isinstance(parent, bool) or not isinstance(parent, int) or not 0 <= parent < count:
            message = f"there is no task {shown(parent)}"
            faults.add(where, message, f"places go from 0 to {count - 1}")
        elif parent == own:
            faults.add(where, f"task {own} waits for itself", "take that out")
    wanted = (p for p in value if isinstance(p, int) and 0 <= p < count and p != own)
    return tuple(dict.fromkeys(wanted))


def check_sizes(value: object, parents: object, place: str, faults: Faults) -> None:
    """Bytes are not played; a file in which they do not fit is not what it seems to be."""
    if not isinstance(value, list) or (isinstance(parents, list) and len(value) != len(parents)):
        faults.add(place, "there must be as many sizes as parents", "write one for each, or none")
        return
    for at, size in enumerate(value):
        if isinstance(size, bool) or not isinstance(size, int | float) or not 0 <= size < math.inf:
            message = f"must be a number of bytes, not {shown(size)}"
            faults.add(f"{place}[{at}]", message, "write 0 or more")


def count_edges(tasks: Iterable[Task]) -> int:
    return sum(len(task.after) for task in tasks)


def acyclic(graph: WorkGraph, place: str, faults: Faults) -> WorkGraph:
    if graph.links > MAX_EDGES:
        message = f"a Melody has at most {MAX_EDGES} dependencies, this has {graph.links}"
        faults.add(place, message, "split it into several files")
    else:
        waits = {at: set(task.after) for at, task in enumerate(graph.tasks)}
        for ring in circles(waits):
            named = " → ".join(f"{at} ({graph.tasks[at].name})" for at in [*ring, ring[0]])
            message = f"tasks wait for each other in a circle: {named}"
            faults.add(f"{place}[{ring[0]}]", message, "each waits for the next: break the circle")
    return graph
