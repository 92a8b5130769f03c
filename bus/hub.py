"""The hub as the kernel uses it: the control plane on an asyncio loop, the datapath beside it."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from . import wire
from .codec import decode_as, encode
from .control import Control, Grants, HubListener, KernelCall, LocalCall
from .datapath import VIOLATION, Datapath
from .errors import BusError
from .messages import Activate, Progress
from .session import encode_body
from .ticket import Ticket

__all__ = ["Grants", "Hub", "HubListener", "LocalHandler", "Request"]

_log = logging.getLogger("symphony.bus")

# The folders of a sandboxed instance; a kernel that uses others replaces them in the ticket.
INBOX = "/inbox"
OUTBOX = "/outbox"


@dataclass(frozen=True)
class Request:
    """A call to a capability that the kernel serves.

    `progress(done, total=None, message="")` reports to the caller.
    """

    caller: str
    capability: str
    method: str
    args: dict[str, Any]
    progress: Callable[..., None]


LocalHandler = Callable[[Request], Awaitable[object]]


class Hub:
    """Joins instances to the bus, calls them and serves them.

    Every method must be called on the loop that `start` ran on; `listener` is called there too.
    """

    def __init__(
        self,
        datapath: Datapath,
        *,
        heartbeat_ms: int = wire.HEARTBEAT_MS,
        liveness: int = wire.LIVENESS,
        listener: HubListener,
    ) -> None:
        self._datapath = datapath
        self._control = Control(datapath, listener, self, heartbeat_ms, liveness)
        self._handlers: dict[str, LocalHandler] = {}
        self._serving: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._endpoints: dict[str, str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def start(self) -> None:
        """Starts the datapath; peers and providers may be added from now on."""
        self._loop = asyncio.get_running_loop()
        self._datapath.start(
            self._wake,
            heartbeat_ms=self._control.heartbeat_ms,
            liveness=self._control.liveness,
            grace_ms=wire.GRACE_MS,
        )

    async def close(self) -> None:
        """Ends all calls that the kernel serves, then the datapath; idempotent."""
        if self._closed or self._loop is None:
            return
        self._closed = True
        tasks = list(self._serving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._datapath.close)

    # -- peers ------------------------------------------------------------------------------

    def add_peer(
        self, instance: str, endpoint: str, grants: Grants, *, inside: str | None = None
    ) -> Ticket:
        """Listens at `endpoint` for one new instance and returns its ticket.

        `inside` is the endpoint as the instance sees it. Raises BusError `io` if the endpoint
        cannot be had, `conflict` if the instance is on the bus already.
        """
        self._refuse_known(instance)
        secret = os.urandom(wire.IDENTITY_BYTES)
        self._control.add(instance, secret, grants)
        self._listen(instance, endpoint)
        return Ticket(
            v=wire.VERSION,
            endpoint=inside or endpoint,
            identity=secret.hex(),
            instance=instance,
            inbox=INBOX,
            outbox=OUTBOX,
        )

    def remove_peer(self, instance: str) -> None:
        """Cuts an instance off: open calls to it end as `crashed`, its own are cancelled."""
        self._control.remove(instance)
        self._unlisten(instance)

    def add_console(self, endpoint: str, grants: Grants) -> Ticket:
        """Listens at `endpoint` for consoles, several at once, and returns their ticket."""
        name = "console"
        self._refuse_known(name)
        secret = os.urandom(wire.IDENTITY_BYTES)
        self._control.add_consoles(name, secret, grants)
        self._listen(name, endpoint)
        return Ticket(v=wire.VERSION, endpoint=endpoint, identity=secret.hex(), instance=name)

    def _refuse_known(self, name: str) -> None:
        if name in self._endpoints:
            raise BusError("conflict", "an instance of this name is on the bus", where=name)

    def _listen(self, name: str, endpoint: str) -> None:
        # After admission, so that not even the first message can come from somebody unknown.
        try:
            self._datapath.bind(endpoint)
        except BusError:
            self._control.remove(name)
            raise
        self._endpoints[name] = endpoint

    def _unlisten(self, name: str) -> None:
        endpoint = self._endpoints.pop(name, None)
        if endpoint is not None:
            self._datapath.unbind(endpoint)

    def providers(self, capability: str) -> list[str]:
        """The registered instances that provide a capability."""
        return self._control.providers(capability)

    # -- calls ------------------------------------------------------------------------------

    async def call(
        self,
        capability: str,
        method: str | None,
        args: Mapping[str, object],
        *,
        instance: str | None = None,
        ttl_ms: int = 0,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> Any:
        """Calls a provider and returns its result; `ttl_ms` 0 waits for ever.

        Raises BusError: the provider's own, or `unavailable`, `deadline`, `crashed`,
        `bad-request`, `overloaded`. Cancelling the task cancels the call.
        """
        body = encode_body(args)
        future, call = self._kernel_call(instance or "")
        if on_progress is not None:
            tell = on_progress

            def progressed(progress: Progress) -> None:
                if not future.done():
                    tell(
                        {
                            "done": progress.done,
                            "total": progress.total,
                            "message": progress.message,
                        }
                    )

            call.on_progress = progressed
        request = self._control.call(capability, method, body, ttl_ms, call)
        try:
            return await future
        finally:
            self._control.cancel(request)  # nothing is left to cancel once it was answered

    async def activate(
        self,
        instance: str,
        config: Mapping[str, object],
        params: Mapping[str, object],
        *,
        ttl_ms: int,
    ) -> None:
        """Sends configuration and parameters; returns when the instance has taken them."""
        future, call = self._kernel_call(instance)
        message = Activate(dict(config), dict(params))
        request = self._control.activate(message, ttl_ms, call)
        try:
            async with asyncio.timeout(ttl_ms / 1000 if ttl_ms else None):
                await future
        except TimeoutError:
            raise BusError(
                "deadline", "the instance did not answer its activation", where=instance
            ) from None
        finally:
            self._control.cancel(request)

    def unload(self, instance: str, grace_ms: int) -> None:
        """Asks an instance to finish what runs and leave within `grace_ms`."""
        self._control.unload(instance, grace_ms)

    def publish(self, topic: str, value: object) -> None:
        """Sends an event to every instance that may and does subscribe to the topic."""
        self._control.publish(topic, encode_body(value))

    def serve(self, capability: str, handler: LocalHandler) -> None:
        """Makes the kernel the provider of a capability.

        A BusError of the handler is the caller's error; anything else becomes `internal`.
        """
        self._handlers[capability] = handler
        self._control.serve(capability)

    def counters(self) -> dict[str, int]:
        """Messages forwarded and dropped by reason, and refusals as `refused CALLER WHAT RULE`."""
        counts = self._datapath.counters()
        for row, times in self._control.refusals.items():
            counts["refused " + " ".join(row)] = times
        return counts

    # -- the kernel as provider (`control.LocalProvider`) -------------------------------------

    def begin(self, call: LocalCall) -> None:
        """Starts the handler of a call as a task."""
        key = (call.number, call.request)
        task = asyncio.get_running_loop().create_task(self._answer(call))
        self._serving[key] = task
        task.add_done_callback(lambda _: self._serving.pop(key, None))

    def cancel(self, number: int, request: int) -> None:
        """Cancels the task of a call."""
        task = self._serving.get((number, request))
        if task is not None:
            task.cancel()

    async def _answer(self, call: LocalCall) -> None:
        def progress(done: float, total: float | None = None, message: str = "") -> None:
            self._control.answer(call, wire.PROGRESS, encode(Progress(done, total, message)))

        kind = wire.ERROR
        try:
            args = decode_as(call.body, dict[str, Any])
            request = Request(call.caller, call.capability, call.method, args, progress)
            body = encode_body(await self._handlers[call.capability](request))
            kind = wire.RESULT
        except asyncio.CancelledError:
            body = encode(BusError("cancelled", "the call was cancelled").to_body())
        except BusError as error:
            body = encode(error.to_body())
        except Exception as error:
            _log.exception("serving %s failed", call.capability)
            internal = BusError("internal", "the kernel failed", cls=type(error).__name__)
            body = encode(internal.to_body())
        self._control.answer(call, kind, body)

    # -- the datapath's upcalls ---------------------------------------------------------------

    def _wake(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        if self._closed:
            return
        for upcall in self._datapath.poll():
            try:
                self._control.handle(upcall)
            except Exception:
                _log.exception("an upcall of %r failed", upcall.peer)
            if upcall.event == VIOLATION:  # what else it sends is not even to be read
                self._unlisten(upcall.peer)

    def _kernel_call(self, instance: str) -> tuple["asyncio.Future[Any]", KernelCall]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def succeed(value: object) -> None:
            if not future.done():
                future.set_result(value)

        def fail(error: BusError) -> None:
            if not future.done():
                future.set_exception(error)

        return future, KernelCall(instance, None, succeed, fail)
