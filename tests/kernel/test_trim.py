"""Memory that a wave has left with the allocator is given back."""

from __future__ import annotations

import subprocess
import sys

# A process of its own: in one that has run other tests, the wave fits into holes of before.
PROCESS = """
import asyncio

import psutil

from symphony.kernel import trim

SIZE = 4_000  # below what the allocator maps by itself
BLOCKS = 2 * trim.WAVE_BYTES // SIZE


async def main() -> None:
    trim.EVERY_S = 0.01
    process = psutil.Process()
    trimming = asyncio.create_task(trim.give_back())
    await asyncio.sleep(0)  # it has seen what there was before
    wave = [bytes(SIZE) for _ in range(BLOCKS)]
    last = wave.pop()  # at the heap's end, which keeps all before it
    wave.clear()
    held = process.memory_info().rss
    async with asyncio.timeout(20):
        while process.memory_info().rss > held - trim.WAVE_BYTES:
            await asyncio.sleep(trim.EVERY_S)
    assert len(last) == SIZE
    trimming.cancel()


asyncio.run(main())
"""


def test_freed_memory_goes_back_to_the_system() -> None:
    subprocess.run([sys.executable, "-c", PROCESS], check=True, timeout=60)
