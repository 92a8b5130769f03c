"""Sending without ever waiting: what a peer does not take yet is queued, bounded, in order."""

from collections.abc import Callable
from enum import Enum
from typing import Final

from . import wire
from .codec import decode_header
from .switch import Switch
from .table import Peer

# An open call has one answer, and a small one is queued although the queue is full.
MOST_QUEUED: Final = wire.MAX_QUEUED + wire.MAX_OPEN_CALLS


class Refusal(Enum):
    """Why a message was not sent."""

    BUSY = "busy"  # the peer's transport is full for now
    GONE = "gone"  # the peer is not connected


# Routing id, header, body; None when sent.
TrySend = Callable[[bytes, bytes, bytes], Refusal | None]


class Egress:
    """Empties a switch's `out` through a transport that may refuse for a while."""

    def __init__(self, switch: Switch, try_send: TrySend, clock: Callable[[], float]) -> None:
        self._switch = switch
        self._try_send = try_send
        self._clock = clock
        # Both in the order in which they became so.
        self._blocked: dict[Peer, None] = {}
        self._absent: dict[Peer, None] = {}
        self.taken = 0  # messages that were to be sent, so far

    @property
    def blocked(self) -> bool:
        """Whether something waits for a slow peer: call `flush` again soon."""
        return bool(self._blocked)

    @property
    def absent(self) -> bool:
        """Whether something waits for a peer that is not connected: call `retry_absent`."""
        return bool(self._absent)

    def flush(self) -> None:
        """Sends all that can be sent now; what a failure makes the switch say is sent as well."""
        if self._blocked:
            waiting, self._blocked = self._blocked, {}
            self._retry(waiting)
        switch, try_send = self._switch, self._try_send
        while switch.out:
            batch, switch.out = switch.out, []
            self.taken += len(batch)
            for peer, header, body in batch:
                if peer.queue:
                    self._enqueue(peer, header, body)
                    continue
                refusal = try_send(peer.identity, header, body)
                if refusal is not None:
                    self._refused(peer, header, body, refusal)

    def retry_absent(self) -> None:
        """Tries again what waits for peers that were not connected."""
        waiting, self._absent = self._absent, {}
        self._retry(waiting)

    def _refused(self, peer: Peer, header: bytes, body: bytes, refusal: Refusal) -> None:
        if refusal is Refusal.GONE and not peer.opened:
            self._switch.losses.undeliverable(peer, header, body, self._clock(), gone=True)
            return
        self._enqueue(peer, header, body)
        self._wait_for(peer, refusal)

    def _wait_for(self, peer: Peer, refusal: Refusal) -> None:
        if peer.queue:
            waiting = self._blocked if refusal is Refusal.BUSY else self._absent
            waiting[peer] = None

    def _enqueue(self, peer: Peer, header: bytes, body: bytes) -> None:
        size = len(header) + len(body)
        full = (
            len(peer.queue) >= wire.MAX_QUEUED or peer.queued_bytes + size > wire.MAX_QUEUED_BYTES
        )
        if full and not _exceeds(peer, header, body):
            self._switch.losses.undeliverable(peer, header, body, self._clock(), gone=False)
            return
        peer.queue.append((header, body))
        peer.queued_bytes += size

    def _retry(self, waiting: dict[Peer, None]) -> None:
        for peer in waiting:
            while peer.queue:
                header, body = peer.queue[0]
                refusal = self._try_send(peer.identity, header, body)
                if refusal is Refusal.BUSY or (refusal is Refusal.GONE and peer.opened):
                    self._wait_for(peer, refusal)
                    break
                peer.queue.popleft()
                peer.queued_bytes -= len(header) + len(body)
                if refusal is Refusal.GONE:
                    self._switch.losses.undeliverable(peer, header, body, self._clock(), gone=True)


def _exceeds(peer: Peer, header: bytes, body: bytes) -> bool:
    """Whether a message may be queued beyond the bound: a small error, the end of some call."""
    return (
        len(body) <= wire.MAX_SMALL_ERROR
        and len(peer.queue) < MOST_QUEUED
        and decode_header(header).kind == wire.ERROR
    )
