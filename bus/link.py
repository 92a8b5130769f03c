"""What a peer's session needs of a transport; `dealer.Dealer` and `memory.MemoryPeer` are such."""

import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from .codec import Buffer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop  # slow to import, and an extension has no use for it


class Link(Protocol):
    """One connection to the hub that never waits."""

    def send(self, header: bytes, body: bytes) -> bool:
        """Sends one message; False if the transport is full for now."""

    def receive(self) -> tuple[Buffer, Buffer] | None:
        """Takes the oldest message, None if there is none."""

    def attach(self, loop: "AbstractEventLoop", pump: Callable[[], None]) -> None:
        """Calls `pump` on the loop whenever there may be messages; it must read all of them."""

    def detach(self, loop: "AbstractEventLoop") -> None:
        """Undoes `attach`."""

    def close(self) -> None:
        """Ends the connection."""


class SocketLink(Protocol):
    """A link that can be waited for: `fileno` becomes readable when there is a message, but only
    after `receive` returned None, and any use of the link may make it unreadable again."""

    fileno: int

    def send(self, header: bytes, body: bytes) -> bool:
        """As `Link.send`."""

    def receive(self) -> tuple[Buffer, Buffer] | None:
        """As `Link.receive`."""

    def close(self) -> None:
        """As `Link.close`."""


def readable(*descriptors: int) -> Callable[[float], object]:
    """A function that waits so many seconds for one of these; true if there is one."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return lambda limit_s: poller.poll(limit_s * 1000)
