"""What a running kernel answers to consoles: capability `kernel.console/1`.

Runs and artifacts are asked of the Pit directly; only what the kernel itself knows is here.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from symphony.bus.errors import BusError
from symphony.bus.grants import Grants
from symphony.bus.hub import Request
from symphony.bus.trace import child
from symphony.bus.wire import DEFAULT_METHOD
from symphony.sandboxes.policy import Level, SandboxRefused

from .apart import require_outside, require_showable
from .busreport import report
from .calling import CallContext, Undeclared
from .chambering import Event, State
from .deadletters import MOST as MOST_LETTERS
from .errors import Problem, Problems, SymphonyError, from_refusal
from .grants import Grant
from .instances import Instance, SpawnError
from .kernel import Kernel
from .keys import KeyRing
from .kit import Installed
from .members import PIT, REPLACEABLE
from .redrive import Redriver
from .remote import METHODS as REMOTE_METHODS
from .remote import RemoteDoor, is_remote
from .values import inline
from .wholefiles import replace_private

CAPABILITY = "kernel.console/1"
CALLS = frozenset({CAPABILITY, *(kind.capability for kind in PIT)})
CALL_TIMEOUT_S = 600.0
MOST_PLACE = 200  # characters of a path in an error
LONGEST_CALL_S = 7 * 24 * 3600.0


class Console:
    """Serves consoles of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._attached: dict[str, Instance] = {}
        self._redriver = Redriver(kernel.hub, kernel.letters)

    async def open(self) -> None:
        """Begins to serve and writes the ticket that only this user can read."""
        kernel, places = self._kernel, self._kernel.places
        endpoint = f"ipc://{places.runtime / 'console.sock'}"
        ticket = kernel.hub.add_console(endpoint, Grants(calls=CALLS), uid=os.getuid())
        kernel.hub.serve(CAPABILITY, self._answer)
        if kernel.settings.listen is not None:
            keys, calls = KeyRing(places.home), frozenset({CAPABILITY})
            door = RemoteDoor(kernel.hub, keys, kernel.settings.listen, calls)
            await door.open()
            kernel.remote_door = door
        replace_private(places.console, ticket.to_json())

    async def _answer(self, request: Request) -> object:
        method = _METHODS.get(request.method)
        if method is None:
            raise BusError(
                "bad-request",
                f"the kernel has no method {request.method!r}",
                where=CAPABILITY,
                help=f"known are {', '.join(sorted(_METHODS))}",
            )
        if is_remote(request.caller) and request.method not in REMOTE_METHODS:
            raise BusError(
                "refused",
                f"the kernel answers {request.method!r} only to consoles of its own machine",
                where=CAPABILITY,
                help=f"from elsewhere: {', '.join(sorted(REMOTE_METHODS))}",
            )
        try:
            return await method(self, request)
        except SymphonyError as error:
            raise as_bus_error(error) from error
        except OSError as error:
            place = str(error.filename or "")
            place = place if len(place) <= MOST_PLACE else place[:MOST_PLACE] + "…"
            raise BusError("io", error.strerror or str(error), where=place or None) from error
        except SandboxRefused as error:
            raise as_bus_error(from_refusal(error)) from error
        except SpawnError as error:
            raise BusError(
                "crashed",
                error.text,
                where=str(error.log),
                help="correct it; that log may say more",
            ) from error

    async def _status(self, request: Request) -> object:
        del request
        return msgspec.to_builtins(self._kernel.status())

    async def _bus(self, request: Request) -> object:
        del request
        kernel = self._kernel
        return msgspec.to_builtins(report(kernel.hub, kernel.datapath, kernel.letter_writer.lost))

    async def _letters(self, request: Request) -> object:
        """`{limit}` → the newest dead letters."""
        limit = request.args.get("limit")
        if type(limit) is not int or not 1 <= limit <= MOST_LETTERS:
            message = f"limit must be 1 to {MOST_LETTERS}"
            raise BusError("bad-request", message, where="limit")
        letters = self._kernel.letters
        return msgspec.to_builtins(await asyncio.to_thread(letters.all, limit))

    async def _letter(self, request: Request) -> object:
        """`{letter}` → it, with what it carried."""
        letter = _text(request.args, "letter")
        return msgspec.to_builtins(await asyncio.to_thread(self._kernel.letters.get, letter))

    async def _redrive(self, request: Request) -> object:
        """`{letter}` → sent again, has arrived, and is forgotten."""
        letter = _text(request.args, "letter")
        await self._redriver.redrive(letter, int(CALL_TIMEOUT_S * 1000))
        return {"letter": letter, "arrived": True}

    async def _rekey(self, request: Request) -> object:
        """`{}` → the keys have changed: consoles elsewhere are cut off and checked anew."""
        del request
        door = self._kernel.remote_door
        if door is not None:
            await door.reopen()
        return {"listening": door is not None}

    async def _stop(self, request: Request) -> object:
        del request
        asyncio.get_running_loop().call_soon(self._kernel.stop.set)
        return {"stopping": True, "pid": os.getpid()}

    async def _attach(self, request: Request) -> object:
        """`{folder, level?}` → the new instance; the extension can then be called."""
        args = request.args
        folder = _text(args, "folder")
        level = _level(args)
        kit = self._kernel.kit
        require_showable(Path(folder), self._kernel.places)
        installed = kit.attach(Path(folder), _grant(args))
        try:
            options = self._kernel.options_for(installed, None, level)
            instance = await self._kernel.instances.summon(installed, options)
        except BaseException:
            kit.detach(installed)
            raise
        self._attached[instance.name] = instance
        return {
            "name": installed.name,
            "version": installed.version,
            "instance": instance.name,
            "pid": instance.pid,
            "sandbox": str(instance.level),
            "log": str(instance.log),
            "log_start": instance.log_start,
            "provides": [provided.capability for provided in installed.manifest.provides],
        }

    async def _attached_folders(self, request: Request) -> object:
        """`{}` → the folders of extensions that only this kernel has."""
        del request
        kit = self._kernel.kit
        return {"folders": [str(e.folder) for e in kit.extensions if e.origin == "attached"]}

    async def _wait(self, request: Request) -> object:
        """`{instance}` → the reason of its end, when it has ended."""
        instance = self._attached.get(_text(request.args, "instance"))
        if instance is None:
            return {"exit": None}
        await instance.ended.wait()
        return {"exit": instance.exit.text if instance.exit else None}

    async def _detach(self, request: Request) -> object:
        name = _text(request.args, "instance")
        instance = self._attached.pop(name, None)
        if instance is None:
            raise BusError("not-found", "no such attached instance", where=name)
        self._kernel.kit.detach(instance.installed)
        await self._kernel.instances.unload(instance)
        return {"detached": instance.name}

    async def _call(self, request: Request) -> object:
        """`{capability, method?, args, player?, level?, out?, timeout_s?}` → outputs by name.

        The player is the attached instance, or one spawned for this call alone: always so where it
        writes a folder of the user's.
        """
        args = request.args
        capability = _text(args, "capability")
        if capability in {kind.capability for kind in REPLACEABLE}:
            raise BusError(
                "refused",
                f"{capability} is called by the kernel itself",
                where=capability,
                help="use `symphony-kernel runs` and `symphony-kernel artifacts`",
            )
        player = _text(args, "player") if args.get("player") else None
        installed = self._player(capability, player)
        provides = installed.manifest.provided(capability)
        given = args.get("args")
        if provides is None or not isinstance(given, dict):
            raise BusError("bad-request", "the arguments must be a map by name", where="args")
        method = _text(args, "method") if args.get("method") else None
        out = Path(_text(args, "out")) if args.get("out") else None
        self._require_use(installed, out)
        timeout_s = _seconds(args.get("timeout_s", CALL_TIMEOUT_S))
        level = _level(args)
        trace = child(request.trace)
        context = CallContext("console", "call", 1, math.ceil(timeout_s * 1000), trace)
        inputs = {name: inline(value) for name, value in given.items()}
        types = provides if method in (None, DEFAULT_METHOD) else Undeclared()
        async with self._lent(installed, level, out) as instance:
            outputs = await self._kernel.caller.call(
                instance, capability, types, inputs, context, lambda _: None, method
            )
        return {name: value.variable() for name, value in outputs.items()}

    @contextlib.asynccontextmanager
    async def _lent(
        self, installed: Installed, level: Level | None, out: Path | None
    ) -> AsyncIterator[Instance]:
        instances = self._kernel.instances
        for instance in self._attached.values():
            fits = instance.installed is installed and out is None
            fits &= level in (None, instance.level)
            if fits and instance.state is State.ACTIVATED:
                break
        else:
            options = self._kernel.options_for(installed, out, level)
            instance = await instances.summon(installed, options)
        instance.on(Event.LEASE)
        try:
            yield instance
        finally:
            if instance.state is State.IN_USE:
                instance.on(Event.RELEASE)
            if instance.name not in self._attached:
                await instances.unload(instance)

    def _require_use(self, installed: Installed, out: Path | None) -> None:
        """Raises if a folder of the user's is needed and not given, or given and not used."""
        name = installed.name
        if installed.granted.out and out is None:
            message = f"{name} works on a folder of yours, and none is given"
            raise Problems([Problem(message, "--out", "add --out DIR")])
        if out is not None and not installed.granted.out:
            message = f"{name} may not write a folder of yours"
            raise Problems([Problem(message, "--out", "leave out --out")])
        require_outside(out, self._kernel.places)

    def _player(self, capability: str, name: str | None) -> Installed:
        if name is not None and self._kernel.kit.get(name) is None:
            raise BusError(
                "not-found",
                "there is no such extension",
                where=name,
                help="see `symphony-ext list`",
            )
        players = self._kernel.kit.players(capability)
        found = next((player for player in players if name in (None, player.name)), None)
        if found is None:
            raise BusError(
                "unavailable",
                f"no extension provides {capability}",
                where=name or capability,
                help="see `symphony-ext list`; attach one with `symphony-ext attach FOLDER`",
            )
        return found


_METHODS = {
    "status": Console._status,
    "bus": Console._bus,
    "letters": Console._letters,
    "letter": Console._letter,
    "redrive": Console._redrive,
    "rekey": Console._rekey,
    "stop": Console._stop,
    "attach": Console._attach,
    "attached": Console._attached_folders,
    "wait": Console._wait,
    "detach": Console._detach,
    "call": Console._call,
}


def as_bus_error(error: SymphonyError) -> BusError:
    """A kernel error for the other side of a socket; many problems become one message."""
    message = error.message
    if isinstance(error, Problems):
        message = "; ".join(problem.message for problem in error.problems)
    return BusError(error.name, message, fault=error.fault, where=error.where, help=error.help)


def _text(args: dict[str, Any], key: str) -> str:
    value = args.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise BusError("bad-request", f"{key} must be given as text", where=key)
    return value


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and 0 < value <= LONGEST_CALL_S:
        return float(value)
    raise BusError(
        "bad-request",
        f"{value!r} is no time limit",
        where="timeout_s",
        help=f"give seconds, more than 0 and at most {LONGEST_CALL_S:g}",
    )


def _level(args: dict[str, Any]) -> Level | None:
    given = args.get("level")
    if given is None:
        return None
    try:
        return Level(given)
    except ValueError:
        raise BusError(
            "bad-request",
            f"there is no sandbox level {given!r}",
            where="level",
            help=f"known are {', '.join(Level)}",
        ) from None


def _grant(args: dict[str, Any]) -> Grant | None:
    if args.get("grant") is None:
        return None
    try:
        return msgspec.convert(args["grant"], Grant)
    except msgspec.ValidationError as error:
        raise BusError("bad-request", f"this is no grant: {error}", where="grant") from None
