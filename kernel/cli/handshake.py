"""Why a kernel elsewhere did not answer: its door tells only in the handshake (ZAP, status 400).

The clients' sockets do not listen for that. So a command that got no answer knocks once more, with
a socket that is watched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from symphony.bus.ticket import Ticket

LIMIT_MS: Final = 2_000
_NOT_ALLOWED: Final = 400  # ZAP (ZeroMQ RFC 27): the key is not one that is let in


def is_key_refused(ticket: Ticket) -> bool:
    """Whether the kernel answers there and does not let this ticket's key in.

    False if it cannot be told: no answer, or the key of another kernel in the ticket.
    """
    if ticket.curve is None:
        return False
    import zmq
    from zmq.utils.monitor import recv_monitor_message

    failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH
    settled = (
        failed
        | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        | zmq.EVENT_HANDSHAKE_SUCCEEDED
        | zmq.EVENT_CONNECT_RETRIED
    )
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.curve_serverkey = ticket.curve.server.encode()
        peer.curve_publickey = ticket.curve.public.encode()
        peer.curve_secretkey = ticket.curve.secret.encode()
        with peer.get_monitor_socket(settled) as watch:
            peer.connect(ticket.endpoint)
            told = recv_monitor_message(watch) if watch.poll(LIMIT_MS) else None
            peer.disable_monitor()
    return told is not None and (told["event"], told["value"]) == (failed, _NOT_ALLOWED)
