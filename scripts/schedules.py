"""Schedules of workflows by rules that everybody knows, to measure ours beside them.

Upward-rank list scheduling and HEFT with insertion are those of H. Topcuoglu, S. Hariri and
M.-Y. Wu (IEEE TPDS 13(3), 2002), written from the paper. No code of the product is used here.
"""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from statistics import fmean
from typing import Any

SPEEDS = (1.0, 2.0, 0.5, 1.5)
BANDWIDTH = 125e6  # bytes in a second between two slots: a gigabit network


@dataclass(frozen=True)
class Machines:
    """One speed a slot (seconds of work in a second); without bandwidth transfers take no time."""

    speeds: tuple[float, ...]
    bandwidth: float | None = None

    @classmethod
    def alike(cls, slots: int) -> "Machines":
        """As fast as the one where the workflow was recorded, and nothing to send."""
        return cls((1.0,) * slots)

    @classmethod
    def mixed(cls, slots: int) -> "Machines":
        """Of four speeds, joined by a network."""
        return cls(tuple(SPEEDS[slot % len(SPEEDS)] for slot in range(slots)), BANDWIDTH)

    def mean_s(self, seconds: float) -> float:
        """What a task takes on an average slot."""
        return seconds * fmean(1 / speed for speed in self.speeds)

    def transfer_s(self, size: float) -> float:
        """What sending so many bytes takes."""
        return 0.0 if self.bandwidth is None else size / self.bandwidth


@dataclass(frozen=True)
class Work:
    """A workflow: seconds of each task, and its parents with the bytes that come from each."""

    name: str
    seconds: tuple[float, ...]
    parents: tuple[tuple[tuple[int, float], ...], ...]

    @classmethod
    def of(cls, name: str, workflow: dict[str, Any]) -> "Work":
        """From the form of scripts/workflows.py."""
        seconds, parents = [], []
        for _, took, after, *sizes in workflow["tasks"]:
            seconds.append(float(took))
            sent = sizes[0] if sizes else [0.0] * len(after)
            parents.append(tuple(dict(zip(after, sent, strict=True)).items()))
        return cls(name, tuple(seconds), tuple(parents))

    @property
    def order(self) -> list[int]:
        """The tasks, parents first."""
        waits = {at: [on for on, _ in them] for at, them in enumerate(self.parents)}
        return list(TopologicalSorter(waits).static_order())

    def children(self) -> list[list[tuple[int, float]]]:
        """What follows each task, with the bytes that go there."""
        found: list[list[tuple[int, float]]] = [[] for _ in self.seconds]
        for task, parents in enumerate(self.parents):
            for parent, size in parents:
                found[parent].append((task, size))
        return found

    def ranks(self, machines: Machines) -> list[float]:
        """Upward ranks in seconds."""
        children = self.children()
        ranks = [0.0] * len(self.seconds)
        for task in reversed(self.order):
            onward = (machines.transfer_s(size) + ranks[child] for child, size in children[task])
            ranks[task] = machines.mean_s(self.seconds[task]) + max(onward, default=0.0)
        return ranks

    def lower_bound(self, machines: Machines) -> float:
        """No schedule is shorter: the critical path on the fastest, or all of the work shared."""
        path = max(self.ranks(Machines.alike(1)))
        return max(path / max(machines.speeds), sum(self.seconds) / sum(machines.speeds))


Rule = Callable[[int, int], float]  # of a task, and how many became ready before it: least first


def list_schedule(work: Work, slots: int, rule: Rule) -> float:
    """The makespan where a free slot takes what is ready and first by the rule."""
    children = work.children()
    waits = [len(parents) for parents in work.parents]
    ready: list[tuple[float, int]] = []
    running: list[tuple[float, int]] = []
    arrived, now = 0, 0.0

    def arrive(task: int) -> None:
        nonlocal arrived
        heapq.heappush(ready, (rule(task, arrived), task))
        arrived += 1

    for task, count in enumerate(waits):
        if not count:
            arrive(task)
    while ready or running:
        while ready and len(running) < slots:
            _, task = heapq.heappop(ready)
            heapq.heappush(running, (now + work.seconds[task], task))
        now, task = heapq.heappop(running)
        for child, _ in children[task]:
            waits[child] -= 1
            if not waits[child]:
                arrive(child)
    return now


def upward_rank(work: Work, slots: int) -> float:
    """By upward rank."""
    ranks = work.ranks(Machines.alike(slots))
    return list_schedule(work, slots, lambda task, _: -ranks[task])


def fifo(work: Work, slots: int) -> float:
    """First come, first served."""
    return list_schedule(work, slots, lambda _, arrived: arrived)


def file_order(work: Work, slots: int) -> float:
    """What stands first in the file."""
    return list_schedule(work, slots, lambda task, _: task)


def shortest_first(work: Work, slots: int) -> float:
    """The shortest task first."""
    return list_schedule(work, slots, lambda task, _: work.seconds[task])


class Places:
    """Where tasks were put, and when their results are where."""

    def __init__(self, work: Work, machines: Machines) -> None:
        self._work = work
        self._machines = machines
        self._of: dict[int, tuple[int, float]] = {}  # slot and end

    def put(self, task: int, slot: int, end: float) -> None:
        """It ends there then."""
        self._of[task] = slot, end

    def arrivals(self, task: int) -> list[float]:
        """For each slot: when everything that the task needs is there."""
        slots = range(len(self._machines.speeds))
        anywhere = 0.0
        by_slot: dict[int, list[tuple[float, float]]] = {}
        for parent, size in self._work.parents[task]:
            slot, end = self._of[parent]
            there = end + self._machines.transfer_s(size)
            by_slot.setdefault(slot, []).append((end, there))
            anywhere = max(anywhere, there)
        found = [anywhere] * len(slots)
        for slot in by_slot:
            later = max((t for s, ends in by_slot.items() if s != slot for _, t in ends), default=0)
            found[slot] = max(later, max(end for end, _ in by_slot[slot]))
        return found


def heft(work: Work, machines: Machines, given: Sequence[float] | None = None) -> float:
    """The makespan of HEFT: by rank (its own, or the given ones), each task where it ends first, in
    a gap if one is wide enough."""
    ranks = given or work.ranks(machines)
    place = {task: at for at, task in enumerate(work.order)}
    order = sorted(range(len(work.seconds)), key=lambda task: (-ranks[task], place[task]))
    places = Places(work, machines)
    busy: list[_Busy] = [_Busy() for _ in machines.speeds]
    makespan = 0.0
    for task in order:
        arrives = places.arrivals(task)
        options = [
            (busy[slot].gap(arrives[slot], work.seconds[task] / speed), slot)
            for slot, speed in enumerate(machines.speeds)
        ]
        (begin, end), slot = min(options, key=lambda option: (option[0][1], option[1]))
        busy[slot].take(begin, end)
        places.put(task, slot, end)
        makespan = max(makespan, end)
    return makespan


class _Busy:
    """When one slot is busy: spans that do not touch, in order."""

    def __init__(self) -> None:
        self._begins: list[float] = []
        self._ends: list[float] = []

    def gap(self, earliest: float, takes: float) -> tuple[float, float]:
        """The first span of that length that is free from then on."""
        begin = earliest
        for at in range(bisect_right(self._ends, earliest), len(self._ends)):
            if begin + takes <= self._begins[at]:
                break
            begin = max(begin, self._ends[at])
        return begin, begin + takes

    def take(self, begin: float, end: float) -> None:
        """Marks a span; one that touches others becomes one with them."""
        if begin == end:
            return
        at = bisect_right(self._begins, begin)
        if at and self._ends[at - 1] == begin:
            at -= 1
            begin = self._begins.pop(at)
            self._ends.pop(at)
        if at < len(self._begins) and self._begins[at] == end:
            end = self._ends.pop(at)
            self._begins.pop(at)
        self._begins.insert(at, begin)
        self._ends.insert(at, end)
