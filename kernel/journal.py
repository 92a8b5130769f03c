"""One run's journal at the DAG Tracker, and its events as a projection of it.

The journal is the truth of a run; every event but progress is one record of it, and the event's
``seq`` is the record's index times 1000. So ``seq`` rises over all resumptions, an event is written
only after its record is acknowledged, and a resumed run never repeats one. Progress is not
journaled: it takes the numbers between two records, at the pace of pacing.py.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from symphony.bus.errors import BusError

from .clock import timestamp
from .errors import ExitCode, SymphonyError
from .events import RunEvent
from .members import AWAY, DAG_TRACKER, Member
from .pacing import Body, Pace
from .pit.candidates import Measured
from .projection import STRIDE, progress_event, project
from .replies import broken, read_as

Emit = Callable[[RunEvent], None]
Clock = Callable[[], float]
Steps = Sequence[Mapping[str, Any]]
Ready = list[tuple[str, float]]  # steps with their rank in milliseconds
PAGE = 1000
DAG: Final = DAG_TRACKER.capability
ENDS = frozenset({"completed", "failed"})  # of an attempt
BEHIND: Final = 64  # calls that the tracker may owe an answer while more steps begin


@dataclass(frozen=True)
class Advance:
    """What ending a step changed: steps now ready with their ranks (ms), and how many are left."""

    ready: Ready
    left: int
    skipped: list[str]


class RunJournal:
    """Writes one run's records and emits its events in the order of the journal."""

    def __init__(self, dag: Member, run: str, emit: Emit, clock: Clock = time.monotonic) -> None:
        self._dag = dag
        self._run = run
        self._emit = emit
        self._next = 1
        self._held: dict[int, Mapping[str, Any]] = {}
        self._owed = 0
        self._lost: set[int] = set()  # appends that the tracker ended before it answered
        self._unsent = 0  # appends that wait for the tracker
        self._steps: frozenset[str] = frozenset()  # of the plan
        self._progress = 0
        self._pace = Pace()
        self._clock = clock

    @property
    def last(self) -> int:
        """The index of the last record whose event was emitted."""
        return self._next - 1

    @property
    def keeps_up(self) -> bool:
        """Whether the tracker serves, and acknowledges soon enough for more steps to begin."""
        return self._dag.up and self._owed < BEHIND

    async def open(self, request: Mapping[str, object], parts: Sequence[Steps]) -> Ready:
        """Opens the run; ``request`` as `pit.dag/1 open` without run, steps and ts. Returns what is
        ready once the plan is whole."""
        ts = timestamp()
        args = {"run": self._run, "ts": ts, **request, "steps": parts[0]}
        self._steps = frozenset(str(step["id"]) for part in parts for step in part)
        reply = await self._dag.call("open", args)
        data = {key: request[key] for key in ("melody", "version", "inputs")}
        self._deliver({"index": reply["index"], "kind": "opened", "ts": ts, "data": data})
        for number, steps in enumerate(parts[1:], 2):
            await self._grow(f"part-{number}", steps)
        if len(parts) > 1:  # what came later has made earlier steps more urgent
            reply = await self._dag.call("state", {"run": self._run})
        return self._ranked("open", reply)

    async def complete_plan(self, state: dict[str, Any], parts: Sequence[Steps]) -> dict[str, Any]:
        """The STATE of a resumed run with all of its plan: the kernel before may have ended while
        it told it."""
        self._steps = frozenset(str(step["id"]) for part in parts for step in part)
        known = {step["id"] for step in state["steps"]}
        since = state["last"]
        for number, steps in enumerate(parts, 1):
            if missing := [step for step in steps if step["id"] not in known]:
                await self._grow(f"part-{number}-{since}", missing)
        if self.last == since:
            return state
        return await whole_state(self._dag.call, self._run)

    async def _grow(self, name: str, steps: Steps) -> None:
        ts = timestamp()
        args = {"run": self._run, "id": name, "steps": steps, "ts": ts}
        reply = await self._dag.call("grow", args)
        self._deliver({"index": reply["index"], "kind": "grown", "ts": ts})

    async def resume(self, seen_seq: int | None = None) -> dict[str, Any]:
        """Resumes the run; returns its STATE.

        ``seen_seq`` is the last ``seq`` that the reader of the events has; what was journaled
        after it is emitted first. None: the reader begins with this resumption.
        """
        ts = timestamp()
        reply = await self._dag.call("resume", {"run": self._run, "ts": ts})
        state = await whole_state(self._dag.call, self._run, reply["run"])
        if seen_seq is not None:
            for event in await self.story(state, seen_seq, until=reply["index"]):
                self._emit(event)
        self._next = reply["index"]
        data = _resumed(reply["index"], state)
        self._deliver({"index": reply["index"], "kind": "resumed", "ts": ts, "data": data})
        return state

    async def append(self, records: Sequence[Mapping[str, object]]) -> None:
        """Records of kinds started, failed, decision, gate or noted; not waiting for the disk."""
        if not records:
            return
        self._unsent += 1
        try:
            await self._dag.ready()  # from here until it is sent nothing else comes between
        finally:
            self._unsent -= 1
        ts = timestamp()
        stamped = [{**record, "ts": ts} for record in records]
        args = {"run": self._run, "records": stamped}
        first = None
        try:
            while first is None:
                try:
                    first = (await self._write("append", args, repeat=False))["first"]
                except BusError as error:
                    if error.code not in AWAY:
                        raise
                    self._lost.add(id(stamped))
                    first = await self._find(stamped)
        finally:
            self._lost.discard(id(stamped))
        for index, record in enumerate(stamped, first):
            self._deliver({"index": index, **record})

    async def complete(
        self,
        step: str,
        attempt: int,
        outputs: Mapping[str, object],
        quality: float | None,
        after: asyncio.Task[None],
    ) -> Advance:
        """The step succeeded; returns once that is on disk. `after`: the `append` of its start,
        which the journal has before it."""
        data = {"run": self._run, "step": step, "attempt": attempt, "outputs": outputs}
        if quality is not None:
            data["quality"] = quality
        try:
            return await self._end("complete", "completed", data, after)
        finally:
            after.cancel()  # nothing is left of it unless this failed

    async def fail(self, step: str, attempt: int, error: Mapping[str, object]) -> Advance:
        """The step failed for good."""
        data = {"run": self._run, "step": step, "attempt": attempt, "error": error}
        return await self._end("fail", "failed", data)

    async def skip(self, step: str, reason: str) -> Advance:
        """The step is left out."""
        return await self._end(
            "skip", "skipped", {"run": self._run, "step": step, "reason": reason}
        )

    async def finish(self, outcome: str, data: Mapping[str, object]) -> None:
        """The run ended."""
        ts = timestamp()
        args = {"run": self._run, "outcome": outcome, "data": data, "ts": ts}
        reply = await self._dag.call("finish", args)
        record = {"index": reply["index"], "kind": "finished", "ts": ts}
        self._deliver({**record, "data": {"outcome": outcome, "data": data}})

    async def learned(self, kind: str) -> dict[str, Measured]:
        """What was measured of each player at steps of the kind, in all runs."""
        reply = await self._dag.call("learned", {"kind": kind, "limit": PAGE})
        return {
            pair["player"]: Measured(pair["succeeded"], pair["failed"], pair["mean_ms"] / 1000)
            for pair in reply["pairs"]
        }

    def progress(self, step: str, body: Body) -> None:
        """A step's progress, told at a bounded pace; the last before the attempt's end always."""
        if self._pace.offer(step, body, self._clock(), self._progress):
            self._tell(step, body)

    def _tell(self, step: str, body: Body | None) -> None:
        if body is not None:
            self._progress += 1
            seq = self.last * STRIDE + self._progress
            self._emit(progress_event(seq, timestamp(), self._run, step, body))

    async def story(
        self, state: Mapping[str, Any], seen_seq: int = 0, until: int | None = None
    ) -> list[RunEvent]:
        """The events of the records after ``seen_seq``, up to before index ``until``.

        ``state`` is the run's STATE: a `resumed` record holds nothing but its time.
        """
        events: list[RunEvent] = []
        for record in await self.records(after=seen_seq // STRIDE):
            if until is not None and record["index"] >= until:
                break
            if record["kind"] == "resumed":
                record["data"] = _resumed(record["index"], state)
            with read_as(DAG, "journal"):
                event = project(self._run, record)
            if event is not None:
                events.append(event)
        return events

    async def records(self, after: int = 0) -> list[dict[str, Any]]:
        """All records after an index."""
        found: list[dict[str, Any]] = []
        more = True
        while more:
            last = found[-1]["index"] if found else after
            args = {"run": self._run, "after": last, "limit": PAGE}
            reply = await self._dag.call("journal", args)
            require_order(reply, last)
            found += reply["records"]
            more = reply["more"]
        return found

    async def _find(self, stamped: Sequence[Mapping[str, object]]) -> int | None:
        """Where records stand that the tracker took before it ended; None if it did not."""
        records = await self.records(after=self.last)
        for record in records:
            if all(record.get(key) == value for key, value in stamped[0].items()):
                return int(record["index"])
        return None

    async def _end(
        self,
        method: str,
        kind: str,
        args: Mapping[str, object],
        after: asyncio.Task[None] | None = None,
    ) -> Advance:
        ts = timestamp()
        reply = await self._follow(after, method, {**args, "ts": ts})
        self._deliver(
            {
                "index": reply["index"],
                "kind": kind,
                "ts": ts,
                "step": args["step"],
                "attempt": args.get("attempt", 0),
                "data": {"final": True, **args},
            }
        )
        cascade = list(reply.get("cascade", []))
        if reply.get("more"):
            rest = await self.records(after=cascade[-1]["index"] if cascade else reply["index"])
            more = itertools.takewhile(lambda record: record["kind"] == "skipped", rest)
            cascade += [{**record, "reason": record["data"]["reason"]} for record in more]
        for entry in cascade:
            data = {"reason": entry["reason"]}
            self._deliver({**entry, "kind": "skipped", "ts": ts, "data": data})
        skipped = [entry["step"] for entry in cascade]
        self._require_known(method, skipped)
        return Advance(self._ranked(method, reply), reply["left"], skipped)

    async def _follow(
        self, after: asyncio.Task[None] | None, method: str, args: Mapping[str, object]
    ) -> Any:
        """A call that comes after a record. The tracker takes both in the order in which they were
        sent, so nothing is waited for unless one of them is lost."""
        if after is not None and self._dag.up and not self._lost and not self._unsent:
            try:
                reply = await self._write(method, args, repeat=False)
            except BusError as error:
                if error.code not in AWAY:
                    raise
            else:
                await after
                return reply
        if after is not None:
            await after
        return await self._write(method, args)

    def _ranked(self, method: str, reply: Mapping[str, Any]) -> Ready:
        ready = [(step, float(rank)) for step, rank in reply["ready"]]
        self._require_known(method, (step for step, _ in ready))
        return ready

    def _require_known(self, method: str, steps: Iterable[str]) -> None:
        if unknown := next((step for step in steps if step not in self._steps), None):
            raise broken(DAG, method, f"this run has no step {unknown}")

    async def _write(self, method: str, args: Mapping[str, object], *, repeat: bool = True) -> Any:
        self._owed += 1
        try:
            return await self._dag.call(method, args, repeat=repeat)
        finally:
            self._owed -= 1

    def _deliver(self, record: Mapping[str, Any]) -> None:
        """Emits records in the order of their index, whatever order the replies came in."""
        index = record["index"]
        if index < self._next:
            return  # a repeated call got its first reply again
        self._held[index] = record
        while self._next in self._held:
            self._emit_record(self._held.pop(self._next))

    def _emit_record(self, record: Mapping[str, Any]) -> None:
        step, kind = str(record.get("step") or ""), record["kind"]
        if kind in ENDS:
            self._tell(step, self._pace.end(step))
        self._next += 1
        self._progress = 0
        if (event := project(self._run, record)) is not None:
            self._emit(event)
        if kind == "started":
            self._tell(step, self._pace.begin(step, self._clock()))


def require_order(reply: Mapping[str, Any], after: int) -> None:
    """A page of a journal goes on behind this record. Raises `SymphonyError`."""
    indexes = [after, *(record["index"] for record in reply["records"])]
    rises = all(before < index for before, index in itertools.pairwise(indexes))
    if not rises or (reply["more"] and len(indexes) == 1):
        raise broken(DAG, "journal", "its pages do not go on")


def _resumed(index: int, state: Mapping[str, Any]) -> dict[str, Any]:
    head = {key: state[key] for key in ("melody", "version", "inputs")}
    return {"from": index - 1, **head}


def other_run(document: object, run: str) -> str | None:
    """Whose a run's journal is, by the document that the kernel opened it with, if another's."""
    match document:
        case {"run": str(whose)} if whose != run:
            return whose
    return None


def require_own(state: Mapping[str, Any], run: str) -> None:
    """Raises `SymphonyError` where this STATE is of another run: its journal has a wrong name."""
    if (whose := other_run(state.get("document"), run)) is not None:
        raise SymphonyError(
            ExitCode.IO,
            f"the journal of run {run} is damaged: it is that of the run {whose}",
            where=f"{run}.journal",
            help=f"give it back its name, or restore this file from a backup and remove {run}"
            ".journal.synced beside it; other runs are not affected",
            fault="environment",
            name="corrupt",
        )


async def whole_state(
    ask: Callable[[str, Mapping[str, object]], Awaitable[Any]],
    run: str,
    state: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A run's STATE with all of its steps; ``state`` is its first page if that is known."""
    whole = state or await ask("state", {"run": run})
    page = whole
    if lacking := {"document", "inputs", "ready"} - whole.keys():
        raise broken(DAG, "state", f"there is no `{min(lacking)}`")
    require_own(whole, run)
    while page.get("more"):
        page = await ask("state", {"run": run, "after": len(whole["steps"])})
        if not page["steps"]:
            raise broken(DAG, "state", "its pages do not go on")
        whole["steps"] += page["steps"]
    return dict(whole)
