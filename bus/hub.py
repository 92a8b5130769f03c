"""The hub as the kernel uses it: the control plane on an asyncio loop, the datapath beside it."""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from . import wire
from .admission import Rule
from .bodies import encode_body
from .control import Control, FlowRow
from .datapath import FAILED, VIOLATION, Datapath, PeerStats
from .errors import BusError
from .grants import Grants, Limit
from .kernelcalls import KernelCall
from .kernelstream import Stream
from .listener import DeadLetter, HubListener
from .localcalls import LocalCalls, LocalHandler, Request
from .messages import Activate, Progress
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

MAX_RESTARTS: Final = 5  # of the datapath, within RESTARTS_S
RESTARTS_S: Final = 10.0
DEFAULT_CREDIT: Final = 16  # chunks


@dataclass(frozen=True)
class Curve:
    """Encryption of an endpoint: the hub's secret key, and whether a peer's public key (both 32
    bytes) is let in."""

    secret: bytes
    allows: Callable[[bytes], bool]

    def __repr__(self) -> str:
        return "Curve(...)"


@dataclass(frozen=True)
class _Endpoint:
    """Where a peer is listened for."""

    address: str
    guarded: bool
    curve: Curve | None


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
        self._make = datapath if callable(datapath) else None
        self._datapath = datapath() if callable(datapath) else datapath
        self._heartbeat_ms = heartbeat_ms
        self._liveness = liveness
        self._listener = listener
        self._local = LocalCalls(self._answer)
        self._control = Control(self._datapath, listener, self._local, heartbeat_ms, liveness)
        self._endpoints: dict[str, _Endpoint] = {}
        self._restarts: deque[float] = deque(maxlen=MAX_RESTARTS)
        self._earlier: dict[str, int] = {}  # what the datapaths before this one have counted
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._ended = False  # for good

    async def start(self) -> None:
        """Starts the datapath; peers and providers may be added from now on."""
        self._loop = asyncio.get_running_loop()
        self._start_datapath()

    async def close(self) -> None:
        """Ends all calls that the kernel serves, then the datapath; idempotent."""
        if self._closed or self._loop is None:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await self._local.close()
        await asyncio.to_thread(self._datapath.close)

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
        rule = Rule(uid, uid is not None, curve.allows if curve else None)
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
        self._unlisten(instance)

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
        rule = Rule(uid, process=False, key=curve.allows if curve else None)
        self._control.add_consoles(name, secret, grants, rule if endpoint_.guarded else None)
        self._listen(name, endpoint_)
        return Ticket(v=wire.VERSION, endpoint=endpoint, identity=secret.hex(), instance=name)

    def _refuse_known(self, name: str) -> None:
        if name in self._endpoints:
            raise BusError("conflict", "an instance of this name is on the bus", where=name)

    def _listen(self, name: str, endpoint: _Endpoint) -> None:
        # After admission, so that not even the first message can come from somebody unknown.
        try:
            self._bind(name, endpoint)
        except BusError as error:
            if error.code != "unavailable" or not self._revived():
                self._control.remove(name)
                raise
            self._bind(name, endpoint)
        self._endpoints[name] = endpoint

    def _unlisten(self, name: str) -> None:
        endpoint = self._endpoints.pop(name, None)
        if endpoint is not None:
            self._datapath.unbind(endpoint.address)

    def _revived(self) -> bool:
        """Whether there is a new datapath for the one that was found to have ended."""
        ended = self._datapath
        self._drain()  # its own report may be waiting
        if self._datapath is ended:
            self._restart("it has ended")
        return self._datapath is not ended

    def _bind(self, name: str, endpoint: _Endpoint) -> None:
        domain = name if endpoint.guarded else ""
        curve = endpoint.curve.secret if endpoint.curve else b""
        self._datapath.bind(endpoint.address, domain=domain, curve=curve)

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
                        }
                    )

            call.on_progress = progressed
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
        counts = self._counted()
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
        return self._datapath.peers()

    def _counted(self) -> dict[str, int]:
        counts = dict(self._earlier)
        for name, times in self._datapath.counters().items():
            counts[name] = counts.get(name, 0) + times
        return counts

    # -- the datapath -----------------------------------------------------------------------

    def _start_datapath(self) -> None:
        self._datapath.start(
            self._wake,
            heartbeat_ms=self._heartbeat_ms,
            liveness=self._liveness,
            grace_ms=wire.GRACE_MS,
        )

    def _wake(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        if self._closed:
            return
        failed = None
        for upcall in self._datapath.poll():
            if upcall.event == FAILED:
                failed = upcall.header.decode(errors="replace")
                continue
            try:
                self._control.handle(upcall)
            except Exception:
                _log.exception("an upcall of %r failed", upcall.peer)
            if upcall.event == VIOLATION:  # what else it sends is not even to be read
                self._unlisten(upcall.peer)
        if failed is not None:
            self._restart(failed)
        self._set_timer()

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
        now = time.monotonic()
        often = len(self._restarts) == MAX_RESTARTS and now - self._restarts[0] < RESTARTS_S
        if self._ended:
            return
        if self._make is None or often:
            self._ended = True
            _log.critical("the bus ended for good", extra={"reason": why})
            self._control.give_up(BusError("unavailable", "the bus has ended"))
            self._listener.bus_ended(why)
            return
        self._restarts.append(now)
        _log.error("the bus ended and is started anew", extra={"reason": why})
        self._earlier = self._counted()
        self._datapath.close()
        self._datapath = self._make()
        self._start_datapath()
        self._control.rejoin(self._datapath)
        for name, endpoint in list(self._endpoints.items()):
            try:
                self._bind(name, endpoint)
            except BusError as error:
                _log.exception("cannot listen again", extra={"peer": name, "where": error.where})
                self._listener.silent(name)

    # -- the kernel as provider -------------------------------------------------------------

    def _answer(self, call: Any, kind: int, body: bytes) -> None:
        self._control.answer(call, kind, body)


def _endpoint(address: str, uid: int | None, curve: Curve | None) -> _Endpoint:
    if address.startswith("tcp://") and curve is None:
        raise BusError(
            "bad-request",
            "over tcp the bus speaks only CURVE",
            where=address,
            help="make keys with `symphony-kernel keys` or listen on ipc",
        )
    return _Endpoint(address, uid is not None or curve is not None, curve)


def _kernel_call(instance: str) -> tuple["asyncio.Future[Any]", KernelCall]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def succeed(value: object) -> None:
        if not future.done():
            future.set_result(value)

    def fail(error: BusError) -> None:
        if not future.done():
            future.set_exception(error)

    return future, KernelCall(instance, None, succeed, fail)
