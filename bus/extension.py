"""The SDK: an extension in a few lines.

from symphony.bus.extension import Extension

ext = Extension()

@ext.provides("prompt.enhance/1")
def enhance(ctx, user_input: str) -> str:
    return user_input.strip()

ext.run()
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from . import wire
from .codec import Buffer, convert, decode_arguments
from .context import CallBus, Cancelled, Context, Interest, Log
from .errors import BusError, ProtocolError
from .files import is_relative
from .function import Function
from .heard import Called, Event
from .messages import Activate
from .messages import Context as CallContext
from .retry import Retry

__all__ = ["BusError", "Cancelled", "Context", "Event", "Extension", "Retry"]

F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H", bound=Callable[[Event], object])
_NO_CONTEXT: Final = CallContext()


class Extension:
    """What one process provides and listens to: functions by capability and method, handlers by
    topic."""

    def __init__(self) -> None:
        self._functions: dict[tuple[str, str], Function] = {}
        self._handlers: dict[str, Callable[[Event], object]] = {}
        self._activation = Activate({}, {})

    def provides(self, capability: str, method: str | None = None) -> Callable[[F], F]:
        """Registers the decorated function `(ctx, **arguments)` for a capability's method.

        Annotations decide what arrives: for a file `str` gives its text, `bytes` its bytes and
        `Path` its place; everything else is checked by type. A returned `Path` below
        `ctx.outbox` becomes a file; several outputs are a dict. A generator streams what it
        yields and answers with what it returns.
        """

        def register(target: F) -> F:
            self._functions[capability, method or wire.DEFAULT_METHOD] = Function(target)
            return target

        return register

    def subscribes(self, topic: str) -> Callable[[H], H]:
        """Registers the decorated `(event)` as the handler of a topic's events.

        It runs between calls, on the same thread: never while a function of this extension does.
        What it raises goes to the log. Events that come while very many wait are dropped; the
        next one's `gap` counts them.
        """

        def register(target: H) -> H:
            self._handlers[topic] = target
            return target

        return register

    @property
    def topics(self) -> tuple[str, ...]:
        """What this extension listens to."""
        return tuple(self._handlers)

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What this extension provides, in the order of registration."""
        return tuple(dict.fromkeys(capability for capability, _ in self._functions))

    def activate(self, activation: Activate) -> None:
        """Takes configuration and parameters for the calls to come."""
        self._activation = activation

    def run(self) -> None:
        """Joins the bus and serves until the kernel ends this process; then exits.

        The exit code is 0 after `unload`, 143 after SIGTERM, 1 when the bus is lost, 2 when there
        is no valid ticket.
        """
        from .worker import work

        raise SystemExit(work(self, os.environ))

    def serve(
        self, called: Called, bus: CallBus, *, inbox: Path, outbox: Path, interest: Interest
    ) -> object:
        """Answers one call; raises BusError with whatever went wrong in it."""
        if interest.cancelled:
            raise Cancelled
        args, call = _arguments(called.body)
        function = self._functions.get((called.capability or "", called.method))
        if function is None:
            raise BusError(
                "bad-request",
                f"there is no method {called.method} of {called.capability} here",
                where="method",
            )
        ctx = Context(call, called, bus, interest, self._activation, inbox, outbox)
        try:
            return function(ctx, args)
        except BusError as error:
            error.repeatable = False  # that another's call may be repeated says nothing of this one
            raise
        except Exception as error:
            import traceback

            text = "".join(traceback.format_exception(error))
            Log(run=call.run, step=call.step).error("the call failed", traceback=text)
            raise _failure(error) from error

    def hear(self, event: Event) -> None:
        """Gives an event to its handler."""
        try:
            self._handlers[event.topic](event)
        except Exception as error:
            import traceback

            text = "".join(traceback.format_exception(error))
            Log().error("the handler of an event failed", topic=event.topic, traceback=text)


def _arguments(body: Buffer) -> tuple[dict[str, Any], CallContext]:
    try:
        args = decode_arguments(body)
    except ProtocolError:
        raise BusError("bad-request", "the arguments are not a map", where="body") from None
    if wire.CONTEXT_KEY not in args:
        return args, _NO_CONTEXT
    try:
        call = convert(args.pop(wire.CONTEXT_KEY), CallContext)
    except ProtocolError as error:
        raise BusError("bad-request", error.message, where=wire.CONTEXT_KEY) from None
    if call.folder is not None and ("/" in call.folder or not is_relative(call.folder)):
        raise BusError("bad-request", "the folder is not a plain name", where=wire.CONTEXT_KEY)
    return args, call


def _failure(error: Exception) -> BusError:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f"{Path(last.filename).name}:{last.lineno}" if last else None
    return BusError("failed", str(error) or "it raised", where=where, cls=type(error).__name__)
