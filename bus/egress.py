"""Sending without ever waiting: what a slow peer does not take yet is queued, bounded, in order."""

from collections.abc import Callable
from enum import Enum
from typing import Final

from . import wire
from .switch import Peer, Switch

MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024  # per peer


class Refusal(Enum):
    """Why a message was not sent."""

    BUSY = "busy"  # the peer's transport is full for now
    GONE = "gone"  # the peer is not connected


# Routing id, header, body; None when sent.
TrySend = Callable[[bytes, bytes, bytes], Refusal | None]


class Egress:
    """Empties a switch's `out` through a transport that may refuse for a while."""

    def __init__(self, switch: Switch, try_send: TrySend) -> None:
        self._switch = switch
        self._try_send = try_send
        self._blocked: set[Peer] = set()
        self.taken = 0  # messages that were to be sent, so far

    @property
    def blocked(self) -> bool:
        """Whether something waits for a slow peer: call `flush` again soon."""
        return bool(self._blocked)

    def flush(self) -> None:
        """Sends all that can be sent now; what a failure makes the switch say is sent as well."""
        if self._blocked:
            self._retry()
        switch, try_send = self._switch, self._try_send
        while switch.out:
            batch, switch.out = switch.out, []
            self.taken += len(batch)
            for peer, header, body in batch:
                if peer.queue:
                    self._enqueue(peer, header, body)
                    continue
                refusal = try_send(peer.identity, header, body)
                if refusal is None:
                    continue
                if refusal is Refusal.BUSY:
                    self._enqueue(peer, header, body)
                else:
                    switch.undeliverable(peer, header, gone=True)

    def _enqueue(self, peer: Peer, header: bytes, body: bytes) -> None:
        size = len(header) + len(body)
        if len(peer.queue) >= wire.MAX_QUEUED or peer.queued_bytes + size > MAX_QUEUED_BYTES:
            self._switch.undeliverable(peer, header, gone=False)
            return
        peer.queue.append((header, body))
        peer.queued_bytes += size
        self._blocked.add(peer)

    def _retry(self) -> None:
        for peer in list(self._blocked):
            while peer.queue:
                header, body = peer.queue[0]
                refusal = self._try_send(peer.identity, header, body)
                if refusal is Refusal.BUSY:
                    break
                peer.queue.popleft()
                peer.queued_bytes -= len(header) + len(body)
                if refusal is Refusal.GONE:
                    self._switch.undeliverable(peer, header, gone=True)
            if not peer.queue:
                self._blocked.discard(peer)
