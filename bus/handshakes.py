"""Who does not speak CURVE where it must: libzmq ends such a connection by itself, before the door
(`zap.py`) is asked, and tells of it only here.

What is told names the endpoint by the address of the connection: where that is not the address
that was bound (`tcp://0.0.0.0:7700`), the port says which it is.
"""

from collections import Counter
from itertools import count
from typing import Final

import zmq

_names: Final = count(1)
# The second where the other side saw first that the two do not fit, and hung up.
_FAILED: Final = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


class Handshakes:
    """Watches a socket; belongs to the thread that uses it."""

    def __init__(self, router: "zmq.Socket[bytes]") -> None:
        self._router = router
        address = f"inproc://symphony-handshakes-{next(_names)}"
        router.monitor(address, _FAILED)
        self._events: zmq.Socket[bytes] = router.context.socket(zmq.PAIR)
        self._events.set(zmq.LINGER, 0)
        self._events.set(zmq.RCVHWM, 0)  # libzmq's own threads would wait for us to read
        self._events.connect(address)
        self._domains: dict[str, str] = {}

    def bound(self, endpoint: str, domain: str) -> None:
        """From now on failures there are this domain's."""
        self._domains[_place(endpoint)] = domain

    def unbound(self, endpoint: str) -> None:
        """Nobody connects there any more."""
        self._domains.pop(_place(endpoint), None)

    def take(self) -> Counter[str]:
        """How many failed since this was last asked, by domain."""
        failed: Counter[str] = Counter()
        while self._events.poll(0):
            _, endpoint = self._events.recv_multipart()
            domain = self._domains.get(_place(endpoint.decode()))
            if domain is not None:
                failed[domain] += 1
        return failed

    def close(self) -> None:
        """Watches no more."""
        self._router.monitor(None, 0)
        self._events.close(0)


def _place(endpoint: str) -> str:
    """The port, or the path of a socket."""
    return endpoint.rpartition(":")[2]
