"""The hub as the kernel uses it: the control plane on an asyncio loop, the datapath beside it."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from . import wire
from .admission import Rule
from .bodies import encode_body
from .codec import decode, encode_header
from .control import Control, FlowRow
from .datapath import ALL, FAILED, VIOLATION, Datapath, PeerStats
from .errors import BusError, ProtocolError
from .grants import Grants, Limit
from .kernelcalls import KernelCall
from .kernelstream import Stream
from .line import Curve, Endpoint, Line
from .listener import DeadLetter, HubListener
from .localcalls import LocalCalls, LocalHandler, Request
from .messages import Activate, Progress
from .readable import require_readable, require_short
from .ticket import Ticket

__all__ = [
    "Curve",
    "DeadLetter",
    "FlowRow",
    "Grants",
    "Hub",
    "HubListener",
    "Limit",
    "LocalHandler",
    "Request",
    "Stream",
]

_log = logging.getLogger("symphony.bus")

# The folders of a sandboxed instance; a kernel that uses others replaces them in the ticket.
INBOX = "/inbox"
OUTBOX = "/outbox"

MAX_BATCH: Final = 16  # upcalls taken before whoever came meanwhile gets a turn
SLICE_S: Final = 0.005  # for upcalls, before anything else on the loop gets its turn
DEFAULT_CREDIT: Final = 16  # chunks
ROOT: Final = 0  # the user who can read every console's ticket anyway


class Hub:
    """Joins instances to the bus, calls them and serves them.

    `datapath` makes a datapath, also to replace one that ended by a bug of its own; a datapath
    itself is used as it is and not replaced. Every method must be called on the loop that `start`
    ran on; `listener` is called there too.
    """

    def __init__(
        self,
        datapath: Callable[[], Datapath] | Datapath,
        *,
        heartbeat_ms: int = wire.HEARTBEAT_MS,
        liveness: int = wire.LIVENESS,
        listener: HubListener,
    ) -> None:
        self._line = Line(datapath, heartbeat_ms, liveness)
        self._listener = listener
        self._local = LocalCalls(self._answer)
        self._control = Control(self._line.datapath, listener, self._local, heartbeat_ms, liveness)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rest: asyncio.Handle | None = None  # handles the upcalls that are left
        self._failure: str | None = None  # of the datapath, whose last upcalls are still handled
        self._closed = False

    async def start(self) -> None:
        """Starts the datapath; peers and providers may be added from now on."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._line.bell.fd, self._heard)
        self._line.start()

    async def close(self) -> None:
        """Ends all calls that the kernel serves, then the datapath; idempotent."""
        if self._closed or self._loop is None:
            return
        self._closed = True
        self._loop.remove_reader(self._line.bell.fd)
        if self._timer is not None:
            self._timer.cancel()
        await self._local.close()
        await asyncio.to_thread(self._line.close)

    # -- peers ------------------------------------------------------------------------------

    def add_peer(
        self,
        instance: str,
        endpoint: str,
        grants: Grants,
        *,
        inside: str | None = None,
        uid: int | None = None,
        curve: Curve | None = None,
    ) -> Ticket:
        """Listens at `endpoint` for one new instance and returns its ticket.

        `inside` is the endpoint as the instance sees it. With `uid`, whoever connects must be this
        user's and the process that `expect` names or one below it, and waits for that. Over tcp
        `curve` must be given. Raises BusError `io` if the endpoint cannot be had, `conflict` if
        the instance is on the bus already, `bad-request` for tcp without keys.
        """
        self._refuse_known(instance)
        endpoint_ = _endpoint(endpoint, uid, curve)
        secret = os.urandom(wire.IDENTITY_BYTES)
        uids = None if uid is None else frozenset({uid})
        rule = Rule(uids, uid is not None, curve.allows if curve else None)
        self._control.add(instance, secret, grants, rule if endpoint_.guarded else None)
        self._listen(instance, endpoint_)
        return Ticket(
            v=wire.VERSION,
            endpoint=inside or endpoint,
            identity=secret.hex(),
            instance=instance,
            inbox=INBOX,
            outbox=OUTBOX,
        )

    def expect(self, instance: str, pid: int) -> None:
        """Names the process of an instance that was added with a `uid`: it may connect, and those
        below it."""
        self._control.expect(instance, pid)

    def remove_peer(self, instance: str) -> None:
        """Cuts an instance off: open calls to it end as `crashed`, its own are cancelled."""
        self._control.remove(instance)
        self._line.unlisten(instance)

    def crowded(self, name: str, connections: int) -> None:
        """Cuts off an instance, or consoles, because there are so many connections for them; each
        counts as refused."""
        self._control.crowded(name, connections)
        self.remove_peer(name)

    def add_console(
        self,
        endpoint: str,
        grants: Grants,
        *,
        name: str = "console",
        secret: bytes | None = None,
        uid: int | None = None,
        curve: Curve | None = None,
    ) -> Ticket:
        """Listens at `endpoint` for consoles, several at once, and returns their ticket.

        `secret` is what their routing ids begin with, 16 bytes; a new one if not given. With `uid`,
        only that user's processes and root's may connect; `curve` as for `add_peer`.
        """
        self._refuse_known(name)
        endpoint_ = _endpoint(endpoint, uid, curve)
        secret = secret or os.urandom(wire.IDENTITY_BYTES)
        uids = None if uid is None else frozenset({uid, ROOT})
        rule = Rule(uids, process=False, key=curve.allows if curve else None)
        self._control.add_consoles(name, secret, grants, rule if endpoint_.guarded else None)
        self._listen(name, endpoint_)
        return Ticket(v=wire.VERSION, endpoint=endpoint, identity=secret.hex(), instance=name)

    def _refuse_known(self, name: str) -> None:
        if name in self._line:
            raise BusError("conflict", "an instance of this name is on the bus", where=name)

    def _listen(self, name: str, endpoint: Endpoint) -> None:
        # After admission, so that not even the first message can come from somebody unknown.
        try:
            self._line.listen(name, endpoint)
        except BusError as error:
            if error.code != "unavailable" or not self._revived():
                self._control.remove(name)
                raise
            self._line.listen(name, endpoint)

    def _revived(self) -> bool:
        """Whether there is a new datapath for the one that was found to have ended."""
        ended = self._line.datapath
        self._drain(ALL)  # its own report may be waiting
        if self._line.datapath is ended:
            self._restart("it has ended")
        return self._line.datapath is not ended

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
        trace: str | None = None,
    ) -> Any:
        """Calls a provider and returns its result; `ttl_ms` 0 waits for ever.

        Raises BusError: the provider's own, or `unavailable`, `deadline`, `crashed`,
        `bad-request`, `overloaded`. Cancelling the task cancels the call. `trace` is a W3C
        `traceparent` for the provider to continue.
        """
        body = encode_body(args)
        future, call = _kernel_call(instance or "")
        if on_progress is not None:
            tell = on_progress

            def progressed(progress: Progress) -> None:
                if not future.done():
                    tell(
                        {
                            "done": progress.done,
                            "total": progress.total,
                            "message": progress.message,
                            "spent": progress.spent or {},
                        }
                    )

            call.on_progress = progressed
        _require_readable(capability, method, ttl_ms, trace)
        request = self._control.call(capability, method, body, ttl_ms, call, trace=trace)
        try:
            return await future
        finally:
            self._control.cancel(request)  # nothing is left to cancel once it was answered

    def stream(
        self,
        capability: str,
        method: str | None,
        args: Mapping[str, object],
        *,
        instance: str | None = None,
        ttl_ms: int = 0,
        credit: int = DEFAULT_CREDIT,
        trace: str | None = None,
    ) -> Stream:
        """Calls a provider that answers in chunks: `async with hub.stream(...) as chunks: async
        for chunk in chunks`, then `await chunks.result()`.

        At most `credit` chunks wait here. Raises BusError as `call`.
        """
        if not 1 <= credit <= wire.MAX_CREDIT:
            raise BusError("bad-request", f"credit is 1 to {wire.MAX_CREDIT}", where="credit")
        _require_readable(capability, method, ttl_ms, trace)
        return Stream(
            self._control,
            capability,
            method,
            encode_body(args),
            ttl_ms,
            instance=instance or "",
            credit=credit,
            trace=trace,
        )

    async def activate(
        self,
        instance: str,
        config: Mapping[str, object],
        params: Mapping[str, object],
        *,
        ttl_ms: int,
    ) -> None:
        """Sends configuration and parameters; returns when the instance has taken them."""
        future, call = _kernel_call(instance)
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

    def publish(self, topic: str, value: object, *, keep: bool = False) -> None:
        """Sends an event to every instance that subscribes to the topic; with `keep` also to those
        that will."""
        self._control.publish(topic, encode_body(value), keep=keep)

    def hear(self, topic: str, handler: Callable[[Any], None]) -> None:
        """Hands the kernel every event of a topic, decoded; what does not decode is left out."""

        def heard(body: bytes) -> None:
            with suppress(ProtocolError):
                handler(decode(body))

        self._control.hear(topic, heard)

    def subscribers(self, topic: str) -> int:
        """How many instances subscribe to a topic now."""
        return self._control.subscribers(topic)

    def serve(self, capability: str, handler: LocalHandler) -> None:
        """Makes the kernel the provider of a capability.

        A BusError of the handler is the caller's error; anything else becomes `internal`.
        """
        self._local.serve(capability, handler)
        self._control.serve(capability)

    # -- figures ----------------------------------------------------------------------------

    def counters(self) -> dict[str, int]:
        """Messages forwarded and dropped by reason, refusals as `refused CALLER WHAT RULE`, and
        how often the datapath was started anew."""
        counts = self._line.counters()
        for row, times in self._control.refusals.items():
            counts["refused " + " ".join(row)] = times
        counts["restarts"] = self._control.epoch - 1
        return counts

    def refusals(self) -> dict[tuple[str, str, str], int]:
        """How often who was refused what by which rule."""
        return dict(self._control.refusals)

    def flows(self) -> list[FlowRow]:
        """Every flow with what it has carried since the datapath was started."""
        return self._control.flow_rows()

    def peers(self) -> list[PeerStats]:
        """Every peer with what waits for it."""
        return self._line.datapath.peers()

    # -- the datapath -----------------------------------------------------------------------

    def _heard(self) -> None:
        self._line.bell.hush()
        self._drain()

    def _drain(self, limit: int = MAX_BATCH) -> None:
        """Handles what peers said, in turn; what takes longer than SLICE_S goes on after whatever
        else the loop has to do."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._closed:
            return
        until = time.monotonic() + SLICE_S
        while self._handle(limit) == limit:
            if self._loop is not None and time.monotonic() >= until:
                self._rest = self._loop.call_soon(self._drain)
                break
        else:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                self._restart(failure)
        self._set_timer()

    def _handle(self, limit: int) -> int:
        """Handles up to so many upcalls; returns how many there were."""
        upcalls = self._line.datapath.poll(limit)
        for upcall in upcalls:
            if upcall.event == FAILED:
                self._failure = upcall.header.decode(errors="replace")
                continue
            try:
                self._control.handle(upcall)
            except Exception:
                _log.exception("an upcall of %r failed", upcall.peer)
            if upcall.event == VIOLATION:  # what else it sends is not even to be read
                self._line.unlisten(upcall.peer)
        return len(upcalls)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._control.next_tick()
        if due is not None and self._loop is not None:
            self._timer = self._loop.call_later(max(0.0, due - time.monotonic()), self._tick)

    def _tick(self) -> None:
        self._control.tick()
        self._set_timer()

    def _restart(self, why: str) -> None:
        """Puts a new datapath in the place of one that ended; every peer is joined again."""
        if self._line.ended:
            return
        if not self._line.replace():
            _log.critical("the bus ended for good", extra={"reason": why})
            self._control.give_up(BusError("unavailable", "the bus has ended"))
            self._listener.bus_ended(why)
            return
        _log.error("the bus ended and is started anew", extra={"reason": why})
        self._control.rejoin(self._line.datapath)
        for name in self._line.listen_again():
            self._listener.silent(name)

    # -- the kernel as provider -------------------------------------------------------------

    def _answer(self, call: Any, kind: int, body: bytes) -> None:
        self._control.answer(call, kind, body)


def _endpoint(address: str, uid: int | None, curve: Curve | None) -> Endpoint:
    if address.startswith("tcp://") and curve is None:
        raise BusError(
            "bad-request",
            "over tcp the bus speaks only CURVE",
            where=address,
            help="make keys with `symphony-kernel keys` or listen on ipc",
        )
    return Endpoint(address, uid is not None or curve is not None, curve)


def _kernel_call(instance: str) -> tuple["asyncio.Future[Any]", KernelCall]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def succeed(value: object) -> None:
        if not future.done():
            future.set_result(value)

    def fail(error: BusError) -> None:
        if not future.done():
            future.set_exception(error)

    return future, KernelCall(instance, None, succeed, fail)


@lru_cache(maxsize=256)
def _require_readable(capability: str, method: str | None, ttl_ms: int, trace: str | None) -> None:
    """Raises BusError for a call that no provider could read."""
    options = None if trace is None else {wire.TRACE_OPTION: trace}
    header = encode_header(wire.CALL, capability, 1, ttl_ms, method, options)
    require_short(header)
    require_readable(header)
