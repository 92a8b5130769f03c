"""The process of an extension, over a link whose messages come when they are to."""

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress

import pytest

from symphony.bus import wire, worker
from symphony.bus.codec import Buffer, decode_header, encode, encode_header
from symphony.bus.context import Context, Log
from symphony.bus.extension import Extension
from symphony.bus.messages import Unload, Welcome
from symphony.bus.ticket import Ticket

FIRST, MORE = 100, 300  # calls; the latter are more than are read at a time
BEFORE = 50  # answers that are sent before more calls come
CALL_S = 0.0005


class Link:
    """Calls of one flow, more of them while they are served, behind those one of another flow, and
    the wish to end. `served` are the flows as they were answered."""

    def __init__(self) -> None:
        self.fileno = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._coming: deque[tuple[Buffer, Buffer]] = deque()
        self.served: list[object] = []
        welcome = Welcome(
            instance="p",
            heartbeat_ms=wire.HEARTBEAT_MS,
            liveness=wire.LIVENESS,
            max_body=wire.MAX_BODY,
            inline_max=wire.INLINE_MAX,
            epoch=1,
            grace_ms=wire.GRACE_MS,
        )
        self._come(encode_header(wire.WELCOME), encode(welcome))
        for request in range(1, FIRST + 1):
            self._come(encode_header(wire.CALL, 1, request), encode({}))

    def _come(self, header: bytes, body: bytes) -> None:
        self._coming.append((header, body))
        os.eventfd_write(self.fileno, 1)

    def send(self, header: bytes, body: bytes) -> bool:
        del body
        head = decode_header(header)
        if head.kind == wire.RESULT:
            self.served.append(head.target)
            if len(self.served) == BEFORE:
                for request in range(FIRST + 1, FIRST + MORE + 1):
                    self._come(encode_header(wire.CALL, 1, request), encode({}))
                self._come(encode_header(wire.CALL, 2, 1), encode({}))
                self._come(encode_header(wire.UNLOAD), encode(Unload(1_000)))
        return True

    def take(self, limit: int) -> list[tuple[Buffer, Buffer]]:
        taken = [self._coming.popleft() for _ in range(min(limit, len(self._coming)))]
        if len(taken) < limit:
            with suppress(BlockingIOError):
                os.eventfd_read(self.fileno)
        return taken

    def close(self) -> None:
        os.close(self.fileno)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_what_comes_behind_many_calls_is_read_while_they_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ext, link = Extension(), Link()

    @ext.provides("test.busy/1")
    def busy(_: Context) -> None:
        end = time.monotonic() + CALL_S
        while time.monotonic() < end:
            pass

    monkeypatch.setattr(worker, "dial", lambda _: link)
    ticket = Ticket(v=1, endpoint="ipc:///none", identity="0" * 32, instance="p")
    assert worker._Worker(ext, ticket).run(Log()) == 0
    assert Counter(link.served) == {1: FIRST + MORE, 2: 1}
    looks = 2  # until all is read
    assert link.served.index(2) <= BEFORE + looks * (worker.LOOK_S / CALL_S + 1) + 1
