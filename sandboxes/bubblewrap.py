"""From a spawn request to bubblewrap's options: pure functions, no input or output.

The guard adds the options that name its own descriptors and hands all of them over in a memory
file (`--args`), so that neither paths nor granted environment show in the host's process list.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .policy import CODE, INBOX, MIB, OUTBOX, SOCKET, SandboxPolicy, SpawnSpec
from .runtime import FLAGS, Runtime

SHARED_MEMORY_BYTES = 16 * MIB
INSIDE_ID = "1000"
PRLIMIT = "/usr/bin/prlimit"

# Targets that a granted bind may neither cover nor lie in: the sandbox's own ground.
RESERVED = ("/usr", "/proc", "/dev", "/sys", "/lib", "/lib64", "/bin", "/sbin", CODE, INBOX, OUTBOX)
TMP = "/tmp"  # noqa: S108 - the private one inside
COVERING = ("/", "/run", TMP, SOCKET)

_BASE = shlex.split("""
--unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup-try
--disable-userns --die-with-parent --new-session --hostname ext --clearenv
--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin
--symlink usr/sbin /sbin --perms 0755 --dir /etc
--ro-bind-try /etc/ld.so.cache /etc/ld.so.cache --proc /proc --dev /dev
--ro-bind /dev/null /proc/1/mem --ro-bind /dev/null /proc/1/task/1/mem
""")


@dataclass(frozen=True)
class Mount:
    """A path of the host to show inside. `own`: made for this instance alone."""

    source: Path
    target: str
    writable: bool = False
    own: bool = False


def _checked(target: str) -> str:
    path = PurePosixPath(target)
    if not path.is_absolute() or ".." in path.parts or "\0" in target:
        raise ValueError(f"bind target {target!r} must be an absolute path without '..'")
    if target in COVERING or any(path.is_relative_to(place) for place in RESERVED):
        raise ValueError(f"bind target {target!r} would cover a part of the sandbox itself")
    return str(path)


def mounts(spec: SpawnSpec, runtime: Runtime) -> list[Mount]:
    """What this instance is shown, outer folders before inner ones.

    Raises ValueError for a granted target that would cover the sandbox's own parts.
    """
    chosen = [Mount(folder, str(folder)) for folder in runtime.folders]
    if spec.code:
        chosen.append(Mount(spec.code, CODE))
    if spec.socket:
        chosen.append(Mount(spec.socket, SOCKET, own=True))
    if spec.inbox:
        chosen.append(Mount(spec.inbox, INBOX))
    if spec.outbox:
        chosen.append(Mount(spec.outbox, OUTBOX, writable=True, own=True))
    chosen += [Mount(b.source, _checked(b.target), b.writable) for b in spec.policy.binds]
    return sorted(chosen, key=lambda mount: len(PurePosixPath(mount.target).parts))


def environment(policy: SandboxPolicy, *, home: str) -> dict[str, str]:
    """All variables an instance gets; the ticket itself comes through its standard input."""
    return {
        **policy.environment,
        "PATH": "/usr/bin:/bin",
        "HOME": home,
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SYMPHONY_TICKET": "fd:0",
    }


def limits(policy: SandboxPolicy) -> list[str]:
    """The prlimit command that sets the resource limits from inside.

    The soft limit of processor time lies below the hard one, so that the signal tells (SIGXCPU).
    RLIMIT_DATA, not RLIMIT_AS, bounds memory: reserved address space is no use of memory.
    """
    cpu = [f"--cpu={policy.cpu_s}:{policy.cpu_s + 1}"] if policy.cpu_s is not None else []
    return [
        PRLIMIT,
        f"--nproc={policy.processes}",
        f"--nofile={policy.open_files}",
        f"--fsize={policy.file_bytes}",
        f"--data={policy.memory_bytes}",
        "--core=0",
        "--memlock=65536",
        "--msgqueue=0",
        *cpu,
        "--",
    ]


def command(argv: Sequence[str], runtime: Runtime) -> list[str]:
    """The instance's own command, with "python" made the runtime's interpreter."""
    if not argv or any("\0" in word for word in argv):
        raise ValueError("a command needs at least one word, and none with a NUL byte")
    if argv[0] == "python":
        return [runtime.python, *FLAGS, *argv[1:]]
    return list(argv)


def _parents(targets: Sequence[str]) -> list[str]:
    """Folders on the way to the targets; those bubblewrap makes by itself are 0700."""
    ways = {str(parent) for target in targets for parent in PurePosixPath(target).parents}
    return sorted(ways - {"/", TMP}, key=len)


def options(policy: SandboxPolicy, shown: Sequence[Mount], sources: Sequence[str]) -> list[str]:
    """All options but those that name descriptors.

    `sources[i]` is the path under which the guard offers `shown[i]`.
    """
    result = [*_BASE, "--uid", INSIDE_ID, "--gid", INSIDE_ID]
    for name, value in environment(policy, home=TMP).items():
        result += ["--setenv", name, value]
    result += ["--perms", "1777", "--size", str(policy.tmp_bytes), "--tmpfs", TMP]
    result += ["--perms", "1777", "--size", str(SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm"]  # noqa: S108
    for parent in _parents([mount.target for mount in shown]):
        result += ["--perms", "0755", "--dir", parent]
    for mount, source in zip(shown, sources, strict=True):
        result += ["--bind" if mount.writable else "--ro-bind", source, mount.target]
    result += ["--remount-ro", "/", "--remount-ro", "/dev", "--chdir", TMP]
    if any("\0" in word for word in result):  # it would end the option and begin another
        raise ValueError("a path or granted variable holds a NUL byte")
    return result
