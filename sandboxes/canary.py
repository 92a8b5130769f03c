"""Proves, before the first instance is started, that a sandbox really holds on this machine.

The proof is a sandbox that tries to break out in a few cheap ways. A refusal names the mechanism
that is missing and says how to get it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from .bubblewrap import PRLIMIT
from .policy import ExitReason, Level, SandboxPolicy, SandboxRefused, SpawnSpec

NAMESPACES = (
    "allow unprivileged user namespaces: `sysctl user.max_user_namespaces=15000`, on Debian "
    "also `sysctl kernel.unprivileged_userns_clone=1`; in a container start it with "
    "`--security-opt seccomp=unconfined --cap-add SYS_ADMIN`"
)
_APPARMOR = (
    "AppArmor keeps bubblewrap from making user namespaces: install a profile that allows `userns` "
    "for /usr/bin/bwrap (/etc/apparmor.d/bwrap), or `sysctl "
    "kernel.apparmor_restrict_unprivileged_userns=0`"
)
_RUNTIME = "give other users read access to the interpreter's files, or use a kernel from 5.12 on"

# Exit code and what it says is not held. Only the first failing check is told.
_CHECKS = {
    21: "private process namespace",
    22: "system call filter",
    23: "write protection of the kernel's settings",
    24: "resource limits",
}
_SCRIPT = """
import os, resource, socket, sys
if os.getppid() != 1: sys.exit(21)
try: socket.socket(socket.AF_INET); sys.exit(22)
except OSError: pass
try: open("/proc/sys/kernel/core_pattern", "r+b"); sys.exit(23)
except OSError: pass
if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0): sys.exit(24)
"""


CANARY_S = 20.0  # it takes some 50 ms; more than this no machine under load needs


class _Started(Protocol):
    async def wait(self) -> ExitReason: ...

    def kill(self, reason: str) -> None: ...


def _remedy(text: str) -> tuple[str, str]:
    """Mechanism and remedy for what bubblewrap said."""
    if Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").exists() and (
        "ermission denied" in text or "not permitted" in text
    ):
        return "user namespaces", _APPARMOR
    if "bwrap" in text and any(word in text for word in ("namespace", "permitted", "denied")):
        return "user namespaces", NAMESPACES
    if "bwrap: Unknown option" in text:
        return "bubblewrap 0.8", "`apt-get install bubblewrap`, version 0.8 or newer"
    return "sandboxed interpreter", _RUNTIME


async def prove(
    launch: Callable[[SpawnSpec], Awaitable[_Started]], bwrap: str | None, scratch: Path | None
) -> None:
    """Raises SandboxRefused unless the strict sandbox works here."""
    if bwrap is None:
        raise SandboxRefused("bubblewrap", "`apt-get install bubblewrap`")
    if shutil.which(PRLIMIT) is None:
        raise SandboxRefused("prlimit", "`apt-get install util-linux`")
    with tempfile.TemporaryDirectory(prefix="symphony-canary-", dir=scratch) as folder:
        spec = SpawnSpec(
            instance="canary",
            argv=("python", "-S", "-c", _SCRIPT),
            policy=SandboxPolicy(level=Level.STRICT),
            log=Path(folder, "log"),
        )
        started = await launch(spec)
        try:
            async with asyncio.timeout(CANARY_S):
                reason = await started.wait()
        except TimeoutError:
            started.kill(f"it did not finish within {CANARY_S:g} s")
            reason = await started.wait()
    if reason.kind == "finished":
        return
    if reason.code in _CHECKS:
        raise SandboxRefused(
            _CHECKS[reason.code], "the sandbox does not hold here; please report this machine"
        )
    mechanism, remedy = _remedy(reason.text)
    raise SandboxRefused(f"{mechanism} ({reason.text or reason.kind})", remedy)
