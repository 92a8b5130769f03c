"""A graph of work as a Melody of steps that only wait: for rehearsals, tests and benchmarks.

Each task becomes a step of `time.wait/1` that takes the task's time, after the steps of the tasks
that it waits for.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Final

from .document import MAX_BYTES
from .errors import Problem, Problems
from .workgraphs import Task, WorkGraph

CAPABILITY: Final = "time.wait/1"
USUAL_TIMEOUT_S: Final = 600.0  # of a step that says nothing else
_MOST_OF_AN_ID: Final = 40  # characters of a task's name
_OTHER = re.compile("[^a-z0-9]+")


def melody_name(graph: WorkGraph) -> str:
    """The graph's name as a Melody may be called."""
    return _slug(graph.name, 64) or "work"


def melody_text(graph: WorkGraph) -> str:
    """The whole file. Raises `Problems` if it were too large to be read again."""
    ids = step_ids(graph)
    lines = [
        "[melody]",
        f"name = {_text(melody_name(graph))}",
        'version = "1.0.0"',
        f"description = {_text(_description(graph))}",
    ]
    for number, task in enumerate(graph.tasks):
        lines += _step(ids, number, task)
    text = "\n".join([*lines, ""])
    if (size := len(text.encode())) > MAX_BYTES:
        message = f"it would be a Melody of {size} bytes, and one has at most {MAX_BYTES}"
        raise Problems([Problem(message, graph.name, "split the workflow")])
    return text


def step_ids(graph: WorkGraph) -> list[str]:
    """An id for every task: its name, numbered where it is not the only one of that name."""
    slugs = [_slug(task.name, _MOST_OF_AN_ID) or "task" for task in graph.tasks]
    count, taken = Counter(slugs), set(slugs)
    seen: Counter[str] = Counter()
    ids = []
    for slug in slugs:
        if count[slug] == 1:
            ids.append(slug)
            continue
        seen[slug] += 1
        while f"{slug}-{seen[slug]}" in taken:
            seen[slug] += 1
        ids.append(f"{slug}-{seen[slug]}")
    return ids


def _description(graph: WorkGraph) -> str:
    recorded = "A recorded workflow"
    what = {"calls": "A sequence of calls", "tools": "Tools"}.get(graph.form, recorded)
    left = f"; {len(graph.left_out)} links that lead back are left out" if graph.left_out else ""
    return f"{what} ({graph.name}) as steps that only wait{left}."


def _step(ids: list[str], number: int, task: Task) -> list[str]:
    ms = _number(task.seconds * 1000)
    inputs = [f"ms = {ms}"] if task.seconds else []
    if _slug(task.name, _MOST_OF_AN_ID) != task.name.lower():
        literal = f"${task.name}" if task.name.startswith("$") else task.name
        inputs.append(f"stands_for = {_text(literal)}")
    lines = ["", "[[steps]]", f'id = "{ids[number]}"', f'capability = "{CAPABILITY}"']
    if inputs:
        lines.append(f"inputs = {{ {', '.join(inputs)} }}")
    if task.after:
        lines.append(f"after = {json.dumps([ids[parent] for parent in task.after])}")
    lines.append(f"estimate_s = {_number(task.seconds)}")
    if 1.5 * task.seconds > USUAL_TIMEOUT_S:
        lines.append(f"timeout_s = {_number(2 * task.seconds)}")
    return lines


def _number(value: float) -> str:
    """As TOML writes it, to the microsecond."""
    return f"{round(value, 6):.6f}".rstrip("0").removesuffix(".") or "0"


def _slug(name: str, most: int) -> str:
    return _OTHER.sub("-", name.lower()).lstrip("-0123456789")[:most].strip("-")


def _text(value: str) -> str:
    """As TOML writes a text: as JSON does, but for the character 127."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
