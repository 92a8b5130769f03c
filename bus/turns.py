"""Whose turn it is: what waits in lanes is taken from one lane after the other."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Items in lanes, taken round robin: one of each lane that has some, in the order in which they
    came into it. However many wait in one lane, the next of another waits for one of them only.

    What is put `first` goes before all lanes, what is put `last` after them. Not thread-safe.
    """

    def __init__(self) -> None:
        self._first: deque[T] = deque()
        self._ring: deque[tuple[int, deque[T]]] = deque()  # lanes with items, the next one first
        self._lanes: dict[int, deque[T]] = {}  # the same, by number
        self._last: deque[T] = deque()

    def put(self, lane: int, item: T) -> None:
        """Adds an item to a lane; nothing once there is a last one."""
        if self._last:
            return
        waiting = self._lanes.get(lane)
        if waiting is not None:
            waiting.append(item)
        else:
            waiting = self._lanes[lane] = deque((item,))
            self._ring.append((lane, waiting))

    def put_first(self, item: T) -> None:
        """Adds an item that goes before all but those that were put so before it."""
        self._first.append(item)

    def put_last(self, item: T) -> None:
        """Adds an item that comes when the lanes are empty, which are closed from now on."""
        self._last.append(item)

    def take(self) -> T:
        """The next item; raises IndexError if there is none."""
        if self._first:
            return self._first.popleft()
        ring = self._ring
        if not ring:
            return self._last.popleft()
        lane, waiting = ring[0]
        item = waiting.popleft()
        if waiting:
            if len(ring) > 1:
                ring.rotate(-1)
        else:
            ring.popleft()
            del self._lanes[lane]
        return item
