"""What a peer's session needs of a transport; `nativedealer.NativeDealer`, `dealer.Dealer` and
`memory.MemoryPeer` are such."""

import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from .codec import Buffer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop  # slow to import, and an extension has no use for it


Message = tuple[Buffer, Buffer]  # header, body

# Of a socket, whatever it is made with.
LINGER_MS: Final = 500
HIGH_WATER: Final = 1_000
RECONNECT_MS: Final = 20


class Link(Protocol):
    """One connection to the hub that never waits."""

    def send(self, header: bytes, body: bytes) -> bool:
        """Sends one message; False if the transport is full for now."""

    def take(self, limit: int) -> list[Message]:
        """Takes the oldest messages; fewer than `limit` if there are no more."""

    def close(self) -> None:
        """Ends the connection."""


class LoopLink(Link, Protocol):
    """A link that a loop can wait for."""

    def attach(self, loop: "AbstractEventLoop", pump: Callable[[], None]) -> None:
        """Calls `pump` on the loop whenever there may be messages; it must read all of them."""

    def detach(self, loop: "AbstractEventLoop") -> None:
        """Undoes `attach`."""


class SocketLink(Link, Protocol):
    """A link that a thread can wait for: `fileno` becomes readable when there is a message, but
    only after `take` gave fewer than it was asked for, and any use of the link may make it
    unreadable again."""

    fileno: int


class Waitable:
    """How a loop waits for a link with a descriptor."""

    fileno: int

    def attach(self, loop: "AbstractEventLoop", pump: Callable[[], None]) -> None:
        """As `LoopLink`."""
        loop.add_reader(self.fileno, pump)

    def detach(self, loop: "AbstractEventLoop") -> None:
        """As `LoopLink`."""
        loop.remove_reader(self.fileno)


def readable(*descriptors: int) -> Callable[[float], list[tuple[int, int]]]:
    """A function that waits so many seconds for these; it gives those that are, as `poll` does."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return lambda limit_s: poller.poll(limit_s * 1000)
