"""Topics (`PROTOCOL.md` section 12): who subscribes, sequence numbers, kept events; all bounded."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from . import wire
from .errors import BusError
from .names import check_topic

MAX_SUBSCRIPTIONS: Final = 256  # of one peer
MAX_IDLE: Final = 1_024  # topics without subscriber and kept event whose numbers go on
MAX_RUNS: Final = 16  # changes of the publisher that a topic remembers


@dataclass(frozen=True)
class Kept:
    """The event that late subscribers get."""

    sequence: int
    body: bytes


@dataclass
class _Topic:
    """One topic; subscribers in the order in which they came."""

    sequence: int = 0
    subscribers: dict[str, None] = field(default_factory=dict)
    kept: Kept | None = None
    # (first sequence number, publisher) wherever the publisher changed
    runs: "deque[tuple[int, str]]" = field(default_factory=lambda: deque(maxlen=MAX_RUNS))


class Topics:
    """All topics that somebody reads or that have something to say."""

    def __init__(self) -> None:
        self._topics: dict[str, _Topic] = {}
        self._of: dict[str, set[str]] = {}  # what each peer subscribes to
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._kept: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._topics)

    def subscribe(self, peer: str, topic: str) -> Kept | None:
        """Adds a subscriber; returns the kept event. Raises BusError `bad-request` for what is no
        topic, `overloaded` for one too many."""
        check_topic(topic)
        mine = self._of.setdefault(peer, set())
        if topic not in mine and len(mine) >= MAX_SUBSCRIPTIONS:
            raise BusError(
                "overloaded",
                f"more than {MAX_SUBSCRIPTIONS} topics",
                where="subscriptions",
                help="end a subscription that is no longer needed",
            )
        mine.add(topic)
        entry = self._topic(topic)
        entry.subscribers[peer] = None
        self._idle.pop(topic, None)
        return entry.kept

    def unsubscribe(self, peer: str, topic: str) -> None:
        """Ends one subscription, if there is one."""
        mine = self._of.get(peer, set())
        if topic in mine:
            mine.discard(topic)
            if not mine:
                del self._of[peer]
            del self._topics[topic].subscribers[peer]
            self._rest(topic)

    def forget(self, peer: str) -> None:
        """Ends all subscriptions of a peer."""
        for topic in list(self._of.get(peer, ())):
            self.unsubscribe(peer, topic)

    def publish(
        self, topic: str, publisher: str, body: bytes, *, keep: bool
    ) -> tuple[int, list[str]]:
        """Counts an event and keeps it if asked; returns its number and who is to get it.

        Raises BusError `bad-request` for what is no topic.
        """
        check_topic(topic)
        entry = self._topic(topic)
        entry.sequence += 1
        if not entry.runs or entry.runs[-1][1] != publisher:
            entry.runs.append((entry.sequence, publisher))
        if keep and len(body) <= wire.MAX_KEPT_BYTES:
            self._keep(topic, entry, body)
        elif keep:  # what it would replace is out of date
            entry.kept = None
            self._kept.pop(topic, None)
        self._rest(topic)
        return entry.sequence, list(entry.subscribers)

    def subscribers(self, topic: str) -> int:
        """How many subscribe to a topic."""
        entry = self._topics.get(topic)
        return len(entry.subscribers) if entry is not None else 0

    def publisher(self, topic: str, sequence: int) -> str | None:
        """Who published an event, if that is still known."""
        entry = self._topics.get(topic)
        runs = entry.runs if entry is not None else ()
        return next((who for first, who in reversed(runs) if first <= sequence), None)

    def _topic(self, topic: str) -> _Topic:
        entry = self._topics.get(topic)
        if entry is None:
            entry = self._topics[topic] = _Topic()
        return entry

    def _keep(self, topic: str, entry: _Topic, body: bytes) -> None:
        entry.kept = Kept(entry.sequence, body)
        self._kept[topic] = None
        self._kept.move_to_end(topic)
        if len(self._kept) > wire.MAX_KEPT_TOPICS:
            oldest, _ = self._kept.popitem(last=False)
            self._topics[oldest].kept = None
            self._rest(oldest)

    def _rest(self, topic: str) -> None:
        """Nobody needs a topic any more: its numbers go on for as long as there is room."""
        entry = self._topics[topic]
        if entry.subscribers or entry.kept:
            self._idle.pop(topic, None)
            return
        self._idle[topic] = None
        self._idle.move_to_end(topic)
        if len(self._idle) > MAX_IDLE:
            oldest, _ = self._idle.popitem(last=False)
            del self._topics[oldest]
