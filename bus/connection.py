"""A peer's connection in a process of its own: one thread owns the socket and beats.

Any thread may use the session through `with connection.speaking() as session`; what it says leaves
when the block ends. Events are handed to `on_event` on the connection's thread.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import wire
from .dealer import Dealer
from .errors import BusError
from .session import Dismissed, Event, Session, Welcomed
from .ticket import Ticket

JOIN_S = wire.HEARTBEAT_MS * wire.LIVENESS / 1000
_FULL_RETRY_S = 0.005


class Connection:
    """Joins the bus with a ticket and stays on it until closed, dismissed or cut off.

    `may_beat` is asked before each heartbeat; `on_end` is told once why the connection ended.
    """

    def __init__(
        self,
        ticket: Ticket,
        provides: tuple[str, ...],
        *,
        on_event: Callable[[Event], None],
        on_end: Callable[[BusError], None],
        may_beat: Callable[[], bool] = lambda: True,
    ) -> None:
        self._on_event = on_event
        self._on_end = on_end
        self._may_beat = may_beat
        self._session = Session(time.monotonic(), provides)
        self._lock = threading.Lock()
        self._unsent: deque[tuple[bytes, bytes]] = deque()
        self._sleeping = False
        self._closing = False
        self._joined = threading.Event()
        self._end: BusError | None = None
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._dealer = Dealer(ticket)
        self._thread = threading.Thread(target=self._run, name="symphony-io", daemon=True)

    def join(self, timeout_s: float = JOIN_S) -> None:
        """Returns when welcomed; raises BusError `unavailable` or `refused` if it is not."""
        self._thread.start()
        if not self._joined.wait(timeout_s):
            self.close()
            raise BusError("unavailable", "the hub did not answer hello")
        if self._end is not None:
            self.close()
            raise self._end

    @contextmanager
    def speaking(self) -> Iterator[Session]:
        """The session, for this thread alone; raises BusError if the connection is over."""
        with self._lock:
            if self._end is not None:
                raise self._end
            yield self._session
        if self._sleeping:
            self._ring()

    def close(self) -> None:
        """Sends what was said, ends the connection; idempotent."""
        self._closing = True
        self._ring()
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join(JOIN_S)

    def _ring(self) -> None:
        with self._lock:
            if self._wakeup >= 0:
                os.eventfd_write(self._wakeup, 1)

    # -- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        reason = BusError("unavailable", "the connection is closed")
        try:
            while not self._closing:
                ended = self._turn()
                if ended is not None:
                    reason = ended
                    break
            self._flush()
        finally:
            with self._lock:
                self._end = reason
                os.close(self._wakeup)
                self._wakeup = -1
            self._joined.set()
            self._on_end(reason)
            self._dealer.close()

    def _turn(self) -> BusError | None:
        now = time.monotonic()
        may_beat = self._may_beat()
        with self._lock:
            alive = self._session.tick(now, may_beat=may_beat)
        if not alive:
            return BusError("unavailable", "the hub is silent", fault="kernel")
        self._sleeping = True
        self._flush()
        wait_s = _FULL_RETRY_S if self._unsent else self._session.heartbeat_s / 2
        message = self._dealer.receive()
        if message is None:
            self._dealer.wait(self._wakeup, wait_s)
        self._sleeping = False
        self._drain_wakeup()
        ended = None
        while message is not None and ended is None:
            ended = self._hear(*message)
            message = self._dealer.receive()
        return ended

    def _hear(self, header: bytes, body: bytes) -> BusError | None:
        with self._lock:
            event = self._session.receive(header, body, time.monotonic())
        if event is None:
            return None
        if isinstance(event, Dismissed):
            return BusError("refused", f"the hub dismissed this peer: {event.reason}")
        if isinstance(event, Welcomed):
            self._joined.set()
        self._on_event(event)
        return None

    def _flush(self) -> None:
        with self._lock:
            self._unsent.extend(self._session.out)
            self._session.out.clear()
        while self._unsent and self._dealer.send(*self._unsent[0]):
            self._unsent.popleft()

    def _drain_wakeup(self) -> None:
        try:
            os.eventfd_read(self._wakeup)
        except BlockingIOError:
            return
