"""The door of the bus: libzmq asks here, over ZAP (RFC 27), about whoever connects.

A thread of its own owns the two sockets, so that the bus never waits for a decision. libzmq holds
the connection back until it is answered.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from math import ceil
from typing import Final

import zmq

from .datapath import CONNECTING, Upcall, UpcallQueue

OPEN_DOMAIN: Final = b"-"  # of endpoints that let everybody in; libzmq knows no empty one
VERDICT_S: Final = 5.0
CLOSE_S: Final = 5.0
MAX_PENDING: Final = 1_024
TOKEN_BYTES: Final = 8

_ADDRESS: Final = "inproc://zeromq.zap.01"  # where libzmq asks, once for each context
_VERSION: Final = b"1.0"
_CURVE: Final = b"CURVE"
_names = count(1)


class Door:
    """Reports connections as upcalls and answers libzmq by the verdicts.

    `refused` is called for each connection that is not let in, `failed` if the thread ends by a
    bug; both from that thread.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        upcalls: UpcallQueue,
        refused: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._failed = failed
        self._upcalls = upcalls
        self._refused = refused
        self._pending: dict[bytes, tuple[float, list[bytes]]] = {}  # by token: until when, reply
        self._lock = threading.Lock()
        inside = f"inproc://symphony-door-{next(_names)}"
        self._asked = context.socket(zmq.ROUTER)
        self._asked.set(zmq.LINGER, 0)
        self._asked.bind(_ADDRESS)
        self._told = context.socket(zmq.PULL)
        self._told.set(zmq.RCVHWM, 0)
        self._told.bind(inside)
        self._tell: zmq.Socket[bytes] | None = context.socket(zmq.PUSH)
        self._tell.set(zmq.LINGER, 0)
        self._tell.set(zmq.SNDHWM, 0)  # as many as connections wait, and those are bounded
        self._tell.connect(inside)
        self._thread = threading.Thread(target=self._run, name="symphony-door", daemon=True)
        self._thread.start()

    def verdict(self, token: bytes, allowed: bool) -> None:
        """Decides, from any thread; nothing happens if it is too late."""
        self._send(token + (b"\x01" if allowed else b"\x00"))

    def close(self) -> None:
        """Ends the thread; whoever still waits is cut off with the context."""
        self._send(b"")
        self._thread.join(CLOSE_S)
        with self._lock:
            if self._tell is not None:
                self._tell.close(0)
                self._tell = None

    def _send(self, message: bytes) -> None:
        with self._lock, suppress(zmq.ZMQError):
            if self._tell is not None:
                self._tell.send(message, zmq.DONTWAIT)  # refused if the thread has ended

    # -- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._asked, zmq.POLLIN)
        poller.register(self._told, zmq.POLLIN)
        try:
            while True:
                ready = dict(poller.poll(self._wait_ms()))
                if self._told in ready and not self._decided(self._told.recv()):
                    return
                if self._asked in ready:
                    self._connecting(self._asked.recv_multipart())
                self._refuse_late(time.monotonic())
                self._upcalls.tell()
        except zmq.ContextTerminated:
            pass
        except Exception as error:  # without a door the bus must not go on
            self._failed(error)
        finally:
            self._asked.close(0)
            self._told.close(0)

    def _wait_ms(self) -> int | None:
        if not self._pending:
            return None
        first = next(iter(self._pending.values()))  # all wait equally long
        return max(0, ceil((first[0] - time.monotonic()) * 1000))

    def _decided(self, message: bytes) -> bool:
        """False when the door is to close."""
        if message:
            pending = self._pending.pop(message[:TOKEN_BYTES], None)
            if pending is not None:
                self._reply(pending[1], allowed=message[TOKEN_BYTES:] == b"\x01")
        return bool(message)

    def _connecting(self, frames: list[bytes]) -> None:
        # ROUTER's routing ids up to the empty frame, then version, request id, domain, address,
        # identity, mechanism and credentials.
        try:
            start = frames.index(b"") + 1
            version, request, domain, address, _, mechanism, *credentials = frames[start:]
        except ValueError:
            return
        reply = [*frames[:start], _VERSION, request]
        if version != _VERSION or domain in (b"", OPEN_DOMAIN):
            self._reply(reply, allowed=version == _VERSION)
            return
        token = os.urandom(TOKEN_BYTES)
        key = credentials[0] if mechanism == _CURVE and credentials else b""
        upcall = Upcall(CONNECTING, domain.decode(), address, token + key)
        if len(self._pending) >= MAX_PENDING or not self._upcalls.offer(upcall):
            self._reply(reply, allowed=False)
            return
        self._pending[token] = (time.monotonic() + VERDICT_S, reply)

    def _refuse_late(self, now: float) -> None:
        while self._pending:
            token, (until, reply) = next(iter(self._pending.items()))
            if until > now:
                return
            del self._pending[token]
            self._reply(reply, allowed=False)

    def _reply(self, reply: list[bytes], *, allowed: bool) -> None:
        code, text = (b"200", b"OK") if allowed else (b"400", b"refused")
        if not allowed:
            self._refused()
        self._asked.send_multipart([*reply, code, text, b"", b""])
