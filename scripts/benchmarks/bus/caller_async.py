"""The near end of a chain, with the asyncio client: caller_async.py BYTES IN_FLIGHT SECONDS.

Prints round trips per second.
"""

import asyncio
import os
import sys
import time

from symphony.bus.aio import AsyncClient
from symphony.bus.ticket import Ticket


async def main(size: int, in_flight: int, seconds: float) -> None:
    async with await AsyncClient.connect(Ticket.load(os.environ)) as client:
        args = {"data": bytes(size)}
        await client.call("bench.echo/1", None, args)
        begun = time.perf_counter()

        async def keep_one_in_flight() -> int:
            done = 0
            while time.perf_counter() - begun < seconds:
                await client.call("bench.echo/1", None, args)
                done += 1
            return done

        counts = await asyncio.gather(*(keep_one_in_flight() for _ in range(in_flight)))
        print(sum(counts) / (time.perf_counter() - begun))


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
