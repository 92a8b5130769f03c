"""One run's journal at the DAG Tracker, and its events as a projection of it.

The journal is the truth of a run; every event but progress is one record of it, and the event's
``seq`` is the record's index times 1000. So ``seq`` rises over all resumptions, an event is written
only after its record is acknowledged, and a resumed run never repeats one. Progress is not
journaled: it takes the numbers between two records, at the pace of pacing.py.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from symphony.bus.errors import BusError

from .events import RunEvent
from .members import AWAY, Member
from .pacing import Body, Pace
from .projection import STRIDE, progress_event, project

Emit = Callable[[RunEvent], None]
Clock = Callable[[], float]
PAGE = 1000
ENDS = frozenset({"completed", "failed"})  # of an attempt


def timestamp() -> str:
    """Now, RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Advance:
    """What ending a step changed: steps now ready with their ranks (ms), and how many are left."""

    ready: list[tuple[str, float]]
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
        self._progress = 0
        self._pace = Pace()
        self._clock = clock

    @property
    def last(self) -> int:
        """The index of the last record whose event was emitted."""
        return self._next - 1

    async def open(self, request: Mapping[str, object]) -> Advance:
        """Opens the run; ``request`` as `pit.dag/1 open` without run and ts."""
        ts = timestamp()
        reply = await self._dag.call("open", {"run": self._run, "ts": ts, **request})
        data = {key: request[key] for key in ("melody", "version", "inputs")}
        self._deliver({"index": reply["index"], "kind": "opened", "ts": ts, "data": data})
        return _advance(reply, left=reply["steps"])

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
        ts = timestamp()
        stamped = [{**record, "ts": ts} for record in records]
        args = {"run": self._run, "records": stamped}
        first = None
        while first is None:
            try:
                first = (await self._dag.call("append", args, repeat=False))["first"]
            except BusError as error:
                if error.code not in AWAY:
                    raise
                first = await self._find(stamped)
        for index, record in enumerate(stamped, first):
            self._deliver({"index": index, **record})

    async def complete(
        self, step: str, attempt: int, outputs: Mapping[str, object], quality: float | None
    ) -> Advance:
        """The step succeeded; returns once that is on disk."""
        data = {"run": self._run, "step": step, "attempt": attempt, "outputs": outputs}
        if quality is not None:
            data["quality"] = quality
        return await self._end("complete", "completed", data)

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
            if (event := project(self._run, record)) is not None:
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

    async def _end(self, method: str, kind: str, args: Mapping[str, object]) -> Advance:
        ts = timestamp()
        reply = await self._dag.call(method, {**args, "ts": ts})
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
        return _advance(reply, skipped=(entry["step"] for entry in cascade))

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


def _resumed(index: int, state: Mapping[str, Any]) -> dict[str, Any]:
    head = {key: state[key] for key in ("melody", "version", "inputs")}
    return {"from": index - 1, **head}


async def whole_state(
    ask: Callable[[str, Mapping[str, object]], Awaitable[Any]],
    run: str,
    state: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A run's STATE with all of its steps; ``state`` is its first page if that is known."""
    whole = state or await ask("state", {"run": run})
    page = whole
    while page.get("more"):
        page = await ask("state", {"run": run, "after": len(whole["steps"])})
        whole["steps"] += page["steps"]
    return dict(whole)


def _advance(
    reply: Mapping[str, Any], left: int | None = None, skipped: Iterable[str] = ()
) -> Advance:
    ready = [(step, float(rank)) for step, rank in reply["ready"]]
    return Advance(ready, reply["left"] if left is None else left, list(skipped))
