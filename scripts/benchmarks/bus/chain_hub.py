"""A whole hub for a chain of clients: chain_hub.py CALLER CALLEE FOLDER.

Writes the tickets `caller` and `callee` into FOLDER and prints a line when they are there, and one
whenever a peer has registered. Ends with its input.
"""

import asyncio
import sys
from pathlib import Path

from symphony.bus.hub import Grants, Hub
from symphony.bus.messages import Hello
from symphony.bus.reference import ReferenceDatapath

ECHO = frozenset({"bench.echo/1"})


class Teller:
    """Says who has registered; nobody is to leave before the end."""

    def registered(self, instance: str, hello: Hello) -> None:
        print("registered", instance, hello.sdk, flush=True)

    def rejected(self, instance: str, reason: str) -> None:
        sys.exit(f"{instance} was rejected: {reason}")

    def silent(self, instance: str) -> None:
        sys.exit(f"{instance} fell silent")

    def left(self, instance: str, reason: str) -> None:
        """The caller is done."""

    def broken(self, report: str) -> None:
        sys.exit(report)


async def main(caller: str, callee: str, folder: str) -> None:
    hub = Hub(ReferenceDatapath(), listener=Teller())
    await hub.start()
    for name, endpoint, grants in (
        ("callee", callee, Grants(provides=ECHO)),
        ("caller", caller, Grants(calls=ECHO)),
    ):
        ticket = hub.add_peer(name, endpoint, grants)
        await asyncio.to_thread(Path(folder, name).write_bytes, ticket.to_json())
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await hub.close()


asyncio.run(main(*sys.argv[1:]))
