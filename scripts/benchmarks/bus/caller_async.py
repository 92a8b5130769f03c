"""The near end of a chain, with the asyncio client: caller_async.py BYTES IN_FLIGHT SECONDS."""

import asyncio
import os
import sys
import time

from stats import Stats

from symphony.bus.aio import AsyncClient
from symphony.bus.errors import BusError
from symphony.bus.ticket import Ticket


async def main(size: int, in_flight: int, seconds: float) -> None:
    async with await AsyncClient.connect(Ticket.load(os.environ)) as client:
        args = {"data": bytes(size)}
        await client.call("bench.echo/1", None, args)
        stats = Stats(in_flight, seconds)

        async def keep_one_in_flight() -> None:
            while stats.goes_on():
                sent = time.perf_counter()
                try:
                    await client.call("bench.echo/1", None, args)
                except BusError as error:
                    if error.code != "overloaded":
                        raise
                    stats.refused()
                    return
                stats.answered(sent)

        await asyncio.gather(*(keep_one_in_flight() for _ in range(in_flight)))
        stats.show()


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
