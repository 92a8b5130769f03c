"""What a peer's session needs of a transport; `dealer.Dealer` and `memory.MemoryPeer` are such."""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Protocol

from .codec import Buffer


class Link(Protocol):
    """One connection to the hub that never waits."""

    def send(self, header: bytes, body: bytes) -> bool:
        """Sends one message; False if the transport is full for now."""

    def receive(self) -> tuple[Buffer, Buffer] | None:
        """Takes the oldest message, None if there is none."""

    def attach(self, loop: AbstractEventLoop, pump: Callable[[], None]) -> None:
        """Calls `pump` on the loop whenever there may be messages; it must read all of them."""

    def detach(self, loop: AbstractEventLoop) -> None:
        """Undoes `attach`."""

    def close(self) -> None:
        """Ends the connection."""
