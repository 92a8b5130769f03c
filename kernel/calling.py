"""One call of a player with typed inputs and outputs: stage, call, check, collect.

Inputs that are files are staged into the instance's inbox under the call's own folder, outputs are
taken from its outbox. What comes back is checked against the manifest before anything is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from msgspec import UNSET

from symphony.bus.errors import BusError
from symphony.bus.hub import Hub
from symphony.bus.wire import INLINE_MAX

from .artifacts import Artifacts, Outgoing
from .errors import SymphonyError
from .gates import check_outputs, name_outputs
from .instances import Instance
from .outbox import first_closed
from .removal import Remover
from .space import full_disk, is_full
from .values import Value, content
from .valuetypes import ValueType

LONGEST_BY: Final = 128  # bytes that the Artifact Store takes of who asks


class Types(Protocol):
    """The declared types of a call: a manifest's `Provides` or a Melody's `Contract`."""

    @property
    def inputs(self) -> Mapping[str, ValueType]:
        """Arguments by name."""

    @property
    def outputs(self) -> Mapping[str, ValueType]:
        """Results by name."""


@dataclass(frozen=True)
class Undeclared:
    """The types of a method beside a capability's main one: manifests say nothing of those."""

    inputs: Mapping[str, ValueType] = field(default_factory=dict)
    outputs: Mapping[str, ValueType] = field(
        default_factory=lambda: {"result": ValueType(type="json")}
    )


OnProgress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class CallContext:
    """Who asks: becomes the call's ``$`` argument and the lineage of what it makes."""

    run: str
    step: str
    attempt: int
    ttl_ms: int
    trace: str | None = None  # W3C traceparent

    @property
    def folder(self) -> str:
        """This call's own folder below inbox and outbox."""
        return f"{self.run}-{self.step}-{self.attempt}"


class Caller:
    """Calls players for steps and for the console alike."""

    def __init__(self, hub: Hub, artifacts: Artifacts, remover: Remover) -> None:
        self._remover = remover
        self._hub = hub
        self._artifacts = artifacts

    async def call(
        self,
        instance: Instance,
        capability: str,
        types: Types,
        inputs: Mapping[str, Value],
        context: CallContext,
        on_progress: OnProgress,
        method: str | None = None,
    ) -> dict[str, Value]:
        """The outputs by name.

        Raises :class:`BusError`, where a wrong output names its field; `SymphonyError` for what is
        no player's fault: the store failed or the home's disk is full.
        """
        made: dict[str, object] = {
            "run": context.run,
            "step": context.step,
            "attempt": context.attempt,
            "player": instance.installed.name,
            "version": instance.installed.manifest.extension.version,
            "inputs": sorted({value.ref for value in inputs.values() if value.ref}),
        }
        outbox = instance.outbox / context.folder
        arguments = await self._stage(instance, types, inputs, context, made)
        try:
            try:
                result = await self._hub.call(
                    capability,
                    method,
                    arguments,
                    instance=instance.name,
                    ttl_ms=context.ttl_ms,
                    on_progress=on_progress,
                    trace=context.trace,
                )
            except BusError as error:
                _blame_disk(instance, error)
                raise
            return await self._take(instance, types, result, outbox, made)
        finally:
            if inputs:
                self._remover.remove(instance.inbox / context.folder)
            self._remover.remove(outbox)

    async def _stage(
        self,
        instance: Instance,
        types: Types,
        inputs: Mapping[str, Value],
        context: CallContext,
        made: Mapping[str, object],
    ) -> dict[str, object]:
        arguments: dict[str, object] = {}
        files: list[tuple[str, str]] = []
        for name, value in inputs.items():
            wants = types.inputs[name].type if name in types.inputs else "json"
            if value.kind == "inline" and wants != "file":
                arguments[name] = value.value
                continue
            stored = await self._artifacts.file_as(value, made)
            path = f"{name}/{PurePosixPath(stored.name).name or name}"
            files.append((stored.ref, path))
            key = "$folder" if stored.kind == "folder" else "$file"
            arguments[name] = {key: path, "name": stored.name, "media": stored.media}
        if files:
            folder = instance.inbox / context.folder
            folder.mkdir(mode=0o755)
            by = f"{context.run}/{context.step}"[:LONGEST_BY]
            await self._artifacts.stage(folder, files, by=by)
        arguments["$"] = {
            "run": context.run,
            "step": context.step,
            "attempt": context.attempt,
            "folder": context.folder,
        }
        return arguments

    async def _take(
        self,
        instance: Instance,
        types: Types,
        result: object,
        folder: Path,
        made: Mapping[str, object],
    ) -> dict[str, Value]:
        found = name_outputs(types.outputs, result)
        if (problems := check_outputs(types.outputs, found)) or not isinstance(found, dict):
            raise BusError(
                "wrong-output",
                "; ".join(problem.message for problem in problems),
                where=problems[0].where,
                help=f"correct {instance.installed.name} or its manifest",
            )
        outgoing: dict[str, Outgoing] = {}
        plain: dict[str, tuple[object, str]] = {}
        for name, value in found.items():
            if value is None:
                continue  # an optional output that was not made
            declared = types.outputs[name]
            usual = declared.file if declared.file is not UNSET else name
            path = _path(value)
            if path is None and len(content(value)[0]) > INLINE_MAX:
                raise BusError(
                    "wrong-output",
                    f'the output "{name}" is larger than {INLINE_MAX} bytes',
                    where=f"outputs.{name}",
                    help="return it as a file",
                )
            if path is not None:
                media = declared.media if declared.media is not UNSET else ""
                outgoing[name] = Outgoing(usual, path, str(media))
            else:
                plain[name] = (value, usual)
        try:
            taken = await self._artifacts.collect(folder, outgoing.values(), made)
        except SymphonyError as error:
            paths = [folder / item.path for item in outgoing.values()]
            closed = await asyncio.to_thread(first_closed, paths)
            if closed is None:
                raise
            raise BusError(
                "wrong-output",
                f"{closed.relative_to(folder)} may not be read",
                where=closed.name,
                help=f"{instance.installed.name} must not take the right to read away",
            ) from error
        except BusError as error:
            if error.fault != "caller" and error.code != "overloaded":
                raise
            # What lies in the outbox is the player's doing: a link, a missing or too large file.
            raise BusError("wrong-output", error.message, where=error.where) from error
        stored = await self._artifacts.put(plain, made)
        return dict(zip(outgoing, taken, strict=True)) | stored


def _blame_disk(instance: Instance, error: BusError) -> None:
    """Raises the true reason if a player failed because the home's disk is full."""
    folder = instance.folder.parent
    # Its connection may have ended before its process has.
    if instance.starved or (error.code in ("failed", "crashed") and is_full(folder)):
        raise full_disk(folder, f"{instance.name}: {error.message}") from error


def _path(value: object) -> str | None:
    if isinstance(value, dict):
        for key in ("$file", "$folder"):
            if key in value:
                return str(value[key])
    return None
