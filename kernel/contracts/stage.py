"""Where an extension is tested: a hub and a launcher in a temporary home, and the extension started
as a member of the Pit is, outside any sandbox and with `--store DIR`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from symphony.bus import datapaths, native
from symphony.bus.errors import BusError
from symphony.bus.hub import DeadLetter, Hub
from symphony.bus.localcalls import LocalHandler
from symphony.bus.messages import Hello
from symphony.sandboxes.launch import LocalLauncher
from symphony.sandboxes.policy import Level

from ..instances import Instance, Instances, SpawnError
from ..kit import Installed
from ..launchplan import LaunchOptions
from ..places import Places, runtime_folder
from ..removal import Remover
from .suite import UnfulfilledError, show

CALL_S = 60.0  # the longest call: the whole of a large content, on a machine under load


class Stage:
    """One hub and what is started on it; see `open_stage`."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.hub = Hub(partial(datapaths.choose, _datapath()), listener=self)
        self._launcher = LocalLauncher(scratch=places.runtime)
        self._remover = Remover(places.trash)
        self._instances = Instances(self.hub, self._launcher, places, self._remover)

    async def start(self) -> None:
        """Brings up hub and launcher."""
        await asyncio.gather(self.hub.start(), self._launcher.start())

    async def close(self) -> None:
        """Ends whatever was started; idempotent."""
        await self._instances.close()
        await self._launcher.close()
        await self.hub.close()
        await self._remover.close()

    async def summon(self, installed: Installed, store: Path) -> Instance:
        """A process of an extension on that store. Raises `SpawnError`."""
        options = LaunchOptions(level=Level.NONE, arguments=("--store", str(store)))
        return await self._instances.summon(installed, options)

    async def kill(self, instance: Instance) -> None:
        """Ends a process by SIGKILL."""
        await self._instances.kill(instance)

    # The hub's listener: called on the event loop.

    def registered(self, instance: str, hello: Hello) -> None:
        """It was welcomed."""
        self._instances.registered(instance, hello)

    def rejected(self, instance: str, reason: str) -> None:
        """It was turned away."""
        self._instances.rejected(instance, reason)

    def silent(self, instance: str) -> None:
        """It has not been heard of for too long."""
        self._instances.end(instance, "silent on the bus for too long: taken for hung")

    def left(self, instance: str, reason: str) -> None:
        """It said bye."""
        del reason
        self._instances.left(instance)

    def overdue(self, instance: str) -> None:
        """It does not end a call that was cancelled."""
        self._instances.end(instance, "did not end a cancelled call in time: taken for hung")

    def undelivered(self, letter: DeadLetter) -> None:
        """Whoever called has its error."""

    def bus_ended(self, reason: str) -> None:
        """Every call that is open ends with its error."""


@asynccontextmanager
async def open_stage(home: Path | None = None) -> AsyncIterator[Stage]:
    """A stage in `home`, or in a folder that is removed afterwards."""
    with contextlib.ExitStack() as cleanup:
        if home is None:
            folder = tempfile.TemporaryDirectory(prefix="symphony-test-")
            home = Path(cleanup.enter_context(folder), "home")
        home = home.resolve()
        places = Places(home, runtime_folder(home, os.environ))
        places.create()
        stage = Stage(places)
        try:
            await stage.start()
            yield stage
        finally:
            await stage.close()
            places.clear_runtime()
            with contextlib.suppress(OSError):
                places.runtime.rmdir()


class Subject:
    """See `suite.Subject`."""

    def __init__(self, stage: Stage, installed: Installed, capability: str, place: Path) -> None:
        self._stage = stage
        self._installed = installed
        self._capability = capability
        self.store = place / "store"
        self.folder = place / "files"
        self._instance: Instance | None = None
        self.said: list[str] = []  # by the process that ended last

    @property
    def pid(self) -> int:
        """The process that is tested; 0 if there is none."""
        return self._instance.pid if self._instance is not None else 0

    async def start(self) -> None:
        """Starts its process. Raises `SpawnError`."""
        self.folder.mkdir(parents=True)
        self._instance = await self._stage.summon(self._installed, self.store)

    async def close(self) -> None:
        """Ends its process."""
        if self._instance is not None:
            await self._stage.kill(self._instance)
            self.said = self._instance.last_lines()

    async def ask(self, method: str, /, **args: object) -> Any:
        """The reply to a call."""
        try:
            return await self._call(method, args)
        except BusError as error:
            raise UnfulfilledError(f"{method} to be answered", str(error)) from error

    async def refused(
        self, code: str | tuple[str, ...], method: str, /, **args: object
    ) -> BusError:
        """The error of a call."""
        codes = (code,) if isinstance(code, str) else code
        wanted = f"{method} to be refused as {' or '.join(codes)}"
        try:
            reply = await self._call(method, args)
        except BusError as error:
            if error.code in codes and error.where != "method":
                return error
            raise UnfulfilledError(wanted, str(error)) from error
        raise UnfulfilledError(wanted, f"the reply {show(reply)}")

    async def unheard(self, method: str) -> None:
        """That there is no such method."""
        wanted = f"{method} to be refused as bad-request, where: method"
        try:
            reply = await self._call(method, {})
        except BusError as error:
            if (error.code, error.where) == ("bad-request", "method"):
                return
            raise UnfulfilledError(wanted, str(error)) from error
        raise UnfulfilledError(wanted, f"the reply {show(reply)}")

    async def restart(self) -> None:
        """Kills the process and starts another one."""
        await self.close()
        try:
            self._instance = await self._stage.summon(self._installed, self.store)
        except SpawnError as error:
            self.said, self._instance = error.last_lines, None
            wanted = "a new process to come up on the store of the one that was killed"
            raise UnfulfilledError(wanted, error.text) from error

    async def killed(self, after_s: float, method: str, /, **args: object) -> None:
        """Makes a call and kills the process so long after."""
        call = asyncio.create_task(self._call(method, args))
        await asyncio.wait([call], timeout=after_s)
        await self.restart()
        await asyncio.gather(call, return_exceptions=True)

    def serve(self, capability: str, handler: LocalHandler) -> None:
        """Stands in for what the extension calls."""
        self._stage.hub.serve(capability, handler)

    async def _call(self, method: str, args: dict[str, object]) -> Any:
        assert self._instance is not None  # noqa: S101 - a check has what was started
        return await self._stage.hub.call(
            self._capability,
            method,
            args,
            instance=self._instance.name,
            ttl_ms=int(CALL_S * 1000),
        )


def _datapath() -> Any:
    return "native" if native.available() else "reference"
