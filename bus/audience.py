"""The fake's caller: the peer that the test itself is."""

import time
from collections.abc import Callable

from .errors import BusError
from .fakecalls import FakeCalls
from .heard import Event, Heard
from .memory import MemoryPeer
from .session import Session


class Audience:
    """Calls and listens. `pump` moves messages until nothing is left to do."""

    def __init__(self, link: MemoryPeer, pump: Callable[[], None]) -> None:
        self._link = link
        self._pump = pump
        self._session = Session(time.monotonic())
        self.calls = FakeCalls(self._session.asking, pump, unanswered)
        self._handlers: dict[str, Callable[[Event], None]] = {}

    def subscribe(self, topic: str, handler: Callable[[Event], None]) -> None:
        """Has a topic's events handled."""
        self._handlers[topic] = handler
        self._subscription(topic, begin=True)

    def unsubscribe(self, topic: str) -> None:
        """Ends that."""
        self._subscription(topic, begin=False)
        self._handlers.pop(topic, None)

    def _subscription(self, topic: str, *, begin: bool) -> None:
        request = self.calls.subscribe(topic, begin=begin)
        self._pump()
        self.calls.result(request)

    def turn(self) -> bool:
        """Sends what is to be sent, handles one message; whether there was anything to do."""
        busy = bool(self._session.out)
        while self._session.out:
            self._link.send(*self._session.out.pop(0))
        message = self._link.receive()
        if message is None:
            return busy
        heard = self._session.receive(*message, time.monotonic())
        if heard is not None:
            self._on_heard(heard)
        return True

    def _on_heard(self, heard: Heard) -> None:
        if isinstance(heard, Event):
            self._handlers[heard.topic](heard)
        else:
            self.calls.settle(heard)


def unanswered() -> BusError:
    """What is wrong if the extension says nothing."""
    return BusError("internal", "the extension did not answer")
