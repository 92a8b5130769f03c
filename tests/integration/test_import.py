"""Workflows and tool graphs of other programs: imported, loaded and played by the real commands.

With `SYMPHONY_WORKFLOWS` naming a folder of workflows and `SYMPHONY_TOOLS` one of tool graphs, the
slow tests take those too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_harness import Symphony, of
from interface_checks import REPOSITORY, check_answer, check_error_json, check_errors

sys.path.append(str(REPOSITORY / "scripts"))

import workflows

OWN = [shape(size) for shape in workflows.SHAPES for size in (40, 400)]
LARGE = workflows.lanes(10_000)


def given(variable: str, pattern: str) -> list[Path]:
    folder = os.environ.get(variable)
    found = sorted(Path(folder).rglob(pattern)) if folder else []
    return [path for path in found if path.name != "index.json"]


def imported(symphony: Symphony, source: Path, scale: float) -> list[dict[str, Any]]:
    arguments = ("import", source, "--scale", str(scale), "--out", "melodies", "--json")
    answer = check_answer("imports", symphony.kernel(*arguments))
    found: list[dict[str, Any]] = answer["melodies"]
    return found


def check_played(symphony: Symphony, source: Path, seconds: float) -> None:
    """Plays it, scaled so that its steps take so long together, and checks the order of play."""
    data = json.loads(source.read_text()) if source.suffix == ".json" else None
    (one,) = imported(symphony, source, 1.0)
    (one,) = imported(symphony, source, seconds / max(one["work_s"], seconds))
    story = symphony.folder / "events.jsonl"
    story.unlink(missing_ok=True)
    done = symphony.kernel("run", one["path"], "--headless", "--json", story, timeout=1500)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in story.read_text().splitlines()]
    assert events[-1]["outcome"] == "succeeded"
    assert len(of(events, "step.finished")) == one["steps"]
    if data is not None:
        check_order(events, data)


def check_order(events: list[dict[str, Any]], data: dict[str, Any]) -> None:
    """No task begins before those that it waits for have ended."""
    seen: dict[str, int] = {}
    for event in events:
        if event["event"] in ("step.started", "step.finished"):
            seen[event["event"] + event["step"]] = event["seq"]
    from symphony.kernel.melodywriter import step_ids
    from symphony.kernel.workgraphs import Task, WorkGraph

    tasks = tuple(Task(name, took, tuple(after)) for name, took, after, _ in data["tasks"])
    ids = step_ids(WorkGraph(data["name"], "workflow", tasks, 0))
    for own, task in zip(ids, tasks, strict=True):
        for parent in task.after:
            assert seen[f"step.finished{ids[parent]}"] < seen[f"step.started{own}"]


def stored(symphony: Symphony, data: object) -> Path:
    return symphony.write("source.json", json.dumps(data))


@pytest.mark.parametrize("data", OWN, ids=lambda data: str(data["name"]))
def test_a_workflow_is_imported_and_played(symphony: Symphony, data: dict[str, Any]) -> None:
    check_played(symphony, stored(symphony, data), 0.5)


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_a_workflow_of_ten_thousand_tasks_is_played(symphony: Symphony) -> None:
    check_played(symphony, stored(symphony, LARGE), 5.0)


@pytest.mark.slow
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("source", given("SYMPHONY_WORKFLOWS", "*.json.gz"), ids=lambda p: p.name)
def test_a_given_workflow_is_played(symphony: Symphony, source: Path) -> None:
    check_played(symphony, source, 5.0)


@pytest.mark.slow
@pytest.mark.parametrize("source", given("SYMPHONY_TOOLS", "*.json"), ids=str)
def test_given_tool_graphs_are_played(symphony: Symphony, source: Path) -> None:
    for one in imported(symphony, source, 1.0)[:20]:
        done = symphony.kernel("run", one["path"], "--headless")
        assert done.returncode == 0, done.stderr


def wait_for_steps(story: Path, finished: int) -> None:
    """Until so many have finished."""
    for _ in range(60 * 20):
        if story.is_file() and story.read_text().count('"step.finished"') >= finished:
            return
        time.sleep(0.05)
    pytest.fail(f"{finished} steps have not finished")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_plan_of_several_parts_goes_on_after_a_kill(symphony: Symphony) -> None:
    """The Melody is as large as one may be; the kernel is killed three times while it plays."""
    (one,) = imported(symphony, stored(symphony, workflows.lanes(20_000)), 1e-6)
    story = symphony.folder / "events.jsonl"
    command: list[str | Path] = ["run", one["path"], "--headless", "--json", story]
    for finished in (1, 3_000, 9_000):
        process = symphony.start(*command, stderr_to=subprocess.DEVNULL)
        wait_for_steps(story, finished)
        assert process.poll() is None
        process.kill()
        process.wait()
        run = json.loads(story.read_text().splitlines()[0])["run"]
        command = ["run", "--resume", run, "--headless", "--json", story]
    done = symphony.kernel(*command, timeout=500)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in story.read_text().splitlines()]
    numbers = [event["seq"] for event in events]
    assert numbers == sorted(set(numbers))
    finished = [event["step"] for event in of(events, "step.finished")]
    assert len(finished) == len(set(finished)) == one["steps"] == 20_000


def test_a_graph_of_tools_is_imported_and_played(symphony: Symphony) -> None:
    names = ["Text-to-Image", "Image Search", "Image-to-Text"]
    links = [{"source": a, "target": b, "type": "image"} for a in names for b in names if a != b]
    data = {"nodes": [{"id": name} for name in names], "links": links}
    done = symphony.kernel("import", stored(symphony, data), "--out", "melodies")
    assert done.returncode == 0, done.stderr
    (path,) = (symphony.folder / "melodies").glob("*.melody.toml")
    assert path.name in done.stdout
    code, events = symphony.play(path)
    assert (code, len(of(events, "step.finished"))) == (0, 3)


def test_all_faults_of_a_file_are_told_and_nothing_is_written(symphony: Symphony) -> None:
    tasks = [["a", -1, [1], []], ["b", 1, [7], [0]], ["c", float("nan"), [], []]]
    source = stored(symphony, {"tasks": tasks})
    done = symphony.kernel("import", source, "--out", "melodies", "--json")
    check_errors(
        done, 2, f"{source}:tasks[0][1]", f"{source}:tasks[1][2][0]", f"{source}:tasks[2][1]"
    )
    assert len(check_error_json(done)["problems"]) == 4
    assert list((symphony.folder / "melodies").glob("*")) == []


@pytest.mark.parametrize("scale", ["0", "-1", "nan", "inf", "1e9"])
def test_a_scale_that_is_none_is_refused(symphony: Symphony, scale: str) -> None:
    source = stored(symphony, workflows.lanes(10))
    done = symphony.kernel("import", source, "--out", "melodies", "--scale", scale)
    check_errors(done, 2, "--scale")


def test_a_file_that_is_not_there_is_refused(symphony: Symphony) -> None:
    check_errors(symphony.kernel("import", "no.json", "--out", "melodies"), 2, "no such file")


def test_a_folder_that_cannot_be_written_is_told(symphony: Symphony) -> None:
    source = stored(symphony, workflows.lanes(10))
    check_errors(symphony.kernel("import", source, "--out", "/proc/melodies"), 6, "not writable")


def test_half_a_surrogate_pair_is_no_name(symphony: Symphony) -> None:
    file = symphony.write("half.json", '{"nodes": [{"id": "\\ud800"}], "links": []}')
    done = symphony.kernel("import", file, "--out", "melodies")
    assert done.returncode == 2
    assert "nodes[0].id" in done.stderr
    assert list((symphony.folder / "melodies").iterdir()) == []
