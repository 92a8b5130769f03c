"""Workflows played by what decides in the kernel, in simulated time.

Each workflow is imported as a Melody, opened at a DAG Tracker (its program, over the bus) through
the kernel's journal, and the kernel's Conductor says what starts next. Only the work of the steps
is simulated: time jumps to the next end.
"""

import asyncio
import heapq
import json
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from benchlib import BenchError
from schedules import Machines, Places, Work
from workflows import Workflow

from symphony.kernel.conductor import Conductor, StepRules
from symphony.kernel.contracts.stage import open_stage
from symphony.kernel.importing import import_melodies
from symphony.kernel.journal import Ready, RunJournal, whole_state
from symphony.kernel.kit import Kit, load_kit
from symphony.kernel.melody import Melody, load_melody
from symphony.kernel.members import DAG_TRACKER, Member
from symphony.kernel.policy import RetryRule, RulePolicy
from symphony.kernel.rehearsal import BY_RANK, best_order
from symphony.kernel.runplan import parts_of

LOOKED_AT = 4  # of what is ready so many a slot are weighed for a slot that is free
PLAYER = "wait"
NOBODY = {"player": PLAYER, "instance": PLAYER, "pid": 0, "sandbox": "none"}


class Product:
    """The kernel's parts that decide, at a DAG Tracker of their own."""

    def __init__(self, tracker: Member, kit: Kit, folder: Path) -> None:
        self._tracker = tracker
        self._kit = kit
        self._folder = folder
        self._runs = 0

    def melody(self, workflow: Workflow) -> Melody:
        """The workflow as a user would import it."""
        source = self._folder / "workflow.json"
        source.write_text(json.dumps(workflow), encoding="utf-8")
        (one,) = import_melodies(source, self._folder, 1.0).melodies
        return load_melody(Path(one.path), self._kit)

    async def open(self, melody: Melody, work: Work, machines: Machines) -> "Run":
        """A run of it; with speeds and transfers its estimates are those of an average slot."""
        parts = parts_of(melody)
        place = {step.id: at for at, step in enumerate(melody.steps)}
        if machines.bandwidth is not None:
            for step in (step for part in parts for step in part):
                step["estimate_ms"] = 1000 * machines.mean_s(work.seconds[place[step["id"]]])
                sizes = dict(work.parents[place[step["id"]]])
                for waited in step["after"]:
                    waited.append(1000 * machines.transfer_s(sizes[place[waited[0]]]))
        self._runs += 1
        journal = RunJournal(self._tracker, f"run-{self._runs}", lambda _: None)
        order = BY_RANK
        if machines.bandwidth is None:
            waits = {step.id: step.after for step in melody.steps}
            seconds = {step.id: step.estimate_s or 0.0 for step in melody.steps}
            order = best_order(waits, seconds, len(machines.speeds))
        rules = StepRules((PLAYER,), optional=False, retry=RetryRule())
        conductor = Conductor(dict.fromkeys(place, rules), RulePolicy(), order)
        request = {"melody": melody.name, "version": melody.version, "digest": melody.digest}
        run = Run(journal, conductor, place)
        run.add(await journal.open({**request, "document": {}, "inputs": {}}, parts))
        state = await whole_state(self._tracker.call, f"run-{self._runs}")
        ranks = {step["id"]: step["rank"] / 1000 for step in state["steps"]}
        run.ranks = [ranks[step] for step in place]
        return run


class Run:
    """One run: what the kernel would start, and what that it ended changes."""

    def __init__(self, journal: RunJournal, conductor: Conductor, place: dict[str, int]) -> None:
        self._journal = journal
        self._conductor = conductor
        self._place = place
        self._ids = list(place)
        self._rank: dict[str, float] = {}
        self._told: asyncio.Task[None]  # who is to run
        self.ranks: list[float] = []  # the tracker's, of all tasks, before the first begins

    def add(self, ready: Ready) -> None:
        """What is ready, to the Conductor."""
        self._rank.update(ready)
        self._conductor.add_ready(ready)

    def put_back(self, tasks: Iterable[int]) -> None:
        """They are not started after all."""
        ids = [self._ids[task] for task in tasks]
        self._conductor.add_ready([(step, self._rank[step]) for step in ids])

    def next(self, now: float) -> int | None:
        """The task that starts next, if any may."""
        decision = self._conductor.next(now)
        return None if decision is None else self._place[decision.step]

    async def started(self, tasks: list[int]) -> None:
        """They run."""
        records = [
            {"kind": "started", "step": self._ids[task], "attempt": 1, "data": NOBODY}
            for task in tasks
        ]
        if records:
            self._told = asyncio.create_task(self._journal.append(records))
            await self._told

    async def ended(self, task: int) -> None:
        """It is done."""
        advance = await self._journal.complete(self._ids[task], 1, {}, None, self._told)
        self.add(advance.ready)


async def on_equal_slots(run: Run, work: Work, slots: int) -> float:
    """The makespan where the kernel has so many slots for steps, as its runner fills them."""
    running: list[tuple[float, int]] = []
    now = 0.0
    while True:
        begun = []
        while len(running) < slots and (task := run.next(now)) is not None:
            heapq.heappush(running, (now + work.seconds[task], task))
            begun.append(task)
        await run.started(begun)
        if not running:
            return now
        now, task = heapq.heappop(running)
        await run.ended(task)


async def on_machines(run: Run, work: Work, machines: Machines) -> float:
    """The makespan on slots of several speeds: in the kernel's order each step begins where it ends
    first, and waits for that slot if it is busy."""
    slots = range(len(machines.speeds))
    places = Places(work, machines)
    arrivals: dict[int, list[float]] = {}
    free_at = [0.0 for _ in slots]
    running: list[tuple[float, int]] = []
    now = 0.0
    while True:
        promised = list(free_at)
        begun: list[int] = []
        waiting: list[int] = []
        while min(promised) <= now and len(waiting) < LOOKED_AT * len(slots):
            if (task := run.next(now)) is None:
                break
            if task not in arrivals:
                arrivals[task] = places.arrivals(task)
            arrives = arrivals[task]
            ends = [
                max(arrives[slot], promised[slot], now) + work.seconds[task] / machines.speeds[slot]
                for slot in slots
            ]
            slot = min(slots, key=ends.__getitem__)
            if promised[slot] <= now:
                places.put(task, slot, ends[slot])
                free_at[slot] = ends[slot]
                heapq.heappush(running, (ends[slot], task))
                begun.append(task)
            else:
                waiting.append(task)
            promised[slot] = ends[slot]
        run.put_back(waiting)
        await run.started(begun)
        if not running:
            return now
        now, task = heapq.heappop(running)
        await run.ended(task)


@asynccontextmanager
async def product(place: Path | None) -> AsyncIterator[Product]:
    """Brings up a DAG Tracker with its store in a new folder there."""
    with tempfile.TemporaryDirectory(prefix="symphony-bench-", dir=place) as folder:
        home = Path(folder, "home")
        async with open_stage(home) as stage:
            kit = load_kit(home)
            installed = kit.get(DAG_TRACKER.extension)
            if installed is None:
                raise BenchError("the DAG Tracker is not installed", "scripts/setup run")
            await stage.summon(installed, home / "dag")
            tracker = Member(DAG_TRACKER, stage.hub)
            await tracker.welcome()
            yield Product(tracker, kit, Path(folder))
