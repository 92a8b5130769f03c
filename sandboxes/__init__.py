"""Starts untrusted processes so that they see their own code and one socket, and little else.

`LocalLauncher` is the door; `SandboxPolicy` and `SpawnSpec` say what an instance may touch.
"""

from .launch import Launcher, LocalLauncher, Process
from .policy import (
    Bind,
    ExitReason,
    Level,
    Places,
    SandboxPolicy,
    SandboxRefused,
    SpawnSpec,
    places,
)

__all__ = [
    "Bind",
    "ExitReason",
    "Launcher",
    "Level",
    "LocalLauncher",
    "Places",
    "Process",
    "SandboxPolicy",
    "SandboxRefused",
    "SpawnSpec",
    "places",
]
