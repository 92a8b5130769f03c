"""How long workflows take by the decisions of our kernel: makespan ÷ lower bound.

What decides is the product: each workflow is imported as a Melody, opened at a DAG Tracker (its
program, over the bus) through the kernel's journal, and the kernel's Conductor says what starts
next. Only the steps' work is simulated: time jumps to the next end.

`real/SLOTS` and `synthetic/SLOTS` tell the mean over the workflows on equal slots, and against each
reference the worst ratio of makespans: upward-rank list scheduling, first come first served,
shortest first. `.../mixed` is on slots of four speeds joined by a gigabit network, against HEFT,
which knows everything beforehand: a step goes where it ends first, by what is known when it is
ready; detail `planned`: all of them beforehand, as HEFT, by the DAG Tracker's ranks. Other details
name the workflow. Where the folder has an `index.json` with makespans of others (`ref`), those are
references too.

The lower bound is the critical path, or all of the work shared among the slots, if that is more.

The folder of `--data` holds recorded workflows (as `symphony-kernel import` reads them; names that
begin with `synthetic` are the synthetic ones). Without it workflows are generated.
"""

import asyncio
import json
import sys
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import workflows
from benchlib import BAD_USAGE, BenchError, Result, fail, parser, play, rounded, say
from deciding import on_equal_slots, on_machines, product
from schedules import Machines, Work, fifo, file_order, heft, shortest_first, upward_rank
from workflows import Workflow

from symphony.bus.errors import BusError
from symphony.kernel.errors import SymphonyError

MEMORY = Path("/dev/shm")  # noqa: S108 - makespans do not depend on the disk
PLACE = MEMORY if MEMORY.is_dir() else None
UNIT = "makespan ÷ lower bound"
SLOTS = (8, 32, 128)
SIZES = (50, 200, 1_000)  # of generated workflows
EXAMPLES = """
--json --data WORKFLOWS
--only 'real/8*' --data WORKFLOWS
--only 'synthetic/*'"""


@dataclass(frozen=True)
class Case:
    """A workflow, and makespans of others by slots and rule."""

    name: str
    workflow: Workflow
    known: dict[str, dict[str, float]]


def on_equal(cases: list[Case], name: str, slots: int) -> Iterator[Result]:
    ours: list[float] = []
    ratios: dict[str, list[float]] = {}
    details: list[Result] = []
    equal = Machines.alike(slots)

    async def measure() -> None:
        async with product(PLACE) as deciding:
            for case in cases:
                say(f"   {case.name}")
                work = Work.of(case.name, case.workflow)
                run = await deciding.open(deciding.melody(case.workflow), work, equal)
                makespan = await on_equal_slots(run, work, slots)
                others = {
                    "upward-rank": upward_rank(work, slots),
                    "fifo": fifo(work, slots),
                    "file-order": file_order(work, slots),
                    "shortest-first": shortest_first(work, slots),
                } | {f"index-{rule}": it for rule, it in case.known.get(str(slots), {}).items()}
                ours.append(makespan / work.lower_bound(equal))
                for rule, other in others.items():
                    ratios.setdefault(rule, []).append(makespan / other)
                best = min(others, key=others.__getitem__)
                details.append(told(f"{name}/{case.name}", ours[-1], best, makespan / others[best]))

    run_now(measure())
    for rule, found in ratios.items():
        yield told(name, fmean(ours), rule, max(found))
    yield from details


def on_mixed(cases: list[Case], name: str, slots: int) -> Iterator[Result]:
    machines = Machines.mixed(slots)
    ours: dict[str, list[float]] = {name: [], f"{name}/planned": []}
    ratios: dict[str, list[float]] = {one: [] for one in ours}
    details: list[Result] = []

    async def measure() -> None:
        async with product(PLACE) as deciding:
            for case in cases:
                say(f"   {case.name}")
                work = Work.of(case.name, case.workflow)
                run = await deciding.open(deciding.melody(case.workflow), work, machines)
                planned = heft(work, machines, run.ranks)
                reference = heft(work, machines)
                makespan = await on_machines(run, work, machines)
                for one, took in zip(ours, (makespan, planned), strict=True):
                    ours[one].append(took / work.lower_bound(machines))
                    ratios[one].append(took / reference)
                line = told(f"{name}/{case.name}", ours[name][-1], "heft", ratios[name][-1])
                details.append(line)

    run_now(measure())
    for one, found in ours.items():
        yield told(one, fmean(found), "heft", max(ratios[one]))
    yield from details


def told(case: str, value: float, against: str, ratio: float) -> Result:
    """Ratios to five digits: a hundredth counts here, and nothing is measured that is noisy."""
    return Result("schedule", case, UNIT, rounded(value), against, round(ratio, 5))


def run_now(measure: Coroutine[Any, Any, None]) -> None:
    """Runs it to its end; what keeps the product from working becomes an error of the case."""
    try:
        asyncio.run(measure)
    except (BusError, SymphonyError) as error:
        raise BenchError(f"the kernel's parts failed: {error}") from error


def given(folder: Path | None) -> dict[str, list[Case]]:
    """The workflows by kind."""
    if folder is None:
        say("no --data: these workflows are generated, none was recorded")
        made = [Case(str(w["name"]), w, {}) for w in generated()]
        return {
            "real": [one for one in made if len(one.workflow["tasks"]) < 500],
            "synthetic": made,
        }
    try:
        found = workflows.stored(folder)
        index = folder / "index.json"
        known = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else []
    except (OSError, ValueError) as error:
        fail(BAD_USAGE, f"the workflows cannot be read: {error}", "see --help for their form")
    references = {str(one["file"]).partition(".")[0]: one["ref"] for one in known}
    kinds: dict[str, list[Case]] = {}
    for name, workflow in found:
        kind = "synthetic" if name.startswith("synthetic") else "real"
        by_slots = {
            slots: {rule: it for rule, it in rules.items() if rule != "lower_bound"}
            for slots, rules in references.get(name, {}).items()
        }
        kinds.setdefault(kind, []).append(Case(name, workflow, by_slots))
    if not kinds:
        fail(BAD_USAGE, f"there is no workflow in {folder}", "see --help for their form")
    return kinds


def generated() -> list[Workflow]:
    return [shape(size) for shape in workflows.SHAPES for size in SIZES]


def main() -> int:
    arguments = parser("schedule", __doc__ or "", EXAMPLES)
    arguments.add_argument(
        "--data", type=Path, metavar="FOLDER", help="recorded workflows (generated ones without)"
    )
    options = arguments.parse_args()
    kinds = given(options.data)
    plan = {
        f"{kind}/{slots}{machines}": partial(measure, cases, f"{kind}/{slots}{machines}", slots)
        for machines, measure in (("", on_equal), ("/mixed", on_mixed))
        for kind, cases in kinds.items()
        for slots in SLOTS
    }
    return play(plan, options)


if __name__ == "__main__":
    sys.exit(main())
