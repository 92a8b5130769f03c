"""Request and reply over NATS, the near end: nats_caller.py URL BYTES IN_FLIGHT SECONDS."""

import asyncio
import sys
import time

import nats
from stats import Stats


async def main(url: str, size: int, in_flight: int, seconds: float) -> None:
    connection = await nats.connect(url)
    body = bytes(size)
    await connection.request("bench.echo", body)
    stats = Stats(in_flight, seconds)

    async def keep_one_in_flight() -> None:
        while stats.goes_on():
            sent = time.perf_counter()
            await connection.request("bench.echo", body, timeout=30)
            stats.answered(sent)

    await asyncio.gather(*(keep_one_in_flight() for _ in range(in_flight)))
    stats.show()
    await connection.close()


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
