"""What an extension's function gets as `ctx`: the call it serves and the world around it."""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Event, Lock
from typing import Any, Final, Protocol, TypeVar, overload

from msgspec.structs import replace

from . import trace as traces
from .ask import Ask, OnProgress
from .errors import BusError
from .files import outgoing
from .heard import Called
from .messages import Activate, Progress
from .messages import Context as CallContext
from .retry import Attempts, Retry

T = TypeVar("T")

NOTHING_TOLD: Final = Progress(0)
_REPORTING: Final = Lock()


class Cancelled(BusError):  # noqa: N818 - part of the SDK, named as the caller's wish
    """Raised by `ctx.check()` when the answer is no longer wanted."""

    def __init__(self, *, late: bool = False) -> None:
        if late:  # the hub is about to say the same; whichever comes first must not differ
            super().__init__("deadline", "the call was not answered in time")
        else:
            super().__init__("cancelled", "the call was cancelled")


class CallBus(Protocol):
    """What a running call may do on the bus."""

    def progress(self, progress: Progress) -> None:
        """Reports progress of this call."""

    def chunk(self, value: object) -> None:
        """Sends a part of the answer as soon as the caller takes it; raises Cancelled."""

    def call(self, ask: Ask) -> Any:
        """Calls another capability and returns its result; raises BusError."""

    def stream(self, ask: Ask) -> "Parts[Any]":
        """Calls another capability for an answer in chunks; raises BusError."""

    def publish(self, topic: str, value: object, *, keep: bool) -> None:
        """Publishes an event; raises BusError."""


class Parts(Protocol[T]):
    """An answer in chunks: iterate for them, then ask for the result.

    Leaving its `with` block early cancels it; so does the end of the call that opened it.
    """

    def __enter__(self) -> "Parts[T]": ...
    def __exit__(self, *_: object) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __next__(self) -> Any: ...

    def result(self) -> T:
        """The result, once the chunks that are left have been passed over."""

    def cancel(self) -> None:
        """Asks for the end of the stream; what comes next then usually raises `cancelled`."""


class Interest:
    """Whether the answer of a running call is still wanted."""

    __slots__ = ("_ended", "cancelled")

    def __init__(self) -> None:
        self.cancelled = False
        self._ended: Event | None = None  # made when somebody waits, which few calls do

    def end(self) -> None:
        """It is not; called by another thread."""
        self.cancelled = True
        if self._ended is not None:
            self._ended.set()

    def wait(self, seconds: float) -> None:
        """Returns after so long, or as soon as it is not."""
        ended = self._ended = Event()
        if not self.cancelled:
            ended.wait(seconds)


class Log:
    """Structured log: one JSON object a line on stderr, `bound` in each."""

    def __init__(self, **bound: object) -> None:
        self._bound = {key: value for key, value in bound.items() if value is not None}

    def debug(self, event: str, **values: object) -> None:
        """Details for whoever develops the extension."""
        self._write("debug", event, values)

    def info(self, event: str, **values: object) -> None:
        """What happened."""
        self._write("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        """What will cause trouble."""
        self._write("warning", event, values)

    def error(self, event: str, **values: object) -> None:
        """What failed."""
        self._write("error", event, values)

    def _write(self, level: str, event: str, values: Mapping[str, object]) -> None:
        ts = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"ts": ts, "level": level, "event": event, **self._bound, **values}
        print(json.dumps(line, default=str, ensure_ascii=False), file=sys.stderr, flush=True)


class Context:
    """One call. `deadline` is in seconds of `time.monotonic`, None without one; `streaming`:
    whether the caller takes chunks. What few calls look at is made when it is looked at."""

    def __init__(
        self,
        call: CallContext,
        called: Called,
        bus: CallBus,
        interest: Interest,
        activation: Activate,
        inbox: Path,
        outbox: Path,
    ) -> None:
        self.deadline = called.deadline
        self.streaming = called.streaming
        self._trace = called.trace
        self._call = call
        self._bus = bus
        self._interest = interest
        self._activation = activation
        self._inbox = inbox
        self._outbox = outbox
        self._told = NOTHING_TOLD

    @property
    def run(self) -> str | None:
        """The run that this call belongs to."""
        return self._call.run

    @property
    def step(self) -> str | None:
        """The step of that run."""
        return self._call.step

    @property
    def attempt(self) -> int | None:
        """Which attempt of that step this is."""
        return self._call.attempt

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of this extension."""
        return self._activation.config

    @cached_property
    def params(self) -> dict[str, Any]:
        """The parameters: of the activation, and over them those of this call."""
        return {**self._activation.params, **(self._call.params or {})}

    @cached_property
    def inbox(self) -> Path:
        """This call's own folder of files."""
        return self._inbox / (self._call.folder or "")

    @cached_property
    def log(self) -> Log:
        """The log, with the names of this call."""
        return Log(run=self.run, step=self.step, attempt=self.attempt, trace=self._trace)

    @property
    def trace(self) -> str:
        """The W3C `traceparent` of this call; its own calls continue it."""
        if self._trace is None:
            self._trace = traces.new()
        return self._trace

    @property
    def outbox(self) -> Path:
        """This call's own folder for results, made when first asked for."""
        self.outbox_path.mkdir(parents=True, exist_ok=True)
        return self.outbox_path

    @cached_property
    def outbox_path(self) -> Path:
        """The same folder, whether it exists or not."""
        return self._outbox / (self._call.folder or "")

    @property
    def cancelled(self) -> bool:
        """Whether the answer is no longer wanted."""
        return self._interest.cancelled or self.remaining() == 0.0

    def check(self) -> None:
        """Raises Cancelled when the answer is no longer wanted; call it often in long work."""
        if self.cancelled:
            raise Cancelled(late=self.remaining() == 0.0)

    def wait(self, seconds: float) -> None:
        """Pauses for so long; raises Cancelled as soon as the answer is no longer wanted."""
        remaining = self.remaining()
        self._interest.wait(seconds if remaining is None else min(seconds, remaining))
        self.check()

    def remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None without a deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def progress(
        self, done: int | float, total: int | float | None = None, message: str = ""
    ) -> None:
        """Tells the caller how far this is, in units of your choice."""
        with _REPORTING:
            self._report(replace(self._told, done=done, total=total, message=message))

    def spend(self, **amounts: int) -> None:
        """Reports what this call has used up, `ctx.spend(tokens=120)`, on top of what it reported
        before: it is charged however the call ends. Whole numbers from 0; raises ValueError."""
        for name, amount in amounts.items():
            if type(amount) is not int or amount < 0:
                raise ValueError(f"{name}={amount!r}: what was spent is a whole number from 0")
        with _REPORTING:  # a call may have threads of its own
            spent = Counter(self._told.spent or {})
            spent.update(amounts)
            self._report(replace(self._told, spent=dict(spent)))

    def _report(self, told: Progress) -> None:
        self._told = told
        self._bus.progress(told)

    def chunk(self, value: object) -> None:
        """Sends a part of the answer, as a generator's `yield` does.

        Waits while the caller has not taken the parts before; raises Cancelled when it no longer
        wants any. A caller that did not ask for parts gets none.
        """
        self.check()
        if self.streaming:
            self._bus.chunk(outgoing(value, self.outbox_path, "chunk"))

    def call(self, capability: str, method: str | None = None, /, **args: object) -> Any:
        """Calls another capability within this call's deadline; raises BusError.

        The short form of `ask`: every name is an argument of the function that is called.
        """
        return self.ask(capability, method, args)

    @overload
    def ask(
        self,
        capability: str,
        method: str | None = None,
        args: Mapping[str, object] | None = None,
        *,
        type: type[T],
        ttl_ms: int = 0,
        on_progress: OnProgress | None = None,
        idem: str | None = None,
        retry: Retry | None = None,
    ) -> T: ...

    @overload
    def ask(
        self,
        capability: str,
        method: str | None = None,
        args: Mapping[str, object] | None = None,
        *,
        type: Any = Any,
        ttl_ms: int = 0,
        on_progress: OnProgress | None = None,
        idem: str | None = None,
        retry: Retry | None = None,
    ) -> Any: ...

    def ask(
        self,
        capability: str,
        method: str | None = None,
        args: Mapping[str, object] | None = None,
        *,
        type: Any = Any,  # noqa: A002 - as the clients name it
        ttl_ms: int = 0,
        on_progress: OnProgress | None = None,
        idem: str | None = None,
        retry: Retry | None = None,
    ) -> Any:
        """Calls another capability and returns its result as `type`; raises BusError.

        It ends after `ttl_ms` if that is given, but never later than this call, and is a span
        below it. `idem` is an idempotency key, at most 128 characters; `on_progress` runs on the
        thread that waits here. With `retry`, an error that the hub calls repeatable leads to
        another attempt. Raises Cancelled when the answer to this call is no longer wanted.
        """
        self.check()
        ask = Ask(
            capability,
            method,
            args,
            self._within(ttl_ms),
            type,
            idem=idem,
            trace=traces.child(self.trace),
            on_progress=on_progress,
        )
        if retry is None:
            return self._bus.call(ask)
        attempts = Attempts(retry, ask.ttl_ms)
        while True:
            ask.ttl_ms = attempts.ttl_ms
            try:
                return self._bus.call(ask)
            except BusError as error:
                self.wait(attempts.pause_s(error))

    def stream(
        self,
        capability: str,
        method: str | None = None,
        args: Mapping[str, object] | None = None,
        *,
        credit: int = 16,
        type: Any = Any,  # noqa: A002 - as in `ask`
        chunk_type: Any = Any,
        ttl_ms: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Parts[Any]:
        """As `ask`, for an answer in chunks: iterate for them, then ask for the result.

        At most `credit` chunks (1 to 1,024) wait to be taken, in this process or on the way to it.
        """
        self.check()
        ask = Ask(
            capability,
            method,
            args,
            self._within(ttl_ms),
            type,
            chunk_type,
            credit,
            trace=traces.child(self.trace),
            on_progress=on_progress,
        )
        return self._bus.stream(ask)

    def publish(self, topic: str, value: object, *, keep: bool = False) -> None:
        """Publishes an event; the hub drops it if this extension may not.

        With `keep`, the hub sends it to later subscribers as well, until there is a newer one.
        """
        self._bus.publish(topic, value, keep=keep)

    def _within(self, ttl_ms: int) -> int:
        """So many milliseconds, but no more than are left of this call; 0 without an end."""
        remaining = self.remaining()
        if remaining is None:
            return ttl_ms
        left_ms = max(1, int(remaining * 1000))
        return min(ttl_ms, left_ms) if ttl_ms else left_ms
