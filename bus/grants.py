"""What an instance may do on the bus, as the kernel says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

ANY: Final = "*"  # in a grant: every name


@dataclass(frozen=True)
class Limit:
    """How much one caller may ask of one capability: calls open at once (0: as many as a caller
    may have) and calls per second (0: any number), with `burst` at once."""

    credit: int = 0
    rate: float = 0.0
    burst: int = 1


UNLIMITED: Final = Limit()


@dataclass(frozen=True)
class Grants:
    """What an instance may do: names of capabilities and topics, or `*` for all.

    `safe` are those of its capabilities whose calls may be repeated without a second effect,
    `limits` bound what it calls, by capability. `owner` is the extension, whose instances share
    their idempotency keys; empty: the instance is alone.
    """

    provides: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()
    publishes: frozenset[str] = frozenset()
    subscribes: frozenset[str] = frozenset()
    safe: frozenset[str] = frozenset()
    limits: Mapping[str, Limit] = field(default_factory=dict)
    owner: str = ""

    def may_call(self, capability: str) -> bool:
        """Whether it may call a capability."""
        return _granted(capability, self.calls)

    def may_publish(self, topic: str) -> bool:
        """Whether it may publish to a topic."""
        return _granted(topic, self.publishes)

    def may_subscribe(self, topic: str) -> bool:
        """Whether it may read a topic."""
        return _granted(topic, self.subscribes)


def _granted(name: str, grant: frozenset[str]) -> bool:
    return name in grant or ANY in grant
