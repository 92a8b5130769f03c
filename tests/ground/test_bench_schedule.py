"""`scripts/bench schedule`: the references are what the papers say, and no reference beats us."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

import workflows
from schedules import (
    Machines,
    Work,
    fifo,
    file_order,
    heft,
    list_schedule,
    shortest_first,
    upward_rank,
)

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SIMPLER = {"fifo", "file-order", "shortest-first"}


def bench(*options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPTS / "bench_schedule.py", "--json", *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def told(*options: str | Path) -> list[dict[str, Any]]:
    done = bench(*options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# a (2 s) feeds b (3 s) and c (1.2 s), which feed d (1 s); every edge has 10 MB.
DIAMOND = Work(
    "diamond",
    (2.0, 3.0, 1.2, 1.0),
    ((), ((0, 1e7),), ((0, 1e7),), ((1, 1e7), (2, 1e7))),
)


def test_ranks_and_schedules_of_a_small_graph_are_those_of_a_hand() -> None:
    uneven = Machines((1.0, 2.0), 1e7)
    assert DIAMOND.ranks(uneven) == pytest.approx([6.5, 4.0, 2.65, 0.75])
    assert heft(DIAMOND, uneven) == pytest.approx(3.6)  # all on the fast slot
    assert [upward_rank(DIAMOND, slots) for slots in (1, 2)] == pytest.approx([7.2, 6.0])
    assert DIAMOND.lower_bound(Machines.alike(1)) == pytest.approx(7.2)
    assert DIAMOND.lower_bound(Machines.alike(2)) == pytest.approx(6.0)
    assert DIAMOND.lower_bound(uneven) == pytest.approx(3.0)


def test_a_gap_is_used_where_it_is_wide_enough() -> None:
    # On two slots c waits for what comes from the other one; e fits before it.
    work = Work("gap", (4.0, 4.0, 1.0, 1.0), ((), (), ((0, 3e7), (1, 3e7)), ()))
    assert heft(work, Machines((1.0, 1.0), 1e7)) == pytest.approx(8.0)


def test_simpler_rules_take_what_they_say() -> None:
    work = Work("simple", (3.0, 1.0, 2.0), ((), (), ()))
    order: list[int] = []

    def noted(task: int, arrived: int) -> float:
        order.append(task)
        return arrived

    assert list_schedule(work, 1, noted) == 6.0
    assert order == [0, 1, 2]
    assert [rule(work, 2) for rule in (fifo, file_order, shortest_first)] == [3.0, 3.0, 4.0]
    assert upward_rank(work, 2) == 3.0


@pytest.mark.parametrize("shape", workflows.SHAPES)
def test_generated_workflows_have_the_stored_form(shape: Any) -> None:
    made = shape(60)
    assert made == shape(60)
    assert made["n"] == len(made["tasks"])
    for at, (_, seconds, parents, sizes) in enumerate(made["tasks"]):
        assert seconds > 0
        assert len(sizes) == len(parents)
        assert all(parent < at for parent in parents)


@pytest.mark.parametrize("slots", [8, 32])
def test_no_rule_beats_the_decisions_of_the_kernel(slots: int) -> None:
    lines = told("--only", f"real/{slots}")
    whole = {line["against"]: line for line in lines if line["case"] == f"real/{slots}"}
    assert whole.keys() == {"upward-rank", *SIMPLER}
    assert whole["upward-rank"]["ratio"] <= 1.02
    assert all(whole[rule]["ratio"] <= 1.0 for rule in SIMPLER)
    assert all(line["value"] >= 1.0 for line in lines)
    details = [line for line in lines if line["case"] != f"real/{slots}"]
    assert len(details) == 6
    assert bench("--only", "real/8", "--list").stderr.startswith("no --data: these workflows are")


def test_on_mixed_slots_it_is_near_heft() -> None:
    whole, planned, *details = told("--only", "real/8/mixed")
    assert (whole["case"], whole["against"]) == ("real/8/mixed", "heft")
    assert whole["ratio"] <= 1.1
    assert planned["case"] == "real/8/mixed/planned"
    assert planned["ratio"] <= 1.02  # ranks in whole milliseconds may order equals the other way
    assert len(details) == 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two workflows as they are stored, and an index with makespans of others."""
    (tmp_path / "lanes.json").write_text(json.dumps(workflows.lanes(40)))
    (tmp_path / "synthetic-mosaic.json").write_text(json.dumps(workflows.mosaic(40)))
    known = {"8": {"lower_bound": 1.0, "rank_u_list": 1.0}}
    (tmp_path / "index.json").write_text(json.dumps([{"file": "lanes.json", "ref": known}]))
    return tmp_path


def test_a_folder_of_workflows_is_measured_beside_its_index(folder: Path) -> None:
    names = bench("--data", folder, "--list").stdout.split()
    kinds = ("real", "synthetic")
    assert names == [f"{k}/{n}{m}" for m in ("", "/mixed") for k in kinds for n in (8, 32, 128)]
    lines = told("--data", folder, "--only", "real/8")
    whole = [line for line in lines if line["case"] == "real/8"]
    (ours,) = (line for line in whole if line["against"] == "index-rank_u_list")
    work = Work.of("lanes", workflows.lanes(40))
    assert ours["value"] == pytest.approx(ours["ratio"] / work.lower_bound(Machines.alike(8)), 1e-3)
    assert {line["case"] for line in lines} == {"real/8", "real/8/lanes"}


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_folder_without_workflows_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    done = bench("--data", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "\nhelp: " in done.stderr
