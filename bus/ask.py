"""A call as it is asked for, before it has a number: the same for every kind of client."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from . import trace as traces
from . import wire
from .asking import Asking
from .errors import BusError
from .messages import Progress

OnProgress = Callable[[Progress], None]


class Ask(Struct):
    """What is asked of a capability, and how.

    `ttl_ms` 0 is without an end; the result is read as `type`. With `credit` the answer may come in
    chunks, so many before more are asked for, read as `chunk_type`. `idem` is an idempotency key;
    without a `trace`, a W3C `traceparent`, the first call begins one, which its repetitions share.
    """

    capability: str
    method: str | None
    args: Mapping[str, object] | None
    ttl_ms: int = 0
    type: Any = Any
    chunk_type: Any = Any
    credit: int | None = None
    idem: str | None = None
    trace: str | None = None
    on_progress: OnProgress | None = None

    def open(self, asking: Asking, now: float) -> int:
        """Makes the call; returns its request number. Raises BusError for what cannot be sent."""
        if self.trace is None:
            self.trace = traces.new()
        elif not traces.is_valid(self.trace):
            raise BusError("bad-request", "this is no W3C traceparent", where="trace")
        options: dict[str, object] = {wire.TRACE_OPTION: self.trace}
        if self.idem is not None:
            options[wire.IDEM_OPTION] = self.idem
        if self.credit is not None:
            options[wire.STREAM_OPTION] = self.credit
        return asking.call(
            self.capability,
            self.method,
            self.args or {},
            self.ttl_ms,
            now,
            options=options,
            type=self.type,
            chunk_type=self.chunk_type,
        )
