"""The manifest of an extension, `extension.toml`: who it is, what it provides, needs and may touch.

`load_manifest` answers with a valid manifest or raises every fault with its line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from msgspec import Meta, Struct

from symphony.bus.wire import MAX_OPEN_CALLS

from .document import KeyPath, load_document
from .events import SandboxLevel
from .intake import require_text
from .structure import DROP, Finding, Report, decode
from .syntax import (
    CAPABILITY,
    EXTENSION_NAME,
    Capability,
    EnvironmentName,
    ExtensionName,
    FieldName,
    Size,
    Topic,
    Version,
    hint,
    size_bytes,
    whole,
)
from .valuetypes import ValueType, declaration_findings, is_safe_path

FILE_NAME: Final = "extension.toml"
INTERPRETER: Final = "python"  # as a command's first word: the interpreter of the runtime
_STAND_INS: Final = {
    "extension.name": "unnamed",
    "extension.version": "0.0.0",
    "extension.entry": {"command": [INTERPRETER]},
    "provides.*.capability": "unknown/1",
    "provides.*puts.*.type": DROP,
    "probe.*": DROP,
}


class Entry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How it is started: exactly one of the three."""

    python: Annotated[str | None, Meta(description="a Python file in the extension's folder")] = (
        None
    )
    command: Annotated[
        Annotated[tuple[str, ...], Meta(min_length=1)] | None,
        Meta(description="a program in the folder, or python, and its arguments"),
    ] = None
    program: Annotated[
        Annotated[str, Meta(pattern=whole("[A-Za-z0-9][A-Za-z0-9._-]*"))] | None,
        Meta(description="the name of a program that is installed beside the kernel"),
    ] = None

    @property
    def file(self) -> str | None:
        """The file of the folder that is started, if any."""
        if self.python is not None:
            return self.python
        return None if self.command is None or self.command[0] == INTERPRETER else self.command[0]


class Identity(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The table `[extension]`."""

    name: Annotated[ExtensionName, Meta(description=f"the extension's name: {EXTENSION_NAME}")]
    version: Version
    entry: Annotated[Entry, Meta(description="how it is started")]
    description: Annotated[str, Meta(description="one sentence on what it does")] = ""
    license: Annotated[str, Meta(description="an SPDX name")] = ""
    sandbox: Annotated[
        SandboxLevel, Meta(description="the weakest level it accepts; strict unless granted")
    ] = "strict"
    share: Annotated[
        int,
        Meta(ge=1, le=64, description="calls that one process takes at once, on one grant"),
    ] = 1


_Cost = Annotated[float, Meta(ge=0, le=1e9, description="in the currency of the budget")]


class Cost(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What using it costs."""

    per_call: _Cost = 0.0
    per_token: Annotated[
        float, Meta(ge=0, le=9_000, description="for each that the player reports")
    ] = 0.0
    per_second: _Cost = 0.0


class Provides(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One `[[provides]]`: a capability with the types of its inputs and outputs."""

    capability: Annotated[Capability, Meta(description=f"what it can be called for: {CAPABILITY}")]
    description: Annotated[str, Meta(description="what a call does")] = ""
    idempotent: Annotated[bool, Meta(description="a repeated call has no further effect")] = False
    cost: Annotated[Cost, Meta(description="what a call costs; of two players the cheaper one")] = (
        Cost()
    )
    inputs: Annotated[dict[FieldName, ValueType], Meta(description="arguments by name")] = {}
    outputs: Annotated[dict[FieldName, ValueType], Meta(description="results by name")] = {}


class Needs(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The table `[needs]`: limits of the sandbox. None stands for the sandbox's default."""

    memory: Annotated[Size | None, Meta(description="memory that it may use")] = None
    processes: Annotated[
        Annotated[int, Meta(ge=1, le=4096)] | None,
        Meta(description="processes and threads at the same time"),
    ] = None
    open_files: Annotated[
        Annotated[int, Meta(ge=16, le=65536)] | None,
        Meta(description="files that one process may have open"),
    ] = None
    file_size: Annotated[Size | None, Meta(description="largest file it may write")] = None
    cpu_seconds: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="seconds of CPU time that one process may use in its life"),
    ] = None

    @property
    def memory_bytes(self) -> int | None:
        """`memory` in bytes."""
        return None if self.memory is None else size_bytes(self.memory)

    @property
    def file_bytes(self) -> int | None:
        """`file_size` in bytes."""
        return None if self.file_size is None else size_bytes(self.file_size)


class CallLimit(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How much it asks of one capability at most. None: no bound of its own."""

    credit: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_OPEN_CALLS)] | None,
        Meta(description="calls open at the same time"),
    ] = None
    rate: Annotated[
        Annotated[float, Meta(ge=0.000_001, le=1_000_000)] | None,
        Meta(description="calls per second"),
    ] = None
    burst: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        Meta(description="calls at once that the rate allows; 1 if not given"),
    ] = None

    def __and__(self, other: CallLimit) -> CallLimit:
        """The stricter of both, key by key."""
        return CallLimit(
            credit=_lower(self.credit, other.credit),
            rate=_lower(self.rate, other.rate),
            burst=_lower(self.burst, other.burst),
        )


_Bound = TypeVar("_Bound", int, float)


def _lower(one: _Bound | None, other: _Bound | None) -> _Bound | None:
    return min((bound for bound in (one, other) if bound is not None), default=None)


class Permissions(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The table `[permissions]`: what it may do beyond answering calls. Nothing by default."""

    calls: Annotated[tuple[Capability, ...], Meta(description="capabilities it may call")] = ()
    limits: Annotated[
        dict[Capability, CallLimit], Meta(description="of its calls, by capability")
    ] = {}
    publishes: Annotated[tuple[Topic, ...], Meta(description="topics it may publish on")] = ()
    subscribes: Annotated[tuple[Topic, ...], Meta(description="topics it may read")] = ()
    out: Annotated[bool, Meta(description="it may write the user's output folder")] = False
    environment: Annotated[
        tuple[EnvironmentName, ...], Meta(description="variables it gets from the kernel's own")
    ] = ()

    def __and__(self, other: Permissions) -> Permissions:
        """What both allow."""
        calls = tuple(name for name in self.calls if name in other.calls)
        limits = {
            name: self.limits.get(name, CallLimit()) & other.limits.get(name, CallLimit())
            for name in calls
            if name in self.limits or name in other.limits
        }
        return Permissions(
            calls=calls,
            limits=limits,
            publishes=tuple(name for name in self.publishes if name in other.publishes),
            subscribes=tuple(name for name in self.subscribes if name in other.subscribes),
            out=self.out and other.out,
            environment=tuple(name for name in self.environment if name in other.environment),
        )

    def words(self) -> list[str]:
        """One line for each, e.g. `calls pit.artifacts/1`."""
        lists = {"calls": self.calls, "publishes": self.publishes, "subscribes": self.subscribes}
        found = [f"{verb} {name}" for verb, names in lists.items() for name in names]
        found += ["out"] if self.out else []
        return found + [f"environment {name}" for name in self.environment]


class Probe(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The table `[probe]`: a cheap call that shows that it does useful work."""

    capability: Capability
    inputs: Annotated[dict[str, Any], Meta(description="literal arguments")] = {}
    every_s: Annotated[
        float, Meta(ge=0.1, le=86_400, description="how long an instance may be idle between two")
    ] = 30.0
    within_s: Annotated[
        float, Meta(ge=0.001, le=600, description="a call that takes longer has failed")
    ] = 10.0


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole manifest."""

    extension: Annotated[Identity, Meta(description="who it is and how it is started")]
    provides: Annotated[
        tuple[Provides, ...], Meta(min_length=1, description="what it can be called for")
    ]
    needs: Annotated[Needs, Meta(description="limits that its sandbox gets")] = Needs()
    permissions: Annotated[
        Permissions, Meta(description="what it asks for beyond answering calls; the user grants it")
    ] = Permissions()
    probe: Annotated[
        Probe | None, Meta(description="a call that shows that it does useful work")
    ] = None

    @property
    def name(self) -> str:
        """The extension's name."""
        return self.extension.name

    @property
    def version(self) -> str:
        """The extension's version."""
        return self.extension.version

    def provided(self, capability: str) -> Provides | None:
        """Its declaration of `capability`, or None."""
        return next((p for p in self.provides if p.capability == capability), None)


def manifest_path(folder_or_file: Path) -> Path:
    """The manifest's file: `extension.toml` of a folder, or the file that is named."""
    return folder_or_file / FILE_NAME if folder_or_file.is_dir() else folder_or_file


def load_manifest(folder_or_file: Path) -> Manifest:
    """The valid manifest at `folder_or_file`. Raises `Problems` with every fault and its line."""
    require_text(folder_or_file, "the extension's folder")
    path = manifest_path(folder_or_file)
    document = load_document(path)
    report = Report(document)
    manifest = decode(document, Manifest, report, _STAND_INS)
    if manifest is not None:
        for finding in _findings(manifest, path.parent):
            report.add(*finding)
        if manifest.probe is not None and not report.is_broken(("provides",)):
            for finding in _probe_findings(manifest.probe, manifest):
                report.add(*finding)
    report.raise_if_any()
    assert manifest is not None  # noqa: S101 - decode gives None only with findings
    return manifest


def _findings(manifest: Manifest, folder: Path) -> Iterator[Finding]:
    yield from _entry_findings(manifest.extension.entry, folder)
    yield from _limit_findings(manifest.permissions)
    first: dict[str, int] = {}
    for index, provides in enumerate(manifest.provides):
        key: KeyPath = ("provides", index)
        if first.setdefault(provides.capability, index) != index:
            message = f'the capability "{provides.capability}" is provided twice'
            yield Finding((*key, "capability"), message, "remove one of the two")
        for side, fields in (("inputs", provides.inputs), ("outputs", provides.outputs)):
            for name, declared in fields.items():
                yield from declaration_findings((*key, side, name), declared)
        for name, declared in provides.outputs.items():
            if declared.required is False and not declared.optional:
                message = f'the output "{name}" cannot have a default'
                yield Finding((*key, "outputs", name, "default"), message, "use optional = true")


def _entry_findings(entry: Entry, folder: Path) -> Iterator[Finding]:
    key: KeyPath = ("extension", "entry")
    if [entry.python, entry.command, entry.program].count(None) != 2:
        remedy = 'write entry = { python = "main.py" } or entry = { command = ["bin/tool"] }'
        yield Finding(key, "the entry must be one of python, command and program", remedy)
        return
    file = entry.file
    if file is None:
        return
    key = (*key, "python" if entry.python is not None else "command")
    if not is_safe_path(file) or not _inside(folder, folder / file):
        message = f'the entry "{file}" is not inside the extension\'s folder'
        yield Finding(key, message, "give a path relative to the manifest, without ..")
    elif not (folder / file).is_file():
        yield Finding(key, f'the entry "{file}" is not a file', "create it, or correct the name")
    elif entry.command is not None and not os.access(folder / file, os.X_OK):
        yield Finding(key, f'the entry "{file}" is not executable', f"chmod +x {file}")


def _limit_findings(permissions: Permissions) -> Iterator[Finding]:
    for capability, limit in permissions.limits.items():
        key: KeyPath = ("permissions", "limits", capability)
        if capability not in permissions.calls:
            message = f'"{capability}" has limits and is not among the calls'
            yield Finding(key, message, "name it in calls, or remove its limits")
        if limit.burst is not None and limit.rate is None:
            yield Finding((*key, "burst"), "a burst needs a rate", "add rate, or remove burst")


def _inside(folder: Path, file: Path) -> bool:
    try:
        return file.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False


def _probe_findings(probe: Probe, manifest: Manifest) -> Iterator[Finding]:
    provides = manifest.provided(probe.capability)
    if provides is None:
        known = [p.capability for p in manifest.provides]
        message = f'the probe names "{probe.capability}", which it does not provide'
        yield Finding(("probe", "capability"), message, hint(probe.capability, known, "ones"))
        return
    yield from literal_findings(("probe", "inputs"), probe.inputs, provides.inputs)


def literal_findings(
    key: KeyPath, values: Mapping[str, object], declared: Mapping[str, ValueType]
) -> Iterator[Finding]:
    """What is wrong with literal arguments, given the declared inputs."""
    for name, value in values.items():
        if name not in declared:
            remedy = hint(name, declared, "inputs")
            yield Finding((*key, name), f'there is no input "{name}"', remedy)
            continue
        for problem in declared[name].check(value, name, convert=True):
            yield Finding((*key, name), problem.message)
    for name, kind in declared.items():
        if kind.required and name not in values:
            yield Finding(key, f'the input "{name}" is missing', "add it")
