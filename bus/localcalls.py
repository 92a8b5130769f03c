"""The kernel as a provider, on asyncio: one task for each call that it serves."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from . import wire
from .answers import Answers
from .bodies import encode_body
from .codec import decode_arguments, encode
from .control import LocalCall
from .errors import BusError, ProtocolError
from .messages import Progress

_log = logging.getLogger("symphony.bus")

_CANCELLED: Final = (
    wire.ERROR,
    encode(BusError("cancelled", "the call was cancelled").to_body()),
)

Answer = Callable[[LocalCall, int, bytes], None]


@dataclass(frozen=True)
class Request:
    """A call to a capability that the kernel serves.

    `progress(done, total=None, message="")` reports to the caller. `await chunk(value)` sends it a
    part of the answer, once it takes one; to a caller that wants none (`streams` is False) it does
    nothing. `trace` is the caller's W3C `traceparent`.
    """

    caller: str
    capability: str
    method: str
    args: dict[str, Any]
    progress: Callable[..., None]
    chunk: Callable[[object], Awaitable[None]]
    streams: bool = False
    trace: str | None = None


LocalHandler = Callable[[Request], Awaitable[object]]


@dataclass(eq=False)
class _Running:
    """A call that is being served."""

    call: LocalCall
    credit: asyncio.Semaphore
    task: "asyncio.Task[tuple[int, bytes]]" = field(init=False)


class LocalCalls:
    """Runs the handlers; `answer` sends what they say. See `control.LocalProvider`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._handlers: dict[str, LocalHandler] = {}
        self._running: dict[tuple[int, int], _Running] = {}
        self._answers = Answers()

    def serve(self, capability: str, handler: LocalHandler) -> None:
        """Lets `handler` answer the calls to a capability."""
        self._handlers[capability] = handler

    def begin(self, call: LocalCall) -> None:
        """Starts the handler of a call; one that was sent before is not done again."""
        key = (call.number, call.request)
        running = self._running.get(key)
        if call.again and running is not None:
            if running.call.credit is not None:
                running.task.cancel()  # its stream has a gap by now
            return
        answer = self._answers.recall(key) if call.again else None
        if answer is not None:
            self._answer(call, *answer)
            return
        if running is not None:
            running.task.cancel()  # too hasty a caller has used its number for another call
        self._answers.forget(key)
        running = self._running[key] = _Running(call, asyncio.Semaphore(call.credit or 0))
        running.task = asyncio.get_running_loop().create_task(self._outcome(running))
        running.task.add_done_callback(lambda _: self._ended(running))

    def cancel(self, number: int, request: int) -> None:
        """Cancels the task of a call."""
        running = self._running.get((number, request))
        if running is not None:
            running.task.cancel()

    def credit(self, number: int, request: int, chunks: int) -> None:
        """The caller of a stream takes so many chunks more."""
        running = self._running.get((number, request))
        if running is not None:
            for _ in range(chunks):
                running.credit.release()

    async def close(self) -> None:
        """Cancels everything and waits for its end."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, running: _Running) -> None:
        call, task = running.call, running.task
        if self._running.get((call.number, call.request)) is not running:
            return  # another call has its number by now
        del self._running[call.number, call.request]
        kind, body = _CANCELLED if task.cancelled() else task.result()
        self._answers.remember((call.number, call.request), kind, body)
        self._answer(call, kind, body)

    async def _outcome(self, running: _Running) -> tuple[int, bytes]:
        """Kind and body of the answer."""
        call = running.call

        def progress(done: float, total: float | None = None, message: str = "") -> None:
            self._answer(call, wire.PROGRESS, encode(Progress(done, total, message)))

        async def chunk(value: object) -> None:
            if call.credit is not None:
                body = encode_body(value, "wrong-output")
                await running.credit.acquire()
                self._answer(call, wire.CHUNK, body)

        try:
            args = _arguments(call.body)
            streams = call.credit is not None
            request = Request(
                call.caller,
                call.capability,
                call.method,
                args,
                progress,
                chunk,
                streams,
                call.trace,
            )
            value = await self._handlers[call.capability](request)
            return wire.RESULT, encode_body(value, "wrong-output")
        except BusError as raised:
            error = raised
        except Exception as raised:
            _log.exception("serving %s failed", call.capability)
            error = BusError("internal", "the kernel failed", cls=type(raised).__name__)
        return wire.ERROR, encode(error.to_body())


def _arguments(body: bytes) -> dict[str, Any]:
    try:
        return decode_arguments(body)
    except ProtocolError:
        raise BusError("bad-request", "the arguments are not a map", where="body") from None
