"""A whole hub for the fairness benchmark: fair_hub.py DATAPATH FOLDER.

Writes the tickets `quiet`, `quiet-echo`, `loud` and `loud-echo` into FOLDER and prints a line when
they are there, and one whenever a peer has registered. Ends with its input.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

from symphony.bus.datapaths import choose
from symphony.bus.hub import Grants, Hub
from symphony.bus.listener import DeadLetter
from symphony.bus.messages import Hello

NEVER_SILENT_MS = 600_000  # flooding peers are stopped and go on
TOPIC = frozenset({"bench.flood"})


class Teller:
    """Says who has registered; what a flood loses is of no interest."""

    def registered(self, instance: str, hello: Hello) -> None:
        print("registered", instance, hello.sdk, flush=True)

    def rejected(self, instance: str, reason: str) -> None:
        sys.exit(f"{instance} was rejected: {reason}")

    def silent(self, instance: str) -> None:
        sys.exit(f"{instance} fell silent")

    def left(self, instance: str, reason: str) -> None:
        """It is done."""

    def overdue(self, instance: str) -> None:
        sys.exit(f"{instance} does not end a call")

    def undelivered(self, letter: DeadLetter) -> None:
        """A flood is not read as fast as it comes."""

    def bus_ended(self, reason: str) -> None:
        sys.exit(f"the bus ended: {reason}")


async def main(datapath: str, folder: str) -> None:
    hub = Hub(partial(choose, datapath), heartbeat_ms=NEVER_SILENT_MS, listener=Teller())
    await hub.start()
    for pair in ("quiet", "loud"):
        capability = frozenset({f"bench.{pair}/1"})
        ends = {
            pair: Grants(calls=capability, publishes=TOPIC),
            f"{pair}-echo": Grants(provides=capability, subscribes=TOPIC),
        }
        for name, grants in ends.items():
            ticket = hub.add_peer(name, f"ipc://{folder}/{name}.sock", grants)
            place = Path(folder, name)
            await asyncio.to_thread(place.touch, 0o600)
            await asyncio.to_thread(place.write_bytes, ticket.to_json())
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await hub.close()


asyncio.run(main(*sys.argv[1:]))
