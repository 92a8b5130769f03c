"""From a manifest and what was granted to what the launcher and the hub are told. Pure.

No grant, no access: nothing here adds a right that the manifest does not ask for.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from symphony.bus.grants import Grants, Limit
from symphony.sandboxes.policy import CODE, Bind, Level, SandboxPolicy

from .kit import Installed
from .manifest import INTERPRETER

OUT = "/out"  # where a player finds the folder the user gave with --out


@dataclass(frozen=True)
class LaunchOptions:
    """What one launch adds to the manifest."""

    level: Level = Level.STRICT
    out: Path | None = None
    arguments: tuple[str, ...] = ()
    config: Mapping[str, object] = field(default_factory=dict)


def bus_grants(installed: Installed) -> Grants:
    """What the instance may do on the bus."""
    manifest = installed.manifest
    granted = installed.granted
    return Grants(
        provides=frozenset(provided.capability for provided in manifest.provides),
        calls=frozenset(granted.calls),
        publishes=frozenset(granted.publishes),
        subscribes=frozenset(granted.subscribes),
        safe=frozenset(p.capability for p in manifest.provides if p.idempotent),
        limits={
            capability: Limit(limit.credit or 0, limit.rate or 0.0, limit.burst or 1)
            for capability, limit in granted.limits.items()
        },
        owner=manifest.name,
    )


def sandbox_policy(installed: Installed, options: LaunchOptions) -> SandboxPolicy:
    """What the instance may touch."""
    needs = installed.manifest.needs
    limits = {
        "memory_bytes": needs.memory_bytes,
        "processes": needs.processes,
        "open_files": needs.open_files,
        "file_bytes": needs.file_bytes,
        "cpu_s": needs.cpu_seconds,
    }
    asked = {name: limit for name, limit in limits.items() if limit is not None}
    binds: tuple[Bind, ...] = ()
    if options.out is not None and installed.granted.out:
        binds = (Bind(options.out, OUT, writable=True),)
    environment = {
        name: os.environ[name] for name in installed.granted.environment if name in os.environ
    }
    return SandboxPolicy(level=options.level, binds=binds, environment=environment, **asked)


def argv(installed: Installed, options: LaunchOptions) -> tuple[str, ...]:
    """The command, as seen inside the sandbox."""
    entry = installed.manifest.extension.entry
    root = Path(CODE) if options.level is not Level.NONE else installed.folder
    if entry.python is not None:
        return (INTERPRETER, str(root / entry.python), *options.arguments)
    if entry.program is not None:
        return (str(program(entry.program)), *options.arguments)
    first, *rest = entry.command or ()
    own = first if first == INTERPRETER else str(root / first)
    return (own, *rest, *options.arguments)


def program(name: str) -> Path:
    """A program installed beside the kernel, or in the folder that ``SYMPHONY_PROGRAMS`` names."""
    folder = os.environ.get("SYMPHONY_PROGRAMS") or sysconfig.get_path("scripts")
    return Path(folder) / name
