"""A command's way to a kernel: the one that runs on the home, or one of its own for a question."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from symphony.bus.client import Client
from symphony.bus.errors import BusError
from symphony.bus.ticket import Ticket
from symphony.bus.wire import TICKET_VARIABLE

from ..console import CAPABILITY
from ..errors import ExitCode, Problem, Problems, SymphonyError
from ..kernel import Kernel, Settings
from ..members import AWAY, MOST_ENDS, REPLACEABLE, unavailable
from ..places import Places, lock_holder
from ..queries import Ask
from ..replies import broken, checked
from . import render, signals
from .common import find_places, run_async
from .handshake import is_key_refused

T = TypeVar("T")
ANSWER_S = 30.0
LOOK_S = 0.05  # between two looks for a member that is started again
KINDS = {kind.capability: kind for kind in REPLACEABLE}
SETTLE_S = 20.0  # for members to come up: those in Python take a second or two


@dataclass(frozen=True)
class Session:
    """How to ask the Pit, and which runs are being played now."""

    ask: Ask
    playing: frozenset[str]


def find_kernel(home: Path | None, ticket: Path | None) -> Places | Ticket:
    """Which kernel a command means: that of a ticket, by option or variable, or of a home."""
    if home is not None and ticket is not None:
        remedy = "leave out one of them"
        raise Problems([Problem("a ticket names a kernel already", "--home", remedy)])
    place = os.environ.get(TICKET_VARIABLE, "")
    if home is None and ticket is None and place.startswith("file:"):
        ticket = Path(place.removeprefix("file:"))
    if ticket is None:
        return find_places(home)
    found = Ticket.load({TICKET_VARIABLE: f"file:{ticket}"})
    if not found.is_console:
        message = "this ticket is an instance's, not a console's"
        raise Problems(
            [Problem(message, str(ticket), "make one with `symphony-kernel keys export`")]
        )
    return found


def console_client(kernel: Places | Ticket) -> Client:
    """A connection to a running kernel. Raises `unavailable` if there is none."""
    return _remote(kernel) if isinstance(kernel, Ticket) else _local(kernel)


def _remote(ticket: Ticket) -> Client:
    try:
        return Client(ticket)
    except BusError as error:
        local = ticket.curve is None
        if is_key_refused(ticket):
            raise SymphonyError(
                ExitCode.REFUSED,
                "the kernel there does not let this key in",
                where=ticket.endpoint,
                help="it was revoked, or is another home's: have a new ticket made with "
                "`symphony-kernel keys export`",
            ) from error
        raise SymphonyError(
            ExitCode.UNAVAILABLE,
            f"the kernel there does not let this console in: {error.message}",
            where=ticket.endpoint,
            help="see that it runs and that you are its user or root"
            if local
            else "see that it runs with --listen and can be reached; if its keys were rotated, "
            "have a new ticket made with `symphony-kernel keys export`",
        ) from error


def _local(places: Places) -> Client:
    try:
        ticket = Ticket.from_json(places.console.read_bytes())
    except FileNotFoundError:
        raise _no_kernel(places) from None
    except BusError as error:
        if lock_holder(places) is None:  # an ended one left it
            raise _no_kernel(places) from None
        raise SymphonyError(
            ExitCode.IO,
            f"the way to the running kernel is damaged: {error.message}",
            where=str(places.console),
            help=f"end the kernel with `kill {lock_holder(places)}` and start it again",
        ) from error
    if lock_holder(places) is None:
        raise _no_kernel(places)
    return Client(ticket)


def _no_kernel(places: Places) -> SymphonyError:
    return SymphonyError(
        ExitCode.UNAVAILABLE,
        "no kernel is running",
        where=f"home {places.home}",
        help="start one with `symphony-kernel serve`, or give another --home",
    )


def ask_kernel(
    kernel: Places | Ticket,
    method: str,
    args: Mapping[str, object] | None = None,
    timeout_s: float = ANSWER_S,
) -> Any:
    """One question to a running kernel's console."""
    with console_client(kernel) as client:
        return client.call(CAPABILITY, method, args or {}, ttl_ms=int(timeout_s * 1000))


def stop_kernel(places: Places) -> int:
    """Stops the running kernel and waits until it has ended; returns its pid."""
    pid = lock_holder(places)
    # Opened before it is asked: its number may be another's afterwards. Ready at its end, even if
    # its parent does not care.
    ended = None if pid is None else os.pidfd_open(pid)
    try:
        asked = int(ask_kernel(places, "stop")["pid"])
        if ended is not None and not select.select([ended], [], [], ANSWER_S)[0]:
            raise SymphonyError(
                ExitCode.UNAVAILABLE,
                "the kernel does not end",
                where=f"pid {pid}",
                help=f"kill {pid}",
                fault="kernel",
            )
    finally:
        if ended is not None:
            os.close(ended)
    return asked


def query(
    places: Places, question: Callable[[Session], Awaitable[T]], limit_s: float = ANSWER_S
) -> T:
    """Asks the running kernel's Pit, or starts the Pit for the question alone. `limit_s`: for each
    answer."""
    if lock_holder(places) is not None:
        return run_async(_with_console(places, question, limit_s))
    return run_async(_with_own_kernel(places, question, limit_s))


async def _with_console(
    places: Places, question: Callable[[Session], Awaitable[T]], limit_s: float
) -> T:
    with console_client(places) as client:

        async def ask(capability: str, method: str, args: Mapping[str, object]) -> Any:
            """As `Member.call`: every method of the contracts is safe to repeat."""
            for _ in range(MOST_ENDS):
                try:
                    return client.call(capability, method, args, ttl_ms=int(limit_s * 1000))
                except BusError as error:
                    if error.code not in AWAY:
                        raise
                    was_away = await _return_of(client, capability)
                    if error.code == "unavailable" and not was_away:
                        raise  # it says so itself
            raise unavailable(KINDS[capability], f"it ended {MOST_ENDS} times over `{method}`")

        playing = frozenset(run["run"] for run in _status(client)["runs"])
        return await _answered(question, ask, playing)


def _status(client: Client) -> Any:
    return client.call(CAPABILITY, "status", {}, ttl_ms=int(ANSWER_S * 1000))


async def _return_of(client: Client, capability: str) -> bool:
    """Waits for a member of the Pit that is started again; whether it was away. Raises
    `unavailable` if it does not come."""
    kind = KINDS[capability]
    until = time.monotonic() + ANSWER_S
    was_away = False
    while away := [row for row in _status(client)["degraded"] if row["member"] == kind.title]:
        was_away = True
        if (why := away[0]["reason"]) is not None or time.monotonic() > until:
            raise SymphonyError(
                ExitCode.UNAVAILABLE,
                why or f"{kind.named} does not come back",
                where=None if why and why.endswith(f"({capability})") else capability,
                help="see `symphony-kernel status`, and its log in the home's folder logs",
            )
        await asyncio.sleep(LOOK_S)
    return was_away


async def _answered(
    question: Callable[[Session], Awaitable[T]], ask: Ask, playing: frozenset[str]
) -> T:
    """The answer to a question, for which only replies are read that keep to their contracts."""
    last = "", ""

    async def asked(capability: str, method: str, args: Mapping[str, object]) -> Any:
        nonlocal last
        last = capability, method
        return checked(capability, method, await ask(capability, method, args))

    try:
        return await question(Session(asked, playing))
    except msgspec.ValidationError as error:  # an answer was to be made of it
        raise broken(*last, str(error)) from error


async def _with_own_kernel(
    places: Places, question: Callable[[Session], Awaitable[T]], limit_s: float
) -> T:
    kernel = Kernel(Settings(places))
    await kernel.start()
    kernel.curator.on_notice = render.tell
    try:
        await kernel.settled(SETTLE_S)  # members ask each other
        kernel.watch.on_notice = render.tell

        async def ask(capability: str, method: str, args: Mapping[str, object]) -> Any:
            try:
                async with asyncio.timeout(limit_s):
                    return await kernel.members[capability].call(method, args)
            except TimeoutError:
                message = f"`{method}` was not answered within {limit_s:g} s"
                raise BusError("deadline", message, where=capability) from None

        return await _answered(question, ask, frozenset())
    finally:
        with signals.answered_by(signals.ignore):
            await kernel.close()
