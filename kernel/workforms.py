"""The forms in which workflows and tool graphs come; each is JSON.

- *workflow*: a recorded run, `{"name"?, "tasks": [[name, seconds, [parent…], [bytes…]?]…]}`, where
  parents are places in the list. Names may be alike.
- *wfformat*: the same as WfCommons writes it (1.3 to 1.6): `{"name", "workflow": {"specification":
  {"tasks": [{"id", "name", "parents": [id…]}…]}, "execution": {"tasks": [{"id",
  "runtimeInSeconds"}…]}}}`, or before 1.5 all that is known of a task in `workflow.tasks`.
- *calls*: sequences of calls, `[{"id", "steps": [{"function", "deps": [place…]}…]}…]` (NESTFUL).
- *tools*: what may feed what, `{"nodes": [{"id"}…], "links": [{"source", "target"}…]?}`
  (TaskBench). Such a graph may lead back to where it came from, and nothing can be played in a
  circle: links that lead back are left out, as few as a greedy order finds (Eades, Lin, Smyth,
  IPL 47, 1993).
"""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any, Final, cast

from .structure import shown
from .workgraphs import (
    MAX_EDGES,
    Faults,
    Task,
    WorkGraph,
    acyclic,
    check_sizes,
    count_edges,
    name_of,
    places_of,
    rows_of,
    seconds_of,
)

UNREAD: Final = Task("", 0.0, ())  # keeps the place of what is told as a fault


def workflow(data: dict[str, Any], path: Path, scale: float, faults: Faults) -> WorkGraph:
    """A recorded run, compact."""
    rows = rows_of(data["tasks"], "tasks", faults)
    if "n" in data and data["n"] != len(rows):
        message = f"it says that it has {shown(data['n'])} tasks, and has {len(rows)}"
        faults.add("n", message, "get the whole file")
    tasks = []
    for at, row in enumerate(rows):
        place = f"tasks[{at}]"
        if not isinstance(row, list) or not 3 <= len(row) <= 4:
            remedy = "write [name, seconds, [parents], [bytes]]"
            faults.add(place, f"a task is a list of 3 or 4, not {shown(row)}", remedy)
            tasks.append(UNREAD)
            continue
        name = name_of(row[0], f"{place}[0]", faults)
        seconds = seconds_of(row[1], scale, f"{place}[1]", faults)
        parents = places_of(row[2], at, len(rows), f"{place}[2]", faults)
        if len(row) == 4:
            check_sizes(row[3], row[2], f"{place}[3]", faults)
        tasks.append(Task(name, seconds, parents))
    name = name_of(data["name"], "name", faults) if "name" in data else _stem(path)
    return acyclic(WorkGraph(name, "workflow", tuple(tasks), count_edges(tasks)), "tasks", faults)


def wfformat(data: dict[str, Any], path: Path, scale: float, faults: Faults) -> WorkGraph:
    """A recorded run as WfCommons writes it."""
    whole = data["workflow"]
    old = "specification" not in whole  # before 1.5
    base = "workflow.tasks" if old else "workflow.specification.tasks"
    rows = rows_of(_entry(whole if old else whole["specification"], "tasks"), base, faults)
    place_of: dict[str, int] = {}
    names: list[str] = []
    for at, row in enumerate(rows):
        name, own = _entry(row, "name"), _entry(row, "id")
        own = name_of(name if own is None else own, f"{base}[{at}].id", faults)
        names.append(own if name is None else name_of(name, f"{base}[{at}].name", faults))
        if own and place_of.setdefault(own, at) != at:
            message = f"the task {shown(own)} is there twice"
            faults.add(f"{base}[{at}].id", message, "give every task an id of its own")
    ids = dict(place_of)
    for at, name in enumerate(names):  # until 1.4 parents could be named
        place_of.setdefault(name, at)
    seconds = [0.0] * len(rows)
    ran = "workflow.tasks" if old else "workflow.execution.tasks"
    records = rows if old else _entry(whole.get("execution"), "tasks")
    if records is not None and not isinstance(records, list):
        faults.add(ran, f"must be a list, not {shown(records)}", "write what each task took")
        records = None
    for at, row in enumerate(records or []):
        took, task = _entry(row, "runtimeInSeconds"), at if old else _place(ids, _entry(row, "id"))
        if task is None:
            message = f"there is no task {shown(_entry(row, 'id'))}"
            faults.add(f"{ran}[{at}].id", message, "name the id of a task that is specified")
        elif took is not None:
            seconds[task] = seconds_of(took, scale, f"{ran}[{at}].runtimeInSeconds", faults)
    tasks = []
    for at, row in enumerate(rows):
        place = f"{base}[{at}].parents"
        parents = _entry(row, "parents")
        known = parents if isinstance(parents, list) else []
        if parents is not None and not isinstance(parents, list):
            faults.add(place, f"must be a list of ids, not {shown(parents)}", "write [] for none")
        for number, parent in enumerate(known):
            if _place(place_of, parent) is None:
                message = f"there is no task {shown(parent)}"
                faults.add(f"{place}[{number}]", message, "name the id of a task")
        found = (_place(place_of, parent) for parent in known)
        places = [parent for parent in found if parent is not None]
        tasks.append(Task(names[at], seconds[at], places_of(places, at, len(rows), place, faults)))
    name = name_of(data["name"], "name", faults) if "name" in data else _stem(path)
    return acyclic(WorkGraph(name, "wfformat", tuple(tasks), count_edges(tasks)), base, faults)


def calls(entry: object, number: int, faults: Faults) -> WorkGraph:
    """One sequence of calls; it stands at that place of its file."""
    tasks = []
    name, base = "", f"[{number}]"
    if not isinstance(entry, dict):
        remedy = 'write {"id": ..., "steps": [...]}'
        faults.add(base, f"a sequence of calls is a table, not {shown(entry)}", remedy)
        return WorkGraph(name, "calls", (), 0)
    name = name_of(entry.get("id"), f"{base}.id", faults)
    rows = rows_of(entry.get("steps"), f"{base}.steps", faults)
    for at, row in enumerate(rows):
        place = f"{base}.steps[{at}]"
        if not isinstance(row, dict):
            remedy = 'write {"function": ..., "deps": [...]}'
            faults.add(place, f"a call is a table, not {shown(row)}", remedy)
            tasks.append(UNREAD)
            continue
        function = name_of(row.get("function"), f"{place}.function", faults)
        after = places_of(row.get("deps", []), at, len(rows), f"{place}.deps", faults)
        tasks.append(Task(function, 0.0, after))
    graph = WorkGraph(name, "calls", tuple(tasks), count_edges(tasks))
    return acyclic(graph, f"{base}.steps", faults)


def tools(data: dict[str, Any], path: Path, faults: Faults) -> WorkGraph:
    """What may feed what, without the links that lead back."""
    place_of: dict[str, int] = {}
    for at, node in enumerate(rows_of(data["nodes"], "nodes", faults)):
        place = f"nodes[{at}].id"
        name = name_of(node.get("id") if isinstance(node, dict) else None, place, faults)
        if name and place_of.setdefault(name, at) != at:
            message = f"the tool {shown(name)} is there twice"
            faults.add(place, message, "give every tool an id of its own")
    links: dict[tuple[str, str], None] = {}
    rows = data.get("links", [])
    for at, link in enumerate(rows if isinstance(rows, list) else []):
        ends = [link.get(key) if isinstance(link, dict) else None for key in ("source", "target")]
        for key, end in zip(("source", "target"), ends, strict=True):
            if not isinstance(end, str) or end not in place_of:
                message = f"there is no tool {shown(end)}"
                faults.add(f"links[{at}].{key}", message, "name the id of a node")
        if all(isinstance(end, str) for end in ends):
            links[cast(tuple[str, str], tuple(ends))] = None
    if not isinstance(rows, list) or len(rows) > MAX_EDGES:
        what = f"a list of at most {MAX_EDGES} links"
        faults.add("links", f"must be {what}", "split the graph")
    if len(faults):
        return WorkGraph("", "tools", (), 0)
    order = {name: at for at, name in enumerate(_greedy_order(list(place_of), list(links)))}
    forward = {(a, b): order[a] < order[b] for a, b in links}
    after: dict[str, list[int]] = {name: [] for name in place_of}
    for (source, target), leads_on in forward.items():
        if leads_on:
            after[target].append(place_of[source])
    tasks = tuple(Task(name, 0.0, tuple(after[name])) for name in place_of)
    left_out = tuple(link for link, leads_on in forward.items() if not leads_on)
    return WorkGraph(_stem(path), "tools", tasks, len(links), left_out)


def _entry(value: object, key: str) -> Any:
    """What a table has there; None where it is no table or has nothing."""
    return value.get(key) if isinstance(value, dict) else None


def _place(places: dict[str, int], name: object) -> int | None:
    return places.get(name) if isinstance(name, str) else None


def _stem(path: Path) -> str:
    """Of a file without a name inside; its folder is named because such files are called alike."""
    path = path.absolute()
    return f"{path.parent.name}-{path.name.partition('.')[0]}"


def _greedy_order(nodes: list[str], links: list[tuple[str, str]]) -> list[str]:
    """An order in which few links lead back, and none where there is no circle."""
    onward: dict[str, set[str]] = {node: set() for node in nodes}
    back: dict[str, set[str]] = {node: set() for node in nodes}
    for source, target in links:
        if source != target:
            onward[source].add(target)
            back[target].add(source)
    place = {node: at for at, node in enumerate(nodes)}
    first: list[str] = []
    last: list[str] = []
    left = set(nodes)

    def entry(node: str) -> tuple[int, int, int, str]:
        """Sources and sinks before all others, then what leads on most."""
        free = 0 if not back[node] else 1 if not onward[node] else 2
        return free, len(back[node]) - len(onward[node]), place[node], node

    heap = [entry(node) for node in nodes]
    heapq.heapify(heap)
    while heap:
        was = heapq.heappop(heap)
        node = was[-1]
        if node not in left or was != entry(node):
            continue  # an entry made since then counts
        left.discard(node)
        (last if back[node] and not onward[node] else first).append(node)
        for near, of in ((onward[node], back), (back[node], onward)):
            for other in near:
                of[other].discard(node)
                heapq.heappush(heap, entry(other))
    return first + last[::-1]
