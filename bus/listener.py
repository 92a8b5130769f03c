"""What the hub tells the kernel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .messages import Hello


@dataclass(frozen=True)
class DeadLetter:
    """A call or event that reached nobody.

    `kind` is `wire.CALL` or `wire.EVENT`, `sender` who sent it (empty: the kernel, or an event's
    publisher that is no longer known), `addressee` the peer that did not get it (empty: there was
    none), `name` a capability or topic, `code` the reason as an error's code.
    """

    kind: int
    sender: str
    addressee: str
    name: str
    method: str | None
    code: str
    body: bytes
    options: Mapping[str, Any]


class HubListener(Protocol):
    """What the kernel is told about its instances."""

    def registered(self, instance: str, hello: Hello) -> None:
        """It said hello and was welcomed."""

    def rejected(self, instance: str, reason: str) -> None:
        """It was turned away: `protocol` or `manifest`, or cut off later for a message that broke
        the protocol, `violation`."""

    def silent(self, instance: str) -> None:
        """Nothing was heard of it for the whole liveness window, or it cannot be reached again."""

    def left(self, instance: str, reason: str) -> None:
        """It said bye."""

    def overdue(self, instance: str) -> None:
        """It has not answered a cancelled call within the grace: it hangs."""

    def undelivered(self, letter: DeadLetter) -> None:
        """A call or event reached nobody."""

    def bus_ended(self, reason: str) -> None:
        """The hub ended and could not be started anew; nothing goes through it any more."""
