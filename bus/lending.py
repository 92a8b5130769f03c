"""What libzmq holds of large bodies for each peer, in bytes: it bounds only their messages.

pyzmq tells when libzmq needs a body no longer, by a thread of its own, which costs more than to
send 64 KiB. So only every so many bytes one is asked about: what was sent before it to the same
peer was given back before it.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import zmq

from . import wire

ASKED_BYTES: Final = wire.MAX_LENT_BYTES // 4

Send = Callable[..., Any]  # a raw socket's: (data, flags, copy, track)


class Lending:
    """The bodies that were lent to libzmq and not given back, by routing id."""

    def __init__(self) -> None:
        self._by_peer: dict[bytes, Account] = {}

    def account(self, peer: bytes, size: int) -> "Account | None":
        """By which a body of this size is to be sent to a peer; None if it has to wait until some
        of what is lent comes back. Where nothing is lent, one of any size need not wait."""
        account = self._by_peer.get(peer)
        if account is None:
            # Nobody is kept for whom nothing is lent.
            self._by_peer = {peer: kept for peer, kept in self._by_peer.items() if kept.waits()}
            account = self._by_peer[peer] = Account()
        return account if not account.waits() or account.has_room(size) else None


class Account:
    """What is lent for one peer."""

    def __init__(self) -> None:
        self._asked: deque[tuple[zmq.MessageTracker, int]] = deque()  # up to where so many bytes
        self._lent = 0
        self._since = 0  # of it, what was lent after the last that is asked about

    def waits(self) -> bool:
        """Whether something that was asked about has not come back yet."""
        while self._asked and self._asked[0][0].done:
            self._lent -= self._asked.popleft()[1]
        return bool(self._asked)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more may be lent."""
        return self._lent + size <= wire.MAX_LENT_BYTES

    def lend(self, send: Send, body: bytes, flags: int) -> None:
        """Sends a body, or a `zmq.Frame` that holds it."""
        self._lent += len(body)
        self._since += len(body)
        if self._since < ASKED_BYTES:
            send(body, flags)
            return
        self._asked.append((send(memoryview(body), flags, False, True), self._since))
        self._since = 0
