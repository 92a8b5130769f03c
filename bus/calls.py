"""The open calls of a threaded peer, as futures."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from .errors import BusError
from .messages import Progress
from .session import Answered, Event, Progressed, Session

OnProgress = Callable[[Progress], None]


class OpenCalls:
    """Which future an answer belongs to. `start` and `settle` run under the session's lock or on
    the connection's thread, so an answer never comes before its call is known."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Future[Any], OnProgress | None]] = {}

    def start(
        self,
        session: Session,
        capability: str,
        method: str | None,
        args: Mapping[str, object],
        *,
        ttl_ms: int,
        now: float,
        options: Mapping[str, object] | None = None,
        on_progress: OnProgress | None = None,
    ) -> tuple[int, "Future[Any]"]:
        """Opens a call; returns its request number and the future of its answer."""
        request = session.call(capability, method, args, ttl_ms, now, options)
        future: Future[Any] = Future()
        self._open[request] = (future, on_progress)
        return request, future

    def settle(self, event: Event) -> bool:
        """Gives an answer or progress to its call; False if the event is neither."""
        if isinstance(event, Answered):
            entry = self._open.pop(event.request, None)
            if entry is not None:
                if event.error is not None:
                    entry[0].set_exception(event.error)
                else:
                    entry[0].set_result(event.value)
            return True
        if isinstance(event, Progressed):
            entry = self._open.get(event.request)
            if entry is not None and entry[1] is not None:
                entry[1](event.progress)
            return True
        return False

    def fail_all(self, reason: BusError) -> None:
        """Ends every open call: no answer will come."""
        while self._open:
            _, (future, _) = self._open.popitem()
            future.set_exception(reason)
