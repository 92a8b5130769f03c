"""Memory that a wave of large messages leaves with the allocator goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import logging

import psutil

log = logging.getLogger(__name__)

EVERY_S = 10.0
WAVE_BYTES = 64 << 20  # more than since the last time


async def give_back() -> None:
    """Asks glibc to trim whenever the process has grown by a wave; without glibc it does nothing.

    The allocator keeps what large messages took, for ever larger ones come (its thresholds grow
    with them, mallopt(3)).
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return
    process = psutil.Process()
    after = process.memory_info().rss
    while True:
        await asyncio.sleep(EVERY_S)
        before = process.memory_info().rss
        if before < after + WAVE_BYTES:
            after = min(after, before)
            continue
        await asyncio.to_thread(trim, 0)
        after = process.memory_info().rss
        log.debug("trimmed", extra={"before": before, "after": after})
