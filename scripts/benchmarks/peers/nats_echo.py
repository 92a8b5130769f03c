"""Request and reply over NATS, the far end: nats_echo.py URL. Prints a line when it listens."""

import asyncio
import sys

import nats
from nats.aio.msg import Msg


async def main(url: str) -> None:
    connection = await nats.connect(url)

    async def echo(message: Msg) -> None:
        await message.respond(message.data)

    await connection.subscribe("bench.echo", cb=echo)
    await connection.flush()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await connection.close()


asyncio.run(main(sys.argv[1]))
