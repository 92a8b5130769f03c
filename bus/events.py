"""Events (`PROTOCOL.md` section 12): who may publish and subscribe, and what is sent to whom."""

from collections.abc import Callable

from . import wire
from .codec import Header, decode, encode, encode_header
from .datapath import KERNEL
from .errors import BusError
from .names import check_topic
from .state import State
from .topics import Kept, Topics

Hearer = Callable[[bytes], None]


class Events:
    """Topics with permissions."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._topics = Topics()
        self._heard: dict[str, Hearer] = {}

    def hear(self, topic: str, hearer: Hearer) -> None:
        """The kernel's own subscription; it gets each event's body as it came."""
        self._heard[topic] = hearer

    def forget(self, peer: str) -> None:
        """Ends all subscriptions of a peer."""
        self._topics.forget(peer)

    def publisher(self, head: Header) -> str:
        """Who published an event of the hub; the kernel if that is not known any more."""
        return self._topics.publisher(str(head.target), head.request) or KERNEL

    def subscribers(self, topic: str) -> int:
        """How many subscribe to a topic."""
        return self._topics.subscribers(topic)

    def publish(
        self, topic: str, body: bytes, *, keep: bool = False, publisher: str = KERNEL
    ) -> None:
        """Sends an event to every subscriber; raises BusError `bad-request`."""
        sequence, subscribers = self._topics.publish(topic, publisher, body, keep=keep)
        if (hearer := self._heard.get(topic)) is not None:
            hearer(body)
        if subscribers:
            options = {wire.KEEP_OPTION: True} if keep else None
            header = encode_header(wire.EVENT, topic, sequence, options=options)
            self._state.datapath.event(subscribers, header, body)

    def published(self, peer: str, head: Header, body: bytes) -> None:
        """A peer publishes."""
        topic = head.target
        if not isinstance(topic, str) or not self._state.roster.members[peer].grants.may_publish(
            topic
        ):
            self._state.denials.count(peer, str(topic), "publishes")
            return
        keep = (head.options or {}).get(wire.KEEP_OPTION) is True
        try:
            self.publish(topic, body, keep=keep, publisher=peer)
        except BusError:
            self._state.denials.count(peer, topic, "topic")

    def subscribed(self, peer: str, head: Header, body: bytes) -> None:
        """A peer begins or ends a subscription."""
        topic = str(head.target)
        try:
            kept = self._change(peer, topic, begin=decode(body))
        except BusError as error:
            header = encode_header(wire.ERROR, None, head.request)
            self._state.datapath.send(peer, header, encode(error.to_body()))
            return
        self._state.datapath.send(
            peer, encode_header(wire.RESULT, None, head.request), encode(None)
        )
        if kept is not None:
            options = {wire.SNAPSHOT_OPTION: True}
            header = encode_header(wire.EVENT, topic, kept.sequence, options=options)
            self._state.datapath.event([peer], header, kept.body)

    def _change(self, peer: str, topic: str, *, begin: object) -> Kept | None:
        check_topic(topic)
        if begin is True:
            self._check_readable(peer, topic)
            return self._topics.subscribe(peer, topic)
        if begin is not False:
            raise BusError("bad-request", "a subscription begins with true and ends with false")
        self._topics.unsubscribe(peer, topic)
        return None

    def _check_readable(self, peer: str, topic: str) -> None:
        if not self._state.roster.members[peer].grants.may_subscribe(topic):
            self._state.denials.count(peer, topic, "subscribes")
            raise BusError(
                "refused",
                f"{peer} may not subscribe to {topic}",
                where="permissions.subscribes",
                help="name the topic in the manifest's permissions and grant it",
            )
