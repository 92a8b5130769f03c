"""A peer's connection in a process of its own: a socket that several threads use in turn.

Whoever speaks sends at once, and whoever waits reads for as long as messages come in quick
succession: a call then costs no change of threads. A thread of the connection's own beats, reads
when nobody else does, and alone runs what users handed in. One lock guards session and socket.

The descriptor of a ZeroMQ socket tells of changes only, and any use of the socket may swallow one.
So whoever is about to wait at the descriptor must have read everything first, and whoever sends
meanwhile must wake whoever waits there.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from . import wire
from .errors import BusError
from .heard import Dismissed, Heard, Welcomed
from .link import SocketLink, readable
from .session import Session

JOIN_S = wire.HEARTBEAT_MS * wire.LIVENESS / 1000
_FULL_RETRY_S: Final = 0.005
_QUICK_S: Final = 0.010  # messages with smaller pauses are read by whoever waits for them
_BATCH: Final = 256  # messages read before others get the lock


class Connection:
    """Joins the bus over a link and stays on it until closed, dismissed or cut off.

    `on_heard` and `on_end` (told once why the connection ended) run on any thread, under the lock:
    they must be quick and leave all else to `later`. `may_beat` is asked before each heartbeat.
    """

    def __init__(
        self,
        link: SocketLink,
        provides: tuple[str, ...],
        *,
        on_heard: Callable[[Heard], None],
        on_end: Callable[[BusError], None],
        may_beat: Callable[[], bool] = lambda: True,
    ) -> None:
        self._on_heard = on_heard
        self._noted: dict[type, Callable[[Any], None]] = {  # what is not for `on_heard`
            Welcomed: self._note_welcome,
            Dismissed: self._note_dismissal,
        }
        self._on_end = on_end
        self._may_beat = may_beat
        self._session = Session(time.monotonic(), provides)
        self._lock = threading.Lock()
        self._callbacks: deque[Callable[[], None]] = deque()
        self._end: BusError | None = None
        self._dismissed: BusError | None = None
        self._closing = False
        self._joined = False
        self._uses = 0  # of the socket by other threads than the connection's own
        self._stands_back = False  # the connection's own thread, because others use the socket
        self._wanted = False  # it again
        self._reader = False  # some other thread waits at the descriptor
        self._waiting: dict[threading.Event, Callable[[], object]] = {}  # until when
        self._link = link
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._nudge = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._readable = readable(self._link.fileno, self._wakeup)
        self._called = readable(self._wakeup)
        self._quickly = readable(self._link.fileno, self._nudge)
        self._thread = threading.Thread(target=self._run, name="symphony-io", daemon=True)

    def join(self, timeout_s: float = JOIN_S) -> None:
        """Returns when welcomed; raises BusError `unavailable` or `refused` if it is not."""
        self._thread.start()
        self.wait(lambda: self._joined, timeout_s)
        if self._joined:
            return
        self.close()
        if self._end is not None and self._end.code == "refused":
            raise self._end
        raise BusError("unavailable", "the hub did not answer hello")

    # -- for any thread ---------------------------------------------------------------------

    def __enter__(self) -> Session:
        """The session, for this thread alone; raises BusError if the connection is over."""
        self._lock.acquire()
        if self._end is not None:
            self._lock.release()
            raise self._end
        return self._session

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Sends what was said."""
        try:
            self._flush()
            if self._reader:
                self._wake(self._nudge)
            self._used()
        finally:
            self._lock.release()

    def hear(self) -> None:
        """Hears what has come, or much of it, without waiting."""
        with self._lock:
            if self._end is None:
                self._read()
                if self._reader:
                    self._wake(self._nudge)
                self._used()

    def wait(self, ready: Callable[[], object], limit_s: float | None = None) -> None:
        """Returns when `ready()` is true, when the time is over or when the connection is."""
        end = None if limit_s is None else time.monotonic() + limit_s
        if self._read_until(ready, end):
            return
        told = threading.Event()
        with self._lock:
            if ready() or self._end is not None:
                return
            self._waiting[told] = ready
        told.wait(None if end is None else max(0.0, end - time.monotonic()))
        with self._lock:
            del self._waiting[told]

    def later(self, callback: Callable[[], None]) -> None:
        """Has the connection's own thread call this, in order; only under the lock."""
        self._callbacks.append(callback)
        self._want()

    def close(self) -> None:
        """Sends what was said, ends the connection; idempotent."""
        with self._lock:
            self._closing = True
            self._want()
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join(JOIN_S)

    def _read_until(self, ready: Callable[[], object], end: float | None) -> bool:
        """Reads while messages come in quick succession; whether there is nothing to wait for."""
        reader = False
        try:
            while True:
                with self._lock:
                    more = self._end is None and self._read()
                    if ready() or self._end is not None:
                        return True
                    if not reader:
                        if self._reader:
                            return False
                        self._reader = reader = True
                if more:
                    continue
                left_s = _QUICK_S if end is None else min(_QUICK_S, end - time.monotonic())
                if left_s <= 0 or not (readable := self._quickly(left_s)):
                    return False
                if any(descriptor == self._nudge for descriptor, _ in readable):
                    _drain(self._nudge)
        finally:
            with self._lock:
                if reader:
                    self._reader = False
                    if self._waiting or not ready():
                        self._want()
                elif self._reader:
                    self._wake(self._nudge)
                self._used()

    def _used(self) -> None:
        self._uses += 1
        if not self._stands_back:
            self._wake(self._wakeup)

    def _want(self) -> None:
        self._wanted = True
        self._wake(self._wakeup)

    def _wake(self, descriptor: int) -> None:
        if self._end is None:
            os.eventfd_write(descriptor, 1)

    # -- under the lock ---------------------------------------------------------------------

    def _flush(self) -> None:
        session = self._session
        if session.out or session.unsent.messages:
            session.unsent.send(session.out, self._link.send)

    def _read(self) -> bool:
        """Hears what has come; whether there may be more."""
        session = self._session
        taken = self._link.take(_BATCH)
        if taken:
            now = time.monotonic()
            for header, body in taken:
                said = session.receive(header, body, now)
                if said is not None:
                    self._noted.get(type(said), self._on_heard)(said)
            if self._waiting:
                self._tell()
        if session.out:
            self._flush()
        return len(taken) == _BATCH

    def _note_welcome(self, _: Welcomed) -> None:
        self._joined = True

    def _note_dismissal(self, said: Dismissed) -> None:
        self._dismissed = BusError("refused", f"the hub dismissed this peer: {said.reason}")
        self._want()

    def _tell(self) -> None:
        for told, ready in self._waiting.items():
            if self._end is not None or ready():
                told.set()

    # -- the connection's own thread ----------------------------------------------------------

    def _run(self) -> None:
        reason = BusError("unavailable", "the connection is closed")
        try:
            while not self._closing:
                with self._lock:
                    self._wanted = self._stands_back = False
                    alive, more, uses = self._beat(), self._read(), self._uses
                self._call_back()
                if self._dismissed is not None or not alive:
                    silent = BusError("unavailable", "the hub is silent", fault="kernel")
                    reason = self._dismissed or silent
                    break
                if not more:
                    session = self._session
                    self._sleep(
                        _FULL_RETRY_S if session.unsent.messages else session.heartbeat_s / 2
                    )
                while self._uses != uses and not self._wanted:
                    uses = self._uses
                    self._stands_back = True
                    self._rest(_QUICK_S)
                    with self._lock:
                        self._beat()
                        if not self._reader:  # whoever only speaks reads nothing
                            self._read()
        finally:
            with self._lock:
                self._flush()
                self._end = reason
                self._on_end(reason)
                self._tell()
                os.eventfd_write(self._nudge, 1)
            self._call_back()
            self._link.close()

    def __del__(self) -> None:
        os.close(self._wakeup)
        os.close(self._nudge)

    def _beat(self) -> bool:
        alive = self._session.tick(time.monotonic(), may_beat=self._may_beat())
        self._flush()
        return alive

    def _call_back(self) -> None:
        while self._callbacks:
            try:
                self._callbacks.popleft()()
            except Exception:  # a handler's bug is not the end of the connection
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self._thread)))
            with self._lock:
                self._tell()

    def _sleep(self, limit_s: float) -> None:
        if self._readable(limit_s):
            _drain(self._wakeup)

    def _rest(self, limit_s: float) -> None:
        if self._called(limit_s):
            _drain(self._wakeup)


def _drain(descriptor: int) -> None:
    try:
        os.eventfd_read(descriptor)
    except BlockingIOError:
        return
