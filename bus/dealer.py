"""A DEALER socket moving single frames, without waiting: the transport of the clients."""

import select
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import zmq

from . import wire
from .errors import BusError
from .ticket import Ticket

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop  # slow to import, and an extension has no use for it

_NOW: Final = int(zmq.DONTWAIT)
_MORE_NOW: Final = int(zmq.DONTWAIT | zmq.SNDMORE)
_LINGER_MS: Final = 500
_HIGH_WATER: Final = 1_000


class Dealer:
    """One connection to the hub. Not thread-safe."""

    def __init__(self, ticket: Ticket) -> None:
        self._context = zmq.Context(io_threads=1)
        self._socket = socket = self._context.socket(zmq.DEALER)
        socket.set(zmq.ROUTING_ID, ticket.routing_id())
        socket.set(zmq.LINGER, _LINGER_MS)
        socket.set(zmq.SNDHWM, _HIGH_WATER)
        socket.set(zmq.RCVHWM, _HIGH_WATER)
        socket.set(zmq.MAXMSGSIZE, wire.MAX_BODY)
        try:
            socket.connect(ticket.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise BusError(
                "unavailable", f"cannot connect: {error.strerror}", where=ticket.endpoint
            ) from None
        # The compiled methods without their wrappers, which cost as much as they do.
        raw: Any = zmq.backend.Socket
        self._send = raw.send.__get__(socket)
        self._recv = raw.recv.__get__(socket)

    def send(self, header: bytes, body: bytes) -> bool:
        """Sends one message; False if the transport is full for now."""
        try:
            self._send(header, _MORE_NOW)
            self._send(body, _NOW)
        except zmq.Again:
            return False
        return True

    def receive(self) -> tuple[bytes, bytes] | None:
        """Takes the oldest message of two frames, None if there is none."""
        try:
            while True:
                frames = [self._recv(_NOW)]
                while self._socket.get(zmq.RCVMORE):
                    frames.append(self._recv(_NOW))
                if len(frames) == 2:
                    return frames[0], frames[1]
        except zmq.Again:
            return None

    def wait(self, wakeup: int, timeout_s: float) -> None:
        """Returns when there is a message, when the descriptor `wakeup` can be read, or late."""
        poller = select.poll()
        poller.register(self._socket.FD, select.POLLIN)
        poller.register(wakeup, select.POLLIN)
        # The descriptor of a ZeroMQ socket tells of changes only: what is there must be read first.
        if not int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
            poller.poll(max(0, int(timeout_s * 1000)))

    def attach(self, loop: "AbstractEventLoop", pump: Callable[[], None]) -> None:
        """Calls `pump` on the loop whenever there may be messages; it must read all of them."""
        loop.add_reader(self._socket.FD, pump)

    def detach(self, loop: "AbstractEventLoop") -> None:
        """Undoes `attach`."""
        with suppress(zmq.ZMQError):
            loop.remove_reader(self._socket.FD)

    def close(self) -> None:
        """Closes the connection; what was sent gets a moment to leave."""
        self._socket.close()
        self._context.term()
