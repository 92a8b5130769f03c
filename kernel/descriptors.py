"""The kernel's own file descriptors, which no player may use up.

Every connection to a bus socket takes one, whatever comes through it, and libzmq aborts the whole
process when it cannot accept another (EMFILE). So the kernel has as many as it can get, looks often
how many are in use, and ends the instance that holds the most long before the last one is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import resource
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

MOST: Final = 8_192  # each connection also takes memory
WATCH_S: Final = 0.01  # a flood takes some 10,000 a second
IDLE_S: Final = 0.05  # without players; the first one needs as long to begin
FAIR: Final = 64  # connections at one socket that nobody is ended for: an instance needs one

Crowd = Callable[[str, int], None]  # path of a socket, connections there


@functools.cache
def raise_limit() -> int:
    """Raises this process' soft limit; returns the former one, for what is started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < (raised := min(hard, MOST)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return soft


async def watch(has_players: Callable[[], bool], crowd: Crowd) -> None:
    """Calls `crowd` with the most crowded socket whenever half of the descriptors are in use."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    half = min(soft, MOST) // 2
    while True:
        await asyncio.sleep(WATCH_S if has_players() else IDLE_S)
        if _at_least() < half:
            continue
        for path, count in connections().most_common(1):
            if count > FAIR:
                crowd(path, count)


def connections() -> Counter[str]:
    """How many connections of this process were accepted at each socket of the file system."""
    found: Counter[str] = Counter()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # gone by now, or no socket
            peer = socket.socket(fileno=int(entry.name))
            try:
                is_listener = peer.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if peer.family == socket.AF_UNIX and not is_listener:
                    found[os.fsdecode(peer.getsockname())] += 1
            finally:
                peer.detach()  # it is not ours to close
    del found[""]
    return found


def _at_least() -> int:
    """So many descriptors are in use: the system gives out the lowest free number."""
    try:
        lowest = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return MOST
    os.close(lowest)
    return lowest
