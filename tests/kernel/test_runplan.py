"""A Melody as the DAG Tracker is told of it: in one call, or in parts that each fit in one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest

from symphony.bus.errors import BusError
from symphony.bus.wire import MAX_BODY
from symphony.kernel.errors import SymphonyError
from symphony.kernel.journal import RunJournal
from symphony.kernel.melody import (
    PACKED,
    Contract,
    Header,
    Melody,
    MelodyFile,
    Step,
    from_document,
)
from symphony.kernel.members import Member
from symphony.kernel.pit.candidates import Measured
from symphony.kernel.runplan import PART_BYTES, expected_seconds, parts_of, steps_of


def melody(size: int, padding: str = "") -> Melody:
    """Steps in reverse: each waits for the next two of the file."""
    steps = tuple(
        Step(
            f"s{at}{padding}",
            "time.wait/1",
            inputs={"ms": float(at)},
            after=tuple(f"s{on}{padding}" for on in (at + 1, at + 2) if on < size),
            estimate_s=at / 1000,
        )
        for at in range(size)
    )
    file = MelodyFile(Header("m", "1.0.0"), steps)
    return Melody(file, {"time.wait/1": Contract()})


def test_a_step_is_told_with_its_kind_and_what_its_author_expects() -> None:
    assert steps_of(melody(2)) == [
        {"id": "s0", "after": [["s1", "soft"]], "kind": "time.wait/1", "estimate_ms": 0.0},
        {"id": "s1", "after": [], "kind": "time.wait/1", "estimate_ms": 1.0},
    ]
    bare = Melody(
        MelodyFile(Header("m", "1.0.0"), (Step("a", "time.wait/1"),)), {"time.wait/1": Contract()}
    )
    assert steps_of(bare) == [{"id": "a", "after": [], "kind": "time.wait/1"}]


def test_a_small_plan_is_one_part_in_the_order_of_the_file() -> None:
    assert parts_of(melody(100)) == [steps_of(melody(100))]


def test_the_parts_of_a_large_plan_fit_and_wait_for_nothing_that_is_to_come() -> None:
    subject = melody(20_000, "-a-rather-long-name-for-a-step")
    parts = parts_of(subject)
    assert len(parts) > 2
    known: set[str] = set()
    for part in parts:
        assert len(msgspec.msgpack.encode(part)) <= PART_BYTES + 5
        known |= {step["id"] for step in part}
        assert all(on in known for step in part for on, _ in step["after"])
    assert sum(map(len, parts)) == len(known) == 20_000
    assert len(msgspec.msgpack.encode(subject.document)) + PART_BYTES < MAX_BODY


def test_a_large_melody_is_packed_and_rebuilt() -> None:
    subject = melody(5_000)
    document = subject.document
    assert document["format"] == PACKED
    again = from_document(msgspec.msgpack.decode(msgspec.msgpack.encode(document)))
    assert (again, again.digest) == (subject, subject.digest)


def test_a_packed_melody_still_names_the_artifacts_that_it_refers_to() -> None:
    names = ["blake3:" + digit * 64 for digit in "ab"]
    first = Step("a", "time.wait/1", inputs={"x": {"$artifact": names[1]}, "y": names[0]})
    other = melody(5_000)
    file = MelodyFile(Header("m", "1.0.0"), (first, *other.steps))
    document = Melody(file, other.contracts).document
    assert document["format"] == PACKED
    assert document["references"] == names


@pytest.mark.parametrize("packed", [None, b"", b"x\x9c", "text"])
def test_a_packed_melody_that_cannot_be_read_is_refused(packed: object) -> None:
    with pytest.raises(SymphonyError):
        from_document({"format": PACKED, "packed": packed})


def test_how_long_steps_take_is_what_their_author_says_or_what_was_measured() -> None:
    steps = [Step("a", "x/1", estimate_s=3.0), Step("b", "x/1"), Step("c", "y/1")]
    players = {"a": "p", "b": "p", "c": "q"}
    learned = {"x/1": {"p": 0.5, "q": 9.0}, "y/1": {"q": 2.0}}
    assert expected_seconds(steps, players, learned) == {"a": 3.0, "b": 0.5, "c": 2.0}
    for unknown in ({"x/1": {"p": 0.5}}, {"x/1": {"p": 0.5}, "y/1": {"p": 2.0}}, {}):
        assert expected_seconds(steps, players, unknown) is None


def test_what_was_measured_is_asked_of_the_tracker() -> None:
    class Knows:
        async def call(self, method: str, args: Mapping[str, Any]) -> Any:
            assert (method, args["kind"]) == ("learned", "x/1")
            never = {"player": "q", "succeeded": 0, "failed": 2, "mean_ms": 0.0}
            often = {"player": "p", "succeeded": 3, "failed": 1, "mean_ms": 1500.0}
            return {"pairs": [often, never]}

    journal = RunJournal(cast(Member, Knows()), "r", lambda _: None)
    assert asyncio.run(journal.learned("x/1")) == {"p": Measured(3, 1, 1.5), "q": Measured(0, 2)}


class Tracker:
    """Knows a run's steps; ends after so many calls that change it."""

    def __init__(self, calls: int = 1_000) -> None:
        self.calls = calls
        self.steps: list[dict[str, Any]] = []
        self.last = 0
        self.grown: list[str] = []

    async def call(self, method: str, args: Mapping[str, Any], *, repeat: bool = True) -> Any:
        del repeat
        ready = [[step["id"], 7] for step in self.steps if not step["after"]]
        if method == "state":
            return self.state() | {"ready": ready}
        if self.last == self.calls:
            raise BusError("io", "the disk is full")
        if method == "grow":
            assert args["id"] not in self.grown
            self.grown.append(args["id"])
        known = {step["id"] for step in self.steps}
        assert known.isdisjoint(step["id"] for step in args.get("steps", ()))
        self.steps += args.get("steps", ())
        self.last += 1
        return {"index": self.last, "ready": [["old", 1]], "run": self.state()}

    def state(self) -> dict[str, Any]:
        return {
            "last": self.last,
            "steps": [{"id": step["id"]} for step in self.steps],
            "melody": "m",
            "version": "1.0.0",
            "document": {},
            "inputs": {},
            "ready": [],
        }


REQUEST = {"melody": "m", "version": "1.0.0", "inputs": {}}


def test_a_run_that_is_told_in_parts_starts_with_the_ranks_of_the_whole() -> None:
    async def scenario() -> None:
        tracker = Tracker()
        journal = RunJournal(cast(Member, tracker), "r", lambda _: None)
        parts = parts_of(melody(20_000))
        assert await journal.open(REQUEST, parts) == [("s19999", 7.0)]
        assert len(tracker.steps) == 20_000
        assert journal.last == tracker.last == len(parts)

    asyncio.run(scenario())


@pytest.mark.parametrize("calls", [1, 2])
def test_a_plan_that_an_earlier_kernel_did_not_tell_whole_is_told_on(calls: int) -> None:
    async def scenario() -> None:
        tracker = Tracker(calls)
        parts = parts_of(melody(20_000, "-a-rather-long-name-for-a-step"))
        with pytest.raises(BusError):
            await RunJournal(cast(Member, tracker), "r", lambda _: None).open(REQUEST, parts)
        assert len(tracker.steps) < 20_000
        tracker.calls = 1_000
        journal = RunJournal(cast(Member, tracker), "r", lambda _: None)
        state = await journal.complete_plan(await journal.resume(), parts)
        assert len(state["steps"]) == len(tracker.steps) == 20_000
        assert journal.last == tracker.last
        told = tracker.last
        assert await journal.complete_plan(state, parts) is state
        assert tracker.last == told

    asyncio.run(scenario())
