"""Events on their way to the handlers of an extension, which takes them between its calls."""

from threading import Semaphore

import msgspec

from . import wire
from .heard import Event


class Backlog:
    """Bounds the events that wait; those without room are counted in the next one's `gap`.

    `admit` is for the thread that hears them, `take` for the one that handles them.
    """

    def __init__(self, capacity: int = wire.MAX_QUEUED_EVENTS) -> None:
        self._room = Semaphore(capacity)
        self._missed: dict[str, int] = {}

    def admit(self, event: Event) -> Event | None:
        """The event as it is to wait, None if there is no room for it."""
        gap = self._missed.get(event.topic, 0) + event.gap
        if not self._room.acquire(blocking=False):
            self._missed[event.topic] = gap + 1
            return None
        self._missed.pop(event.topic, None)
        return event if gap == event.gap else msgspec.structs.replace(event, gap=gap)

    def take(self) -> None:
        """An event waits no longer."""
        self._room.release()
