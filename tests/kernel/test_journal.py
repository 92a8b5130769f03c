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
from symphony.kernel.journal import RunJournal
from symphony.kernel.members import Member
from symphony.kernel.projection import STRIDE


class Tracker:
    """Numbers records in the order of the calls and lets the test decide when each is answered."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.lose_next_reply = False

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
