"""A DEALER socket moving single frames, without waiting: the transport of the clients."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import zmq

from . import wire
from .codec import Buffer
from .errors import BusError
from .ticket import Curve, Ticket

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop  # slow to import, and an extension has no use for it

_NOW: Final = int(zmq.DONTWAIT)
_MORE_NOW: Final = int(zmq.DONTWAIT | zmq.SNDMORE)
_LINGER_MS: Final = 500
_HIGH_WATER: Final = 1_000
_RECONNECT_MS: Final = 20
_UNCOPIED: Final = 65_536  # bytes from which handing a body over beats copying it


class Dealer:
    """One connection to the hub. Not thread-safe, but for `fileno`."""

    def __init__(self, ticket: Ticket) -> None:
        self._context = zmq.Context(io_threads=1)
        self._socket = socket = self._context.socket(zmq.DEALER)
        socket.set(zmq.ROUTING_ID, ticket.routing_id())
        socket.set(zmq.LINGER, _LINGER_MS)
        socket.set(zmq.SNDHWM, _HIGH_WATER)
        socket.set(zmq.RCVHWM, _HIGH_WATER)
        socket.set(zmq.RECONNECT_IVL, _RECONNECT_MS)
        socket.set(zmq.MAXMSGSIZE, wire.MAX_BODY)
        try:
            if ticket.curve is not None:
                _encrypt(socket, ticket.curve)
            socket.connect(ticket.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise BusError(
                "unavailable", f"cannot connect: {error.strerror}", where=ticket.endpoint
            ) from None
        except BusError:
            self.close()
            raise
        self.fileno = int(socket.FD)
        # The compiled methods without their wrappers, which cost as much as they do.
        raw: Any = zmq.backend.Socket
        self._send = raw.send.__get__(socket)
        self._recv = raw.recv.__get__(socket)

    def send(self, header: bytes, body: bytes) -> bool:
        """Sends one message; False if the transport is full for now."""
        try:
            self._send(header, _MORE_NOW)
            self._send(body, _NOW, len(body) < _UNCOPIED)
        except zmq.Again:
            return False
        return True

    def receive(self) -> tuple[Buffer, Buffer] | None:
        """Takes the oldest message of two frames, None if there is none.

        After None, and only then, `fileno` can be read as soon as there is another one.
        """
        try:
            while True:
                header = self._recv(_NOW, False)
                if not header.more:
                    continue
                body = self._recv(_NOW, False)
                if not body.more:
                    return header.buffer, body.buffer if len(body) >= _UNCOPIED else body.bytes
                while self._recv(_NOW, False).more:
                    pass
        except zmq.Again:
            return None

    def attach(self, loop: "AbstractEventLoop", pump: Callable[[], None]) -> None:
        """Calls `pump` on the loop whenever there may be messages; it must read all of them."""
        loop.add_reader(self.fileno, pump)

    def detach(self, loop: "AbstractEventLoop") -> None:
        """Undoes `attach`."""
        loop.remove_reader(self.fileno)

    def close(self) -> None:
        """Closes the connection; what was sent gets a moment to leave."""
        self._socket.close()
        self._context.term()


def _encrypt(socket: "zmq.Socket[bytes]", curve: Curve) -> None:
    try:
        socket.set(zmq.CURVE_SERVERKEY, curve.server.encode())
        socket.set(zmq.CURVE_PUBLICKEY, curve.public.encode())
        socket.set(zmq.CURVE_SECRETKEY, curve.secret.encode())
    except (zmq.ZMQError, UnicodeEncodeError):
        raise BusError("bad-request", "a key is not Z85 of 32 bytes", where="curve") from None
