"""DAG Tracker: every acknowledged record is in the journal and in the state, and nothing twice."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

from crashstage import Gone, Member

from crashworlds.world import TS, World
from symphony.bus.errors import BusError

OPEN = 4
AGAIN = 3  # finished runs that are checked again after each kill
Key = tuple[str, str]  # kind and step of a record


@dataclass
class Run:
    """What was asked and acknowledged of one run."""

    name: str
    steps: list[dict[str, Any]]
    opened: bool = False
    finished: bool = False  # acknowledged
    asked: set[Key] = field(default_factory=set)
    durable: dict[int, Key] = field(default_factory=dict)  # acknowledged records by index
    handed: dict[int, Key] = field(default_factory=dict)  # acknowledged, not durable
    grown: int = 0
    touched: bool = False  # since it was checked


def output(run: Run, step: str) -> dict[str, str]:
    return {"out": f"{run.name}/{step}"}


class DagWorld(World):
    program: ClassVar[str] = "symphony-dag-tracker"
    capability: ClassVar[str] = "pit.dag/1"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._runs: dict[str, Run] = {}

    def _open_runs(self) -> list[Run]:
        return [run for run in self._runs.values() if not run.finished]

    def _new_run(self) -> Run:
        name = f"r{self.number()}"
        steps = []
        for at in range(self.dice.randint(4, 16)):
            before = [f"s{self.dice.randrange(at)}"] if at and self.dice.random() < 0.8 else []
            steps.append({"id": f"s{at}", "after": [[step, "hard"] for step in before]})
        run = self._runs[name] = Run(name, steps)
        return run

    async def first(self, member: Member) -> None:
        listed = (await member.call("runs", limit=1000))["runs"]
        corrupt = {row["run"] for row in listed if row["state"] == "corrupt"}
        for run in self._runs.values():
            if run.name in corrupt or (run.opened and (run.touched or not run.finished)):
                await member.call("state", run=run.name)

    async def check(self, member: Member, *, powerless: bool) -> None:
        finished = [run for run in self._runs.values() if run.finished]
        again = self.dice.sample(finished, min(AGAIN, len(finished)))
        for run in [*self._open_runs(), *again]:
            await self._check_run(member, run, powerless=powerless)
        for run in self._runs.values():
            run.touched = False

    async def _check_run(self, member: Member, run: Run, *, powerless: bool) -> None:
        try:
            records = await self._journal(member, run)
        except BusError as error:
            if error.code != "not-found":
                self.wrong(f"{run.name} cannot be read: {error}")
            elif run.opened:
                self.wrong(f"{run.name} was opened and is lost")
            return
        run.opened = True
        found = {row["index"]: (row["kind"], row.get("step", "")) for row in records}
        if sorted(found) != list(range(1, len(records) + 1)):
            self.wrong(f"{run.name} has the records {sorted(found)}")
        for index, key in run.durable.items():
            if found.get(index) != key:
                self.wrong(f"{run.name}: {index} was {key} and is {found.get(index)}")
        for index, key in list(run.handed.items()):
            if found.get(index) != key:
                if not powerless:
                    self.wrong(f"{run.name}: {index} was {key} and is {found.get(index)}")
                del run.handed[index]
        for index, key in found.items():
            if key not in run.asked:
                self.wrong(f"{run.name}: {index} is {key}, which nobody asked for")
        ends = Counter(key[1] for key in found.values() if key[0] in ("completed", "skipped"))
        for step, times in ends.items():
            if times > 1:
                self.wrong(f"{run.name}: {step} ended {times} times")
        await self._check_state(member, run, records)

    async def _journal(self, member: Member, run: Run) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        while True:
            page = await member.call("journal", run=run.name, after=len(records))
            records += page["records"]
            if not page["more"]:
                return records

    async def _check_state(self, member: Member, run: Run, records: list[dict[str, Any]]) -> None:
        state = await member.call("state", run=run.name)
        steps = {step["id"]: step for step in state["steps"]}
        for record in records:
            if record["kind"] != "completed":
                continue
            step = steps.get(record["step"], {})
            if step.get("state") != "succeeded":
                self.wrong(f"{run.name}: {record['step']} completed and is {step.get('state')}")
            if step.get("outputs") != output(run, record["step"]):
                self.wrong(f"{run.name}: {record['step']} gave {step.get('outputs')}")
        is_over = any(record["kind"] == "finished" for record in records)
        if is_over != (state["state"] == "succeeded") or (run.finished and not is_over):
            self.wrong(f"{run.name} is {state['state']}")
        run.finished = run.finished or is_over

    # -- load -------------------------------------------------------------------------------

    def tasks(self, member: Member) -> list[asyncio.Task[None]]:
        runs = self._open_runs()[:OPEN]
        runs += [self._new_run() for _ in range(OPEN - len(runs))]
        return [asyncio.create_task(self._play(member, run)) for run in runs]

    async def _play(self, member: Member, run: Run | None) -> None:
        try:
            while True:
                await self._play_run(member, run or self._new_run())
                run = None
        except Gone:
            return

    async def _play_run(self, member: Member, run: Run) -> None:
        run.touched = True
        run.asked |= {("opened", ""), ("resumed", "")}
        begun = await member.call(
            "open",
            run=run.name,
            melody="m",
            version="1.0.0",
            digest="d",
            document={},
            inputs={},
            steps=run.steps,
            ts=TS,
        )
        self._acknowledge(run, "open", begun["index"], ("opened", ""))
        run.opened = True
        resumed = await member.call("resume", run=run.name, ts=TS)
        self._acknowledge(run, "resume", resumed["index"], ("resumed", ""))
        attempts = {step["id"]: step["attempt"] for step in resumed["run"]["steps"]}
        ended = ("succeeded", "failed", "skipped")
        left = sum(step["state"] not in ended for step in resumed["run"]["steps"])
        ready = [step for step, _ in resumed["run"]["ready"]]
        while ready:
            step = ready.pop(self.dice.randrange(len(ready)))
            if self.dice.random() < 0.1:
                ready += await self._grow(member, run)
            attempt = attempts.get(step, 0) + 1
            await self._append(member, run, "started", step, attempt)
            if self.dice.random() < 0.1:
                await self._append(member, run, "failed", step, attempt)
                attempt += 1
                await self._append(member, run, "started", step, attempt)
            answer = await self._complete(member, run, step, attempt)
            ready += [name for name, _ in answer["ready"]]
            left = answer["left"]
        if left:
            self.wrong(f"{run.name}: nothing is ready and {left} are left")
        run.asked.add(("finished", ""))
        answer = await member.call("finish", run=run.name, outcome="succeeded", ts=TS)
        self._acknowledge(run, "finish", answer["index"], ("finished", ""))
        run.finished = True

    async def _append(self, member: Member, run: Run, kind: str, step: str, attempt: int) -> None:
        durable = self.dice.random() < 0.3
        run.asked.add((kind, step))
        record = {"kind": kind, "ts": TS, "step": step, "attempt": attempt}
        answer = await member.call("append", run=run.name, durable=durable, records=[record])
        self.acknowledged["append"] += 1
        (run.durable if durable else run.handed)[answer["first"]] = (kind, step)

    async def _complete(self, member: Member, run: Run, step: str, attempt: int) -> Any:
        run.asked.add(("completed", step))
        answer = await member.call(
            "complete",
            run=run.name,
            step=step,
            attempt=attempt,
            outputs=output(run, step),
            ts=TS,
        )
        self._acknowledge(run, "complete", answer["index"], ("completed", step))
        return answer

    async def _grow(self, member: Member, run: Run) -> list[str]:
        run.grown += 1
        run.asked.add(("grown", ""))
        steps = [{"id": f"g{run.grown}"}]
        answer = await member.call("grow", run=run.name, steps=steps, id=f"grow-{run.grown}", ts=TS)
        self._acknowledge(run, "grow", answer["index"], ("grown", ""))
        return [name for name, _ in answer["ready"]]

    def _acknowledge(self, run: Run, method: str, index: int, key: Key) -> None:
        self.acknowledged[method] += 1
        run.durable[index] = key
        # What was handed over before it is durable with it.
        run.durable |= {at: run.handed.pop(at) for at in list(run.handed) if at < index}

    async def finish(self, member: Member) -> None:
        for run in self._open_runs():
            await self._play_run(member, run)
        for run in self._runs.values():
            await self._check_run(member, run, powerless=False)
        await member.leave()
