"""A DEALER socket of pyzmq moving single frames, without waiting: the clients' transport."""

from typing import Any, Final

import zmq

from . import wire
from .errors import BusError
from .link import HIGH_WATER, LINGER_MS, RECONNECT_MS, Message, Waitable
from .ticket import Curve, Ticket

_NOW: Final = int(zmq.DONTWAIT)
_MORE_NOW: Final = int(zmq.DONTWAIT | zmq.SNDMORE)
_UNCOPIED: Final = 65_536  # bytes from which handing a body over beats copying it


class Dealer(Waitable):
    """One connection to the hub. Not thread-safe, but for `fileno`."""

    def __init__(self, ticket: Ticket) -> None:
        self._context = zmq.Context(io_threads=1)
        self._socket = socket = self._context.socket(zmq.DEALER)
        socket.set(zmq.ROUTING_ID, ticket.routing_id())
        socket.set(zmq.LINGER, LINGER_MS)
        socket.set(zmq.SNDHWM, HIGH_WATER)
        socket.set(zmq.RCVHWM, HIGH_WATER)
        socket.set(zmq.RECONNECT_IVL, RECONNECT_MS)
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

    def take(self, limit: int) -> list[Message]:
        """The oldest messages of two frames; fewer than `limit` if there are no more.

        Then, and only then, `fileno` can be read as soon as there is another one.
        """
        taken: list[Message] = []
        try:
            while len(taken) < limit:
                header = self._recv(_NOW, False)
                if not header.more:
                    continue
                body = self._recv(_NOW, False)
                if not body.more:
                    lent = len(body) >= _UNCOPIED
                    taken.append((header.buffer, body.buffer if lent else body.bytes))
                    continue
                while self._recv(_NOW, False).more:
                    pass
        except zmq.Again:
            pass
        return taken

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
