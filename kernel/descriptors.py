"""The kernel's own file descriptors, which no player may use up.

Every connection to a bus socket takes one, whatever comes through it, and libzmq aborts the whole
process when it cannot accept another (EMFILE). So the kernel has as many as it can get, looks often
how many are in use, and ends the instance that holds the most long before the last one is taken.
Who connects over tcp cannot be ended: when those hold more than their share, that door is shut.
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
IDLE_S: Final = 0.05  # without anybody who could; the first player needs as long to begin
FAIR: Final = 64  # connections at one socket that nobody is ended for: an instance needs one

STRANGERS: Final = 4  # connections over tcp get one descriptor in so many

Place = str | int  # path of a socket, or port for tcp
Crowd = Callable[[Place, int], None]  # where, connections there


@functools.cache
def raise_limit() -> int:
    """Raises this process' soft limit; returns the former one, for what is started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < (raised := min(hard, MOST)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return soft


async def watch(exposed: Callable[[], bool], crowd: Crowd) -> None:
    """Calls `crowd` with the most crowded path whenever half of the descriptors are in use, and
    with each port that has more than its share. `exposed`: whether anybody could flood the kernel.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(soft, MOST)
    half, share = most // 2, most // STRANGERS
    while True:
        await asyncio.sleep(WATCH_S if exposed() else IDLE_S)
        used = _at_least()
        if used < share:
            continue
        ports, paths = connections()
        for port, count in ports.items():
            if count > share:
                crowd(port, count)
        for path, count in paths.most_common(1):
            if count > FAIR and used >= half:
                crowd(path, count)


def connections() -> tuple[Counter[int], Counter[str]]:
    """How many connections of this process were accepted at each port, and at each socket of the
    file system."""
    ports: Counter[int] = Counter()
    paths: Counter[str] = Counter()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # gone by now, or no socket
            peer = socket.socket(fileno=int(entry.name))
            try:
                if peer.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    continue
                if peer.family == socket.AF_UNIX:
                    paths[os.fsdecode(peer.getsockname())] += 1
                elif peer.type == socket.SOCK_STREAM:  # over IPv4 or IPv6
                    ports[peer.getsockname()[1]] += 1
            finally:
                peer.detach()  # it is not ours to close
    del paths[""]
    return ports, paths


def _at_least() -> int:
    """So many descriptors are in use: the system gives out the lowest free number."""
    try:
        lowest = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return MOST
    os.close(lowest)
    return lowest
