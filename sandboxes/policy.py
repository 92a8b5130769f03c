"""What an instance may touch, as frozen data, and where it sees each thing.

Nothing here does input or output: the launcher, the guard and the kernel all read these values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, NamedTuple

MIB = 1 << 20

CODE = "/ext"
INBOX = "/inbox"
OUTBOX = "/outbox"
SOCKET = "/run/bus.sock"


class Level(StrEnum):
    """How strongly an instance is held; strongest first."""

    STRICT = "strict"
    STANDARD = "standard"
    MINIMAL = "minimal"
    NONE = "none"


@dataclass(frozen=True)
class Bind:
    """A granted path: `source` of the host, seen inside at the absolute path `target`."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class SandboxPolicy:
    """Everything an instance may touch.

    `memory_bytes` limits the private data of each process (RLIMIT_DATA); `processes` counts
    processes and threads of the whole instance; `file_bytes` limits each file, the log too;
    `cpu_s` limits the processor seconds of each process; `tmp_bytes` is the size of /tmp.
    """

    level: Level = Level.STRICT
    memory_bytes: int = 512 * MIB
    processes: int = 64
    open_files: int = 256
    file_bytes: int = 256 * MIB
    cpu_s: int | None = None
    tmp_bytes: int = 64 * MIB
    binds: tuple[Bind, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SpawnSpec:
    """One process to start.

    `argv` names paths as seen inside; "python" as its first word is the runtime's interpreter.
    `stdin` is given through a pipe and then ends; `log` gets stdout and stderr appended. `uid` is
    what `Launcher.identity` said; None: the launcher chooses.
    """

    instance: str
    argv: tuple[str, ...]
    policy: SandboxPolicy
    code: Path | None = None
    socket: Path | None = None
    inbox: Path | None = None
    outbox: Path | None = None
    stdin: bytes = b""
    uid: int | None = None
    log: Path


class Places(NamedTuple):
    """Where an instance sees its things: fixed inside a sandbox, the host's paths without one."""

    code: str
    inbox: str
    outbox: str
    socket: str


def places(spec: SpawnSpec) -> Places:
    """The paths to write into this instance's ticket and arguments."""
    if spec.policy.level is not Level.NONE:
        return Places(CODE, INBOX, OUTBOX, SOCKET)
    return Places(*(str(p or "") for p in (spec.code, spec.inbox, spec.outbox, spec.socket)))


ExitKind = Literal[
    "finished",
    "error",
    "signal",
    "killed",
    "out-of-memory",
    "cpu",
    "seccomp",
    "spawn-failed",
]


@dataclass(frozen=True)
class ExitReason:
    """Why a process ended. `code` or `signal` is given where there was one."""

    kind: ExitKind
    code: int | None = None
    signal: int | None = None
    text: str = ""


class SandboxRefused(Exception):  # noqa: N818 - the agreed name; it is a refusal, not a fault
    """A level cannot be had here: `mechanism` is missing, `remedy` says how to get it."""

    def __init__(self, mechanism: str, remedy: str) -> None:
        super().__init__(f"{mechanism}: {remedy}")
        self.mechanism = mechanism
        self.remedy = remedy
