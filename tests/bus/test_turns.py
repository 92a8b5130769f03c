"""What waits is taken in turns, within bounds that are shared."""

from collections import defaultdict, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.bus.room import Room
from symphony.bus.turns import Turns

LANES = st.integers(0, 3)
STEPS = st.lists(LANES | st.just("take") | st.just("first"), max_size=200)


@given(STEPS)
def test_lanes_keep_their_order_and_none_waits_for_more_than_one_of_each_other(
    steps: list[int | str],
) -> None:
    turns: Turns[tuple[int, int]] = Turns()
    lanes: dict[int, deque[int]] = defaultdict(deque)
    urgent: deque[int] = deque()
    since: dict[int, list[int]] = {}  # whose turn it was while a lane waited
    for number, step in enumerate(steps):
        if step == "first":
            urgent.append(number)
            turns.put_first((-1, number))
        elif isinstance(step, int):
            since.setdefault(step, [])
            lanes[step].append(number)
            turns.put(step, (step, number))
        elif not urgent and not any(lanes.values()):
            with pytest.raises(IndexError):
                turns.take()
        else:
            lane, item = turns.take()
            assert item == (urgent if urgent else lanes[lane]).popleft()
            if lane == -1:
                continue
            for served in since.values():
                served.append(lane)
                assert len(served) == len(set(served))
            del since[lane]
            if lanes[lane]:
                since[lane] = []


def test_the_last_one_comes_after_all_that_waited_and_nothing_after_it() -> None:
    turns: Turns[str] = Turns()
    for item in ("a1", "a2", "b1"):
        turns.put(ord(item[0]), item)
    turns.put_last("unload")
    turns.put(ord("a"), "a3")  # its lane still has some
    turns.put(ord("c"), "c1")
    turns.put_first("now")
    assert [turns.take() for _ in range(5)] == ["now", "a1", "b1", "a2", "unload"]
    with pytest.raises(IndexError):
        turns.take()


@given(st.lists(st.tuples(LANES, st.integers(0, 40), st.booleans()), max_size=200))
def test_a_lane_holds_what_all_leave_free_and_no_more(steps: list[tuple[int, int, bool]]) -> None:
    capacity = 100
    room = Room(capacity)
    held: dict[int, list[int]] = defaultdict(list)
    for lane, size, leaves in steps:
        if leaves and held[lane]:
            room.leave(lane, held[lane].pop())
        else:
            free = capacity - room.total - size
            admitted = room.admit(lane, size)
            assert admitted == (sum(held[lane]) + size <= free)
            if admitted:
                held[lane].append(size)
        assert room.total == sum(map(sum, held.values())) <= capacity


def test_whoever_comes_to_a_full_room_finds_as_much_as_each_of_the_others() -> None:
    room = Room(120)
    for lane, share in enumerate((60, 30, 15)):
        assert [room.admit(lane, 1) for _ in range(61)].count(True) == share
    for _ in range(60):
        room.leave(0, 1)
    assert room.admit(0, 30)
    assert not room.admit(3, 30)
