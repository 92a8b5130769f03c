"""Workflows and tool graphs of other programs as Melodies, and every fault of a bad one at once."""

from __future__ import annotations

import gzip
import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symphony.kernel.bindings import Literal
from symphony.kernel.errors import ExitCode, Problem, Problems
from symphony.kernel.importing import import_melodies
from symphony.kernel.kit import Kit, load_kit
from symphony.kernel.melody import MAX_STEPS, load_melody
from symphony.kernel.melodywriter import step_ids
from symphony.kernel.workfiles import load_work_graphs
from symphony.kernel.workgraphs import LONGEST_S

FORK: dict[str, Any] = {
    "name": "Fork & Join",
    "n": 4,
    "columns": ["name", "runtime_s", "parents(idx)", "bytes_from_parent"],
    "tasks": [
        ["join_ID4", 0.25, [1, 2], [10, 20]],
        ["work", 1500.5, [3], [5]],
        ["work", 2, [3], [5]],
        ["split", 0.0, [], []],
    ],
}
CALLS = [
    {"id": "trip-1", "steps": [{"function": "Find Flight", "params": ["to"]}]},
    {
        "id": "trip-1",
        "steps": [
            {"function": "Find Flight", "deps": []},
            {"function": "Find Flight", "deps": [0]},
            {"function": "book", "deps": [0, 1, 0]},
        ],
    },
]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return load_kit(tmp_path_factory.mktemp("home"))


def written(folder: Path, data: object, name: str = "source.json") -> Path:
    path = folder / name
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def steps(path: str) -> list[dict[str, Any]]:
    data = tomllib.loads(Path(path).read_text())
    found: list[dict[str, Any]] = data["steps"]
    return found


def faults(folder: Path, data: object, scale: float = 1.0) -> list[tuple[str, str]]:
    """Place and message of each fault; nothing may have been written."""
    path = written(folder, data)
    with pytest.raises(Problems) as caught:
        import_melodies(path, folder, scale)
    assert caught.value.code is ExitCode.BAD_REQUEST
    assert list(folder.glob("*.toml")) == []
    for problem in caught.value.problems:
        assert problem.where
        assert problem.where.startswith(str(path))
        assert problem.help
    return [
        (str(problem.where).removeprefix(f"{path}").lstrip(":"), problem.message)
        for problem in caught.value.problems
    ]


@pytest.mark.parametrize("name", ["w.json", "w.json.gz"])
def test_a_workflow_becomes_steps_that_wait_as_it_did(tmp_path: Path, kit: Kit, name: str) -> None:
    (one,) = import_melodies(written(tmp_path, FORK, name), tmp_path, 0.1).melodies
    assert (one.name, one.form, one.steps, one.links) == ("fork-join", "workflow", 4, 4)
    assert one.work_s == 150.275
    assert steps(one.path) == [
        {
            "id": "join-id4",
            "capability": "time.wait/1",
            "inputs": {"ms": 25, "stands_for": "join_ID4"},
            "after": ["work-1", "work-2"],
            "estimate_s": 0.025,
        },
        {
            "id": "work-1",
            "capability": "time.wait/1",
            "inputs": {"ms": 15_005 * 10},
            "after": ["split"],
            "estimate_s": 150.05,
        },
        {
            "id": "work-2",
            "capability": "time.wait/1",
            "inputs": {"ms": 200},
            "after": ["split"],
            "estimate_s": 0.2,
        },
        {"id": "split", "capability": "time.wait/1", "estimate_s": 0},
    ]
    melody = load_melody(Path(one.path), kit)
    assert melody.plan()["join-id4"] == [("work-1", "soft"), ("work-2", "soft")]


def test_a_long_task_gets_the_time_that_it_needs(tmp_path: Path, kit: Kit) -> None:
    (one,) = import_melodies(written(tmp_path, FORK), tmp_path, 1.0).melodies
    melody = load_melody(Path(one.path), kit)
    assert melody.step["work-1"].timeout_s == 3001
    assert melody.step["work-2"].timeout_s == 600


def test_every_sequence_of_calls_becomes_a_melody(tmp_path: Path, kit: Kit) -> None:
    told = import_melodies(written(tmp_path, CALLS), tmp_path, 1.0).melodies
    assert [Path(one.path).name for one in told] == ["trip-1.melody.toml", "trip-1-2.melody.toml"]
    plan = load_melody(Path(told[1].path), kit).plan()
    assert plan == {
        "find-flight-1": [],
        "find-flight-2": [("find-flight-1", "soft")],
        "book": [("find-flight-1", "soft"), ("find-flight-2", "soft")],
    }
    assert steps(told[1].path)[0]["inputs"] == {"stands_for": "Find Flight"}


def wfformat(version: str, runtimes: list[Any], *parents: list[Any]) -> dict[str, Any]:
    """Tasks t0, t1 … as WfCommons writes them."""
    tasks = [{"id": f"t{at}", "name": "work", "parents": on} for at, on in enumerate(parents)]
    ran = [{"id": f"t{at}", "runtimeInSeconds": took} for at, took in enumerate(runtimes)]
    if version == "1.5":
        workflow = {"specification": {"tasks": tasks}, "execution": {"tasks": ran}}
    else:
        workflow = {"tasks": [{**task, **took} for task, took in zip(tasks, ran, strict=True)]}
    return {"name": "Montage run", "schemaVersion": version, "workflow": workflow}


@pytest.mark.parametrize("version", ["1.4", "1.5"])
def test_a_workflow_as_wfcommons_writes_it_is_read(tmp_path: Path, kit: Kit, version: str) -> None:
    data = wfformat(version, [1.5, 2, 0], ["t2", "t1"], [], ["t1"])
    (one,) = import_melodies(written(tmp_path, data), tmp_path, 2.0).melodies
    assert (one.name, one.form, one.links, one.work_s) == ("montage-run", "wfformat", 3, 7.0)
    assert load_melody(Path(one.path), kit).plan() == {
        "work-1": [("work-3", "soft"), ("work-2", "soft")],
        "work-2": [],
        "work-3": [("work-2", "soft")],
    }


def test_tasks_without_ids_or_times_are_read_by_their_names(tmp_path: Path) -> None:
    tasks = [{"name": "a", "type": "compute"}, {"name": "b", "parents": ["a"]}]
    (graph,) = load_work_graphs(written(tmp_path, {"workflow": {"tasks": tasks}}))
    assert [(task.name, task.seconds, task.after) for task in graph.tasks] == [
        ("a", 0.0, ()),
        ("b", 0.0, (0,)),
    ]
    named = [{"name": "x", "id": "1"}, {"name": "y", "id": "2", "parents": ["x"]}]
    (graph,) = load_work_graphs(written(tmp_path, {"workflow": {"tasks": named}}))
    assert graph.tasks[1].after == (0,)


def test_every_fault_of_a_wfcommons_workflow_is_told(tmp_path: Path) -> None:
    data = wfformat("1.5", [math.nan, "1", -1, 1], ["t9"], [3], ["t2"], "t0")  # type: ignore[arg-type]
    specification = data["workflow"]["specification"]["tasks"]
    specification += [{"id": "t0", "name": 7}, "no table"]
    data["workflow"]["execution"]["tasks"].append({"id": ["t1"]})
    assert [place for place, _ in faults(tmp_path, data)] == [
        "workflow.specification.tasks[4].name",
        "workflow.specification.tasks[4].id",
        "workflow.specification.tasks[5].id",
        "workflow.execution.tasks[0].runtimeInSeconds",
        "workflow.execution.tasks[1].runtimeInSeconds",
        "workflow.execution.tasks[2].runtimeInSeconds",
        "workflow.execution.tasks[4].id",
        "workflow.specification.tasks[0].parents[0]",
        "workflow.specification.tasks[1].parents[0]",
        "workflow.specification.tasks[2].parents[0]",
        "workflow.specification.tasks[3].parents",
    ]
    ring = wfformat("1.5", [1, 1], ["t1"], ["t0"])
    ((place, said),) = faults(tmp_path, ring)
    assert place == "workflow.specification.tasks[0]"
    assert said == "tasks wait for each other in a circle: 0 (work) → 1 (work) → 0 (work)"
    assert faults(tmp_path, {"workflow": {}})[0][0] == "workflow.tasks"
    data = wfformat("1.5", [1], [])
    data["workflow"]["execution"]["tasks"] = 7
    assert [place for place, _ in faults(tmp_path, data)] == ["workflow.execution.tasks"]


def tools(names: str, *links: str) -> dict[str, Any]:
    return {
        "nodes": [{"id": name} for name in names],
        "links": [{"source": link[0], "target": link[1], "type": "text"} for link in links],
    }


def test_a_graph_of_tools_keeps_every_link_that_leads_on(tmp_path: Path, kit: Kit) -> None:
    folder = tmp_path / "Multi Media"
    folder.mkdir()
    path = written(folder, tools("dcba", "ab", "bc", "ad", "cd"), "graph_desc.json")
    (one,) = import_melodies(path, tmp_path, 1.0).melodies
    assert (one.name, one.links, one.left_out) == ("multi-media-graph-desc", 4, 0)
    plan = load_melody(Path(one.path), kit).plan()
    waits = {step: {on for on, _ in them} for step, them in plan.items()}
    assert waits == {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"a", "c"}}


def test_links_that_lead_back_are_left_out_and_counted(tmp_path: Path, kit: Kit) -> None:
    links = [f"{a}{b}" for a in "abcdef" for b in "abcdef"]  # also from each to itself
    graph = tools("abcdef", *links)
    (found,) = load_work_graphs(written(tmp_path, graph))
    assert (found.links, len(found.left_out)) == (36, 21)
    assert ("a", "a") in found.left_out
    (one,) = import_melodies(written(tmp_path, graph), tmp_path, 1.0).melodies
    assert "21 links that lead back are left out" in Path(one.path).read_text()
    assert len(load_melody(Path(one.path), kit).steps) == 6


def test_tools_without_links_are_a_graph_too(tmp_path: Path, kit: Kit) -> None:
    graph = {"nodes": [{"id": "Image Search (by Image)"}, {"id": '得る \x7f"'}, {"id": "$cost"}]}
    (one,) = import_melodies(written(tmp_path, graph), tmp_path, 1.0).melodies
    melody = load_melody(Path(one.path), kit)
    assert [step.id for step in melody.steps] == ["image-search-by-image", "task", "cost"]
    assert melody.step["cost"].bindings == {"stands_for": Literal("$cost")}
    assert melody.step["task"].inputs == {"stands_for": '得る \x7f"'}


TASKS = st.lists(
    st.tuples(
        st.text(max_size=8).filter(bool) | st.sampled_from(["a", "a-1", "A", "a 1", "-", "1a"]),
        st.floats(0, 1e5) | st.integers(0, 10**5),
        st.sets(st.integers(0, 30)),
    ),
    min_size=1,
    max_size=30,
)


@given(TASKS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_can_be_played_is_played_as_it_was(
    tmp_path: Path, kit: Kit, made: list[tuple[str, float, set[int]]]
) -> None:
    tasks = [
        [name, seconds, sorted(parent for parent in parents if parent < at)]
        for at, (name, seconds, parents) in enumerate(made)
    ]
    path = written(tmp_path, {"tasks": tasks})
    (graph,) = load_work_graphs(path, 0.5)
    ids = step_ids(graph)
    assert len(set(ids)) == len(ids)
    (one,) = import_melodies(path, tmp_path, 0.5).melodies
    melody = load_melody(Path(one.path), kit)
    assert [step.id for step in melody.steps] == ids
    plan = melody.plan()
    for own, (_, seconds, parents) in zip(ids, tasks, strict=True):
        assert [on for on, _ in plan[own]] == [ids[parent] for parent in parents]
        estimate = melody.step[own].estimate_s
        assert estimate is not None
        assert math.isclose(estimate, seconds / 2, abs_tol=1e-6)


def test_every_fault_of_a_workflow_is_told(tmp_path: Path) -> None:
    tasks = [
        ["a", math.nan, [], []],
        ["b", -1, [9], [1]],
        ["c", 1e9, [2, "a", True, -1], [1, 2, 3, 4]],
        ["", "1 s", "a", []],
        [4, True, [0], [1, 2]],
        ["short"],
        {"name": "d"},
        ["f", math.inf, [], [], []],
        ["g", 1, [0], [math.inf]],
    ]
    told = dict(faults(tmp_path, {"name": "", "n": 3, "tasks": tasks}))
    assert told == {
        "n": "it says that it has 3 tasks, and has 9",
        "tasks[0][1]": "the duration nan is not finite",
        "tasks[1][1]": "the duration -1 is negative",
        "tasks[1][2][0]": "there is no task 9",
        "tasks[2][1]": f"1000000000.0 s, times 1, are more than {LONGEST_S:g} s",
        "tasks[2][2][0]": "task 2 waits for itself",
        "tasks[2][2][1]": 'there is no task "a"',
        "tasks[2][2][2]": "there is no task true",
        "tasks[2][2][3]": "there is no task -1",
        "tasks[3][0]": 'a name is needed, not ""',
        "tasks[3][1]": 'must be a number of seconds, not "1 s"',
        "tasks[3][2]": 'must be a list of places, not "a"',
        "tasks[4][0]": "a name is needed, not 4",
        "tasks[4][1]": "must be a number of seconds, not true",
        "tasks[4][3]": "there must be as many sizes as parents",
        "tasks[5]": "a task is a list of 3 or 4, not a list",
        "tasks[6]": "a task is a list of 3 or 4, not a table",
        "tasks[7]": "a task is a list of 3 or 4, not a list",
        "tasks[8][3][0]": "must be a number of bytes, not null",
        "name": 'a name is needed, not ""',
    }


WORDS = st.sampled_from(
    (
        *("tasks", "workflow", "specification", "execution", "nodes", "links", "steps", "id"),
        *("name", "source", "target", "function", "deps", "parents", "runtimeInSeconds", "n", ""),
    )
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=25,
)


@given(
    ANYTHING
    | st.fixed_dictionaries({"tasks": ANYTHING}, optional={"n": ANYTHING, "name": ANYTHING})
    | st.fixed_dictionaries({"nodes": ANYTHING, "links": ANYTHING})
    | st.lists(st.fixed_dictionaries({"steps": ANYTHING, "id": ANYTHING}), min_size=1, max_size=3)
    | st.fixed_dictionaries(
        {
            "workflow": st.fixed_dictionaries(
                {}, optional={"tasks": ANYTHING, "specification": ANYTHING, "execution": ANYTHING}
            )
        }
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_a_file_holds_it_is_read_or_its_faults_are_told(
    tmp_path: Path, data: object
) -> None:
    path = written(tmp_path, data)
    told: tuple[Problem, ...] = ()
    try:
        load_work_graphs(path)
    except Problems as problems:
        told = problems.problems
    assert all(problem.where and problem.help for problem in told)


def test_every_circle_is_told(tmp_path: Path) -> None:
    ring = {"tasks": [["a", 1, [1]], ["b", 1, [0]], ["c", 1, [4]], ["d", 1, [2]], ["e", 1, [3]]]}
    said = "tasks wait for each other in a circle: "
    assert faults(tmp_path, ring) == [
        ("tasks[0]", said + "0 (a) → 1 (b) → 0 (a)"),
        ("tasks[2]", said + "2 (c) → 4 (e) → 3 (d) → 2 (c)"),
    ]


def test_a_circle_is_told_beside_other_faults(tmp_path: Path) -> None:
    found = faults(tmp_path, {"tasks": ["x", ["a", 1, [2]], ["b", 1, [1]], ["c", -1, [9]]]})
    assert [place for place, _ in found] == [
        "tasks[0]",
        "tasks[3][1]",
        "tasks[3][2][0]",
        "tasks[1]",
    ]
    assert found[-1][1].endswith("in a circle: 1 (a) → 2 (b) → 1 (a)")


def test_every_fault_of_calls_is_told(tmp_path: Path) -> None:
    data = [
        {"id": "good", "steps": [{"function": "f", "deps": []}]},
        {"id": None, "steps": [{"deps": [0]}, "x"]},
        7,
        {"id": "none", "steps": []},
    ]
    assert [place for place, _ in faults(tmp_path, data)] == [
        "[1].id",
        "[1].steps[0].function",
        "[1].steps[0].deps[0]",
        "[1].steps[1]",
        "[2]",
        "[3].steps",
    ]


def test_every_fault_of_a_graph_of_tools_is_told(tmp_path: Path) -> None:
    data = {
        "nodes": [{"id": "a"}, {"id": "a"}, {}, "b"],
        "links": [{"source": "a", "target": "z"}, {"source": ["a"]}, None],
    }
    assert [place for place, _ in faults(tmp_path, data)] == [
        "nodes[1].id",
        "nodes[2].id",
        "nodes[3].id",
        "links[0].target",
        "links[1].source",
        "links[1].target",
        "links[2].source",
        "links[2].target",
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "not valid JSON"),
        (b'{"tasks": []}', "must be a list of at least one, not an empty one"),
        (b'{"tasks": 3}', "must be a list of at least one"),
        (b"[]", "neither a workflow nor calls nor a graph of tools"),
        (b'"x"', "neither a workflow nor calls nor a graph of tools"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"tasks": ' + b"9" * 5000 + b"}", "a value cannot be read"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    ((_, message),) = faults(tmp_path, data)
    assert said in message


def test_too_many_tasks_are_refused(tmp_path: Path) -> None:
    data = {"tasks": [["a", 1, []]] * (MAX_STEPS + 1)}
    said = f"a Melody has at most {MAX_STEPS} steps, this has {MAX_STEPS + 1}"
    assert faults(tmp_path, data) == [("tasks", said)]


def test_what_would_be_too_large_a_melody_is_refused(tmp_path: Path) -> None:
    tasks = [[f"{at}x{'y' * 40}", 1, list(range(max(0, at - 20), at))] for at in range(8_000)]
    path = written(tmp_path, {"name": "wide", "tasks": tasks})
    with pytest.raises(Problems) as caught:
        import_melodies(path, tmp_path, 1.0)
    assert "and one has at most 4194304" in caught.value.message
    assert list(tmp_path.glob("*.toml")) == []


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps(FORK).encode())
    for name, content in (("cut.gz", whole[:-20]), ("no.gz", b"{}"), ("bad.gz", whole[:15] * 9)):
        (tmp_path / name).write_bytes(content)
    for name in ("cut.gz", "no.gz", "bad.gz", "missing.json", "."):
        with pytest.raises(Problems):
            load_work_graphs(tmp_path / name)


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b" " * (65 << 20), 9))
    with pytest.raises(Problems, match="larger than 64 MiB"):
        load_work_graphs(tmp_path / "bomb.json.gz")
