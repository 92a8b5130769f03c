"""Events come out in the order of the journal, whatever order the tracker's replies come in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.bus.errors import BusError
from symphony.kernel.events import RunEvent
from symphony.kernel.journal import BEHIND, RunJournal
from symphony.kernel.members import Member
from symphony.kernel.projection import STRIDE


class Tracker:
    """Numbers records in the order of the calls and lets the test decide when each is answered."""

    def __init__(self) -> None:
        self.up = True
        self.records: list[dict[str, Any]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.lose_next_reply = False

    async def ready(self) -> None:
        """It serves."""

    async def call(self, method: str, args: Mapping[str, Any], *, repeat: bool = True) -> Any:
        del repeat
        if method == "journal":
            found = [r for r in self.records if r["index"] > args["after"]]
            return {"records": found, "more": False}
        first = len(self.records) + 1
        for offset, record in enumerate(args["records"]):
            self.records.append({"index": first + offset, **record})
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(answered)
        await answered
        if self.lose_next_reply:
            self.lose_next_reply = False
            raise BusError("crashed", "the tracker ended before it answered")
        return {"first": first, "last": first + len(args["records"]) - 1}


def started(number: int) -> dict[str, object]:
    data = {"player": "p", "instance": "i", "pid": 1, "sandbox": "strict"}
    return {"kind": "started", "step": f"s{number}", "attempt": 1, "data": data}


@given(st.permutations(range(6)))
def test_events_follow_the_index(order: list[int]) -> None:
    async def scenario() -> list[int]:
        told: list[RunEvent] = []
        tracker = Tracker()
        journal = RunJournal(cast(Member, tracker), "r", told.append)
        appends = [asyncio.create_task(journal.append([started(n)])) for n in range(6)]
        await asyncio.sleep(0)
        for number in order:
            tracker.waiting[number].set_result(None)
            await asyncio.sleep(0)
        await asyncio.gather(*appends)
        return [event.seq for event in told]

    assert asyncio.run(scenario()) == [n * STRIDE for n in range(1, 7)]


def test_more_may_begin_while_the_tracker_keeps_up() -> None:
    async def scenario() -> list[bool]:
        tracker = Tracker()
        journal = RunJournal(cast(Member, tracker), "r", lambda _: None)
        seen = [journal.keeps_up]
        appends = [asyncio.create_task(journal.append([started(n)])) for n in range(BEHIND)]
        await asyncio.sleep(0)
        seen.append(journal.keeps_up)
        tracker.waiting[0].set_result(None)
        await appends[0]
        seen.append(journal.keeps_up)
        tracker.up = False
        seen.append(journal.keeps_up)
        for answer in tracker.waiting[1:]:
            answer.set_result(None)
        await asyncio.gather(*appends)
        return seen

    assert asyncio.run(scenario()) == [True, False, True, False]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told_of(signs: list[tuple[float, int]], end: str) -> list[tuple[int, float]]:
    """What is told of signs (seconds since the one before, done) of one attempt: seq and done."""

    async def scenario() -> list[tuple[int, float]]:
        told: list[RunEvent] = []
        tracker, clock = Tracker(), Clock()
        journal = RunJournal(cast(Member, tracker), "r", told.append, clock)

        async def append(record: dict[str, object]) -> None:
            task = asyncio.create_task(journal.append([record]))
            await asyncio.sleep(0)
            tracker.waiting[-1].set_result(None)
            await task

        await append(started(0))
        for pause, done in signs:
            clock.now += pause
            journal.progress("s0", {"done": done})
        error = {"class": "failed", "message": "why", "fault": "provider"}
        await append({"kind": end, "step": "s0", "attempt": 1, "data": {"error": error}})
        return [(event.seq, getattr(event, "done", -1)) for event in told]

    return asyncio.run(scenario())


@pytest.mark.parametrize("end", ["failed", "completed"])
def test_a_flood_of_progress_is_told_at_a_bounded_pace_and_its_last_always(end: str) -> None:
    flood = [(0.001, done) for done in range(1, 1001)]  # one second long
    signs = told_of(flood, end)[1:-1]
    assert 8 <= len(signs) <= 12
    assert signs[0][1] == 1
    assert signs[-1][1] == 1000
    numbers = [seq for seq, _ in signs]
    assert numbers == list(range(STRIDE + 1, STRIDE + 1 + len(signs)))


def test_slow_progress_is_told_whole() -> None:
    assert [done for _, done in told_of([(0.2, n) for n in range(20)], "completed")[1:-1]] == [
        *range(20)
    ]


def test_progress_never_needs_more_numbers_than_lie_between_two_records() -> None:
    events = told_of([(10.0, done) for done in range(20_000)], "completed")
    assert [seq for seq, _ in events] == sorted({seq for seq, _ in events})
    assert events[-1][0] == 2 * STRIDE
    assert events[-2][1] == 19_999


def test_progress_that_is_quicker_than_the_start_is_told_after_it() -> None:
    async def scenario() -> list[str]:
        told: list[RunEvent] = []
        tracker = Tracker()
        journal = RunJournal(cast(Member, tracker), "r", told.append)
        task = asyncio.create_task(journal.append([started(0)]))
        await asyncio.sleep(0)
        journal.progress("s0", {"done": 1})
        tracker.waiting[0].set_result(None)
        await task
        return [type(event).__name__ for event in told]

    assert asyncio.run(scenario()) == ["StepStarted", "StepProgress"]


def test_records_whose_acknowledgement_was_lost_are_not_written_twice() -> None:
    async def scenario() -> tuple[int, list[int]]:
        told: list[RunEvent] = []
        tracker = Tracker()
        tracker.lose_next_reply = True
        journal = RunJournal(cast(Member, tracker), "r", told.append)
        task = asyncio.create_task(journal.append([started(0)]))
        await asyncio.sleep(0)
        tracker.waiting[0].set_result(None)
        await task
        return len(tracker.records), [event.seq for event in told]

    assert asyncio.run(scenario()) == (1, [STRIDE])


class Ending(Tracker):
    """Ends with the first calls unread, `seen` of them taken; the next one answers at once. Whoever
    sent the later call hears of it first."""

    def __init__(self, seen: int) -> None:
        super().__init__()
        self.seen = seen
        self.lost: list[asyncio.Future[None]] = []

    async def call(self, method: str, args: Mapping[str, Any], *, repeat: bool = True) -> Any:
        if method == "journal":
            return await super().call(method, args)
        kinds = [record["kind"] for record in args.get("records", [])] or [method]
        if len(self.lost) < 2:
            taken, future = self.seen > len(self.lost), asyncio.get_running_loop().create_future()
            self.lost.append(future)
            if taken:
                self._take(kinds, args)
            if len(self.lost) == 2:
                for one in reversed(self.lost):
                    one.set_result(None)
            await future
            if not repeat:
                raise BusError("crashed", "the tracker ended before it answered")
        first = self._take(kinds, args)
        return {"first": first, "index": first, "ready": [], "left": 0}

    def _take(self, kinds: list[str], args: Mapping[str, Any]) -> int:
        known = [record["index"] for record in self.records if record["kind"] == kinds[0]]
        if known and kinds == ["complete"]:
            return int(known[0])  # a repeated call
        rows = args.get("records", [{"kind": "complete"}])
        first = len(self.records) + 1
        self.records += [{"index": first + at, **row} for at, row in enumerate(rows)]
        return first


@pytest.mark.parametrize("seen", [0, 1, 2])
def test_a_completion_that_did_not_wait_for_its_start_comes_after_it(seen: int) -> None:
    async def scenario() -> tuple[list[str], list[str]]:
        told: list[RunEvent] = []
        tracker = Ending(seen)
        journal = RunJournal(cast(Member, tracker), "r", told.append)
        start = asyncio.create_task(journal.append([started(1)]))
        await asyncio.sleep(0)
        await journal.complete("s1", 1, {}, None, after=start)
        assert len(tracker.lost) == 2  # it was sent although the start was not acknowledged
        return [record["kind"] for record in tracker.records], [type(e).__name__ for e in told]

    async def bounded() -> tuple[list[str], list[str]]:
        return await asyncio.wait_for(scenario(), 10)

    assert asyncio.run(bounded()) == (["started", "complete"], ["StepStarted", "StepFinished"])


class Coming(Tracker):
    """Away at first; whoever waits for it is woken a turn of the loop after it is back."""

    def __init__(self) -> None:
        super().__init__()
        self.up = False
        self.came = asyncio.Event()

    def come(self) -> None:
        self.up = True
        self.came.set()

    async def ready(self) -> None:
        await self.came.wait()

    async def call(self, method: str, args: Mapping[str, Any], *, repeat: bool = True) -> Any:
        await self.ready()
        self.records += args.get("records", [{"kind": method}])
        return {"first": len(self.records), "index": len(self.records), "ready": [], "left": 0}


def test_a_completion_never_overtakes_a_start_that_waits_for_the_tracker() -> None:
    async def scenario() -> list[str]:
        tracker = Coming()
        journal = RunJournal(cast(Member, tracker), "r", lambda _: None)
        start = asyncio.create_task(journal.append([started(1)]))
        await asyncio.sleep(0)
        tracker.come()
        await journal.complete("s1", 1, {}, None, after=start)
        return [record["kind"] for record in tracker.records]

    assert asyncio.run(scenario()) == ["started", "complete"]


def test_nothing_to_write_is_not_sent() -> None:
    tracker = Coming()
    asyncio.run(RunJournal(cast(Member, tracker), "r", lambda _: None).append([]))
    assert not tracker.records
