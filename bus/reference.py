"""The reference datapath: a pyzmq ROUTER in a thread of its own.

The thread owns the socket. It reads and writes single frames of a blocking socket with a receive
timeout, which is several times faster than pollers, multipart helpers and asyncio. Nothing that a
peer sends raises in it, and no send waits for a peer. Commands come through a deque; a thread that
sleeps in `recv` is woken by an empty message of an in-process DEALER.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from itertools import count
from typing import Any, Final

import zmq

from . import wire
from .datapath import (
    ALL,
    FAILED,
    HANDSHAKE,
    KERNEL,
    Flow,
    FlowStats,
    PeerStats,
    Upcall,
    UpcallQueue,
)
from .egress import Egress, Refusal
from .errors import BusError
from .handshakes import Handshakes
from .lending import Lending
from .switch import Switch
from .zap import OPEN_DOMAIN, Door

MAX_BATCH: Final = 64  # messages received before anything else gets its turn
MAX_COMMANDS: Final = 16  # the same for these
MAX_IDLE: Final = 8  # of them that lead to nothing, if something waits to be sent
MAX_DRAINED: Final = 4_096  # frames of an endless message thrown away before that
MAX_SOCKETS: Final = 16_384
HIGH_WATER: Final = 256  # messages libzmq holds per peer before it says EAGAIN
BLOCKED_MS: Final = 2  # how soon a slow peer is tried again
ABSENT_MS: Final = 16  # how soon one that is not connected
CLOSE_S: Final = 5.0
BIND_S: Final = 20.0
LOCAL_HANDSHAKE_MS: Final = 30_000  # the process may have to be named first

_NOW: Final = int(zmq.DONTWAIT)
_MORE_NOW: Final = int(zmq.DONTWAIT | zmq.SNDMORE)
_RCVMORE: Final = zmq.RCVMORE
_WAKER: Final = b"\0waker"
_names = count(1)
_log = logging.getLogger("symphony.bus")

# The methods of the compiled base class: the wrappers around them cost as much as they do.
_RawSocket: Any = zmq.backend.Socket


class ReferenceDatapath:
    """See `datapath.Datapath`. `clock` gives seconds and must be monotonic."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._commands: deque[Callable[[], object]] = deque()
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        self._waker: zmq.Socket[bytes] | None = None
        self._waker_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._sleeping = False
        self._stopping = False
        self._ended = False
        self._failure: Exception | None = None  # why it is to end
        self._binding: set[Future[None]] = set()
        self._waiting = -1  # the receive timeout in force, milliseconds
        self._absent_at = 0.0  # when those that are not connected are tried again, real time
        self._lending = Lending()
        self._draining = False  # the rest of a violator's message is still to be read
        self._copy = True

    # -- from any thread --------------------------------------------------------------------

    def start(
        self, wake: Callable[[], None], *, heartbeat_ms: int, liveness: int, grace_ms: int
    ) -> None:
        self._upcalls = UpcallQueue(wake)
        self._switch = Switch(
            self._upcalls,
            heartbeat_ms=heartbeat_ms,
            liveness=liveness,
            grace_ms=grace_ms,
            now=self._clock(),
        )
        self._door = Door(self._context, self._upcalls, self._count_refused, self._fail)
        self._router = router = self._context.socket(zmq.ROUTER)
        router.set(zmq.ROUTER_MANDATORY, 1)
        router.set(zmq.MAXMSGSIZE, wire.MAX_BODY)
        router.set(zmq.SNDHWM, HIGH_WATER)
        router.set(zmq.RCVHWM, HIGH_WATER)
        router.set(zmq.LINGER, 0)
        self._handshakes = Handshakes(router)
        endpoint = f"inproc://symphony-waker-{next(_names)}"
        router.bind(endpoint)
        self._waker = self._context.socket(zmq.DEALER)
        self._waker.set(zmq.ROUTING_ID, _WAKER)
        self._waker.set(zmq.LINGER, 0)
        self._waker.connect(endpoint)
        self._recv = _RawSocket.recv.__get__(router)
        self._send = _RawSocket.send.__get__(router)
        self._get = _RawSocket.get.__get__(router)
        self._egress = Egress(self._switch, self._try_send, self._clock)
        self._thread = threading.Thread(target=self._run, name="symphony-bus", daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self._stopping = True
            self._ring()
            self._thread.join(CLOSE_S)
            self._thread = None
            self._door.close()
        with self._waker_lock:
            if self._waker is not None:
                self._waker.close(0)
                self._waker = None
        self._context.destroy(linger=0)

    def bind(self, endpoint: str, *, domain: str = "", curve: bytes = b"", fd: int = -1) -> None:
        done: Future[None] = Future()
        self._binding.add(done)
        self._command(lambda: self._bind(endpoint, domain.encode(), curve, fd, done))
        if self._ended:
            self._fail_bindings()
        try:
            done.result(BIND_S)
        except TimeoutError:
            raise BusError("internal", "the bus does not answer", where=endpoint) from None
        finally:
            self._binding.discard(done)

    def unbind(self, endpoint: str) -> None:
        self._command(lambda: self._unbind(endpoint))

    def verdict(self, token: bytes, allowed: bool) -> None:
        self._door.verdict(token, allowed)

    def admit(self, peer: str, identity: bytes, *, console: bool = False) -> None:
        self._command(lambda: self._switch.admit(peer, identity, self._clock(), console=console))

    def open(self, peer: str) -> None:
        self._command(lambda: self._switch.open(peer, self._clock()))

    def expel(self, peer: str) -> None:
        self._command(lambda: self._switch.expel(peer, self._clock()))

    def install(self, flow: Flow) -> None:
        self._command(lambda: self._switch.install(flow))

    def revoke(self, generation: int) -> None:
        self._command(lambda: self._switch.revoke(generation))

    def send(self, peer: str, header: bytes, body: bytes) -> None:
        self._command(lambda: self._switch.send(peer, header, body))

    def event(self, peers: Sequence[str], header: bytes, body: bytes) -> None:
        self._command(lambda: self._switch.event(peers, header, body))

    def inject(self, peer: str, header: bytes, body: bytes) -> None:
        self._command(lambda: self._switch.inject(peer, header, body, self._clock()))

    def poll(self, limit: int = ALL) -> list[Upcall]:
        return self._upcalls.take(limit)

    def counters(self) -> dict[str, int]:
        return {**self._switch.counts, "forwarded": self._egress.taken}

    def flows(self) -> list[FlowStats]:
        return self._switch.flows()

    def peers(self) -> list[PeerStats]:
        return self._switch.peers()

    def _crash(self) -> None:
        """Makes the thread end by an exception; only for tests."""
        self._fail(RuntimeError("crashed on purpose"))

    def _fail(self, error: Exception) -> None:
        """Ends the thread, after the commands before this one, because of a bug elsewhere."""
        self._failure = error

        def fail() -> None:
            raise error

        self._command(fail)

    def _count_refused(self) -> None:
        self._command(lambda: self._switch.counts.update(("connection-refused",)))

    def _command(self, command: Callable[[], object]) -> None:
        self._commands.append(command)
        if self._sleeping:
            self._ring()

    def _ring(self) -> None:
        with self._waker_lock, suppress(zmq.Again):  # full: it is about to wake anyway
            if self._waker is not None:
                self._waker.send(b"", zmq.SNDMORE | zmq.DONTWAIT)
                self._waker.send(b"", zmq.DONTWAIT)

    # -- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        why = ""
        try:
            while not self._stopping:
                self._turn()
        except zmq.ContextTerminated:
            why = "its context was terminated"
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            _log.exception("the bus ended because of a bug in it")
        finally:
            self._handshakes.close()
            self._router.close(0)
            self._ended = True
            self._fail_bindings()
        if not self._stopping:
            self._upcalls.offer(Upcall(FAILED, KERNEL, why.encode(), b""), bounded=False)
            self._upcalls.tell()

    def _fail_bindings(self) -> None:
        for done in list(self._binding):
            with suppress(InvalidStateError):
                done.set_exception(BusError("unavailable", "the bus has ended"))

    def _turn(self) -> None:
        """Some commands and what is due, then some messages; after each all that is to be sent."""
        commands = self._commands
        switch = self._switch
        for _ in range(min(len(commands), MAX_COMMANDS)):
            self._obey(commands.popleft())
        now = self._clock()
        if now >= switch.next_tick():
            switch.tick(now)
            self._report_handshakes()
        if self._egress.absent:
            self._retry_absent()
        self._egress.flush()
        self._upcalls.tell()
        self._receive_batch(now)
        self._egress.flush()
        self._upcalls.tell()

    def _obey(self, command: Callable[[], object]) -> None:
        """One command; what goes wrong in it is that command's affair, not its neighbours'."""
        try:
            command()
        except zmq.ContextTerminated:
            raise
        except Exception as error:
            if error is self._failure:
                raise
            self._switch.counts["failed-commands"] += 1
            _log.exception("a command to the bus failed")

    def _receive_batch(self, now: float) -> None:
        """Waits for a message until something else is due, then takes all that are there.

        Asking libzmq whether more frames follow costs as much as reading two of them, so it is
        asked once a message, after its third frame; `_resynchronise` knows what that can mean.
        """
        if self._draining:
            self._drain()
            return
        recv, get, receive = self._recv, self._get, self._switch.receive
        self._wait_at_most(now)
        self._sleeping = True
        try:
            identity = recv(_NOW if self._commands else 0)
        except zmq.Again:
            return
        finally:
            self._sleeping = False
        now = self._clock()
        # Bulk comes in rows: the size of one body foretells whether the next is worth sharing.
        copy = self._copy
        out = self._switch.out
        taken = 0
        try:
            while True:
                body = None
                header = recv(_NOW)
                body = recv(_NOW, copy)
                if get(_RCVMORE):
                    self._resynchronise(identity, bytes(body), now)
                    if self._draining:
                        break
                elif not receive(identity, header, body, now) and identity != _WAKER:
                    self._switch.counts["unknown-identity"] += 1
                copy = len(body) < wire.LARGE_BODY
                taken += 1
                if taken == MAX_BATCH or (out and taken - len(out) >= MAX_IDLE):
                    break
                identity = recv(_NOW)
        except zmq.Again:
            if body is None:  # a header without a body, and nothing behind it
                self._switch.counts["frames"] += 1
        self._copy = copy

    def _resynchronise(self, sender: bytes, suspect: bytes, now: float) -> None:
        """Finds the end of what was read as a message although more frames follow its third.

        Either that message has too many frames, or it was one short and `suspect` is the routing
        id that the next one begins with. A peer can feign the second with a routing id that it
        knows, and that is only its own.
        """
        switch = self._switch
        switch.counts["frames"] += 1
        follows = switch.knows(suspect)
        left = wire.MAX_FRAMES if follows else wire.MAX_FRAMES - 2
        frames: list[bytes] = []
        while self._get(_RCVMORE):
            if not left:
                self._draining = True
                switch.violated(suspect if follows else sender, now)
                return
            frame = self._recv(_NOW)
            left -= 1
            if len(frames) < 3:
                frames.append(frame)
        if follows:
            if len(frames) == 2:
                switch.receive(suspect, frames[0], frames[1], now)
            else:
                switch.counts["frames"] += 1

    def _drain(self) -> None:
        """Throws away a part of a violator's message. libzmq gives no frame of any other peer
        before the last of this one is read, but what is to be sent or commanded need not wait."""
        recv, get = self._recv, self._get
        drained = 0
        while drained < MAX_DRAINED and self._draining:
            recv(_NOW)
            drained += 1
            self._draining = bool(get(_RCVMORE))
        self._switch.counts["drained-frames"] += drained

    def _wait_at_most(self, now: float) -> None:
        """Bounds the next wait by what is due; powers of two, so that it changes seldom."""
        left_ms = (self._switch.next_tick() - now) * 1000
        if self._egress.blocked:
            left_ms = BLOCKED_MS
        elif self._egress.absent:
            left_ms = min(left_ms, ABSENT_MS)
        wait = 1 << max(int(left_ms).bit_length() - 1, 0)
        if wait != self._waiting:
            self._waiting = wait
            self._router.set(zmq.RCVTIMEO, wait)

    def _try_send(self, identity: bytes, header: bytes, body: bytes) -> Refusal | None:
        send = self._send
        account = None
        if len(body) >= wire.LARGE_BODY:
            account = self._lending.account(identity, len(body))
            if account is None:
                return Refusal.BUSY
        try:
            send(identity, _MORE_NOW)
            send(header, _MORE_NOW)
            if account is None:
                send(body, _NOW)
            else:
                account.lend(send, body, _NOW)
        except zmq.Again:
            return Refusal.BUSY
        except zmq.ZMQError:  # EHOSTUNREACH: nobody is connected with this routing id
            return Refusal.GONE
        return None

    def _retry_absent(self) -> None:
        now = time.monotonic()
        if now >= self._absent_at:
            self._absent_at = now + ABSENT_MS / 1000
            self._egress.retry_absent()

    def _bind(
        self, endpoint: str, domain: bytes, curve: bytes, fd: int, done: "Future[None]"
    ) -> None:
        router = self._router
        try:
            # A listener takes over the options that are in force when it is bound.
            router.set(zmq.ZAP_DOMAIN, domain or OPEN_DOMAIN)
            router.set(zmq.USE_FD, os.dup(fd) if fd >= 0 else -1)  # libzmq will close it
            router.set(zmq.HANDSHAKE_IVL, wire.HANDSHAKE_MS if curve else LOCAL_HANDSHAKE_MS)
            if curve:
                router.set(zmq.CURVE_SECRETKEY, curve)
                router.set(zmq.CURVE_SERVER, 1)
            try:
                router.bind(endpoint)
                if curve:
                    self._handshakes.bound(endpoint, domain.decode())
            finally:
                router.set(zmq.USE_FD, -1)
                router.set(zmq.CURVE_SERVER, 0)
        except (OSError, zmq.ZMQError) as error:
            done.set_exception(
                BusError(
                    "io",
                    f"cannot listen on the bus socket: {error.strerror}",
                    where=endpoint,
                    help="choose another folder for sockets, or stop the process that uses it",
                )
            )
        except Exception as error:  # whoever waits must be told of a bug as well
            done.set_exception(error)
            raise
        else:
            done.set_result(None)

    def _report_handshakes(self) -> None:
        for domain, failed in self._handshakes.take().items():
            self._switch.counts["handshake-failed"] += failed
            self._upcalls.offer(Upcall(HANDSHAKE, domain, b"%d" % failed, b""), bounded=False)

    def _unbind(self, endpoint: str) -> None:
        self._handshakes.unbound(endpoint)
        with suppress(zmq.ZMQError):  # it was not bound
            self._router.unbind(endpoint)
