"""Processes that are not our children: found by a mark or their session, their ends awaited."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil


def marked(marker: str) -> list[int]:
    """Living processes that have `marker` in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def session(number: int) -> list[int]:
    """Living processes of the guard's session: itself, its helpers, sandboxes not yet released."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            if os.getsid(pid) == number and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def watchdogs(launcher: psutil.Process) -> set[psutil.Process]:
    """Below a process that uses launchers: one for each of their guards."""
    return {p for p in launcher.children() if "sandboxes.guard" in " ".join(p.cmdline())}


def guard_below(watchdog: psutil.Process) -> psutil.Process:
    return next(p for p in watchdog.children() if p.cmdline() == watchdog.cmdline())


def all_end(living: Callable[[], Iterable[int]], seconds: float = 10) -> bool:
    """Waits for the end of each living process, and of those that it leaves."""
    deadline = time.monotonic() + seconds
    while pids := list(living()):
        for pid in pids:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                ended = select.poll()
                ended.register(fd, select.POLLIN)
                if not ended.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    return False
            finally:
                os.close(fd)
    return True
