"""Events come out in the order of the journal, whatever order the tracker's replies come in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from symphony.bus.errors import BusError
from symphony.kernel.journal import RunJournal
from symphony.kernel.members import Member
from symphony.kernel.model import RunEvent
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


def test_progress_comes_between_two_records_and_is_bounded() -> None:
    async def scenario() -> list[int]:
        told: list[RunEvent] = []
        tracker = Tracker()
        journal = RunJournal(cast(Member, tracker), "r", told.append)
        task = asyncio.create_task(journal.append([started(0)]))
        await asyncio.sleep(0)
        tracker.waiting[0].set_result(None)
        await task
        for _ in range(2 * STRIDE):
            journal.progress("s0", {"done": 1})
        return [event.seq for event in told]

    numbers = asyncio.run(scenario())
    assert numbers == list(range(STRIDE, 2 * STRIDE))


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
