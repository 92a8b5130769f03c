"""A command's way to a kernel: the one that runs on the home, or one of its own for a question."""

from __future__ import annotations

import os
import select
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from symphony.bus.client import Client
from symphony.bus.errors import BusError
from symphony.bus.ticket import Ticket
from symphony.bus.wire import TICKET_VARIABLE

from ..console import CAPABILITY
from ..errors import ExitCode, Problem, Problems, SymphonyError
from ..kernel import Kernel, Settings
from ..places import Places, lock_holder
from ..queries import Ask
from . import signals
from .common import find_places, run_async
from .handshake import is_key_refused

T = TypeVar("T")
ANSWER_S = 30.0


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


def query(places: Places, question: Callable[[Session], Awaitable[T]]) -> T:
    """Asks the running kernel's Pit, or starts the Pit for the question alone."""
    if lock_holder(places) is not None:
        return run_async(_with_console(places, question))
    return run_async(_with_own_kernel(places, question))


async def _with_console(places: Places, question: Callable[[Session], Awaitable[T]]) -> T:
    with console_client(places) as client:

        async def ask(capability: str, method: str, args: Mapping[str, object]) -> Any:
            return client.call(capability, method, args, ttl_ms=int(ANSWER_S * 1000))

        status = client.call(CAPABILITY, "status", {}, ttl_ms=int(ANSWER_S * 1000))
        playing = frozenset(run["run"] for run in status["runs"])
        return await question(Session(ask, playing))


async def _with_own_kernel(places: Places, question: Callable[[Session], Awaitable[T]]) -> T:
    kernel = Kernel(Settings(places))
    await kernel.start()
    try:
        members = {member.kind.capability: member for member in kernel.members.values()}

        async def ask(capability: str, method: str, args: Mapping[str, object]) -> Any:
            return await members[capability].call(method, args)

        return await question(Session(ask, frozenset()))
    finally:
        with signals.answered_by(signals.ignore):
            await kernel.close()
