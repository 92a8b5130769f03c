"""A whole hub for a chain of clients: chain_hub.py DATAPATH CALLER CALLEE FOLDER [IDLE].

Writes the tickets `caller` and `callee` into FOLDER, and for so many idle peers `idle-N`; prints a
line when they are there, and one whenever a peer has registered. Ends with its input.
"""

import asyncio
import resource
import sys
from pathlib import Path

import msgspec
import zmq
from zmq.utils import z85

from symphony.bus.datapaths import choose
from symphony.bus.hub import Curve, Grants, Hub
from symphony.bus.listener import DeadLetter
from symphony.bus.messages import Hello
from symphony.bus.ticket import Curve as Keys
from symphony.bus.ticket import Ticket

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

    def overdue(self, instance: str) -> None:
        sys.exit(f"{instance} does not end a call")

    def undelivered(self, letter: DeadLetter) -> None:
        """Its caller is told."""

    def bus_ended(self, reason: str) -> None:
        sys.exit(f"the bus ended: {reason}")


def join(hub: Hub, name: str, endpoint: str, grants: Grants) -> Ticket:
    """The ticket of a new peer; over tcp with keys, as the bus speaks only CURVE there."""
    if not endpoint.startswith("tcp://"):
        return hub.add_peer(name, endpoint, grants)
    (server, hubs), (public, own) = zmq.curve_keypair(), zmq.curve_keypair()
    only = z85.decode(public)
    ticket = hub.add_peer(name, endpoint, grants, curve=Curve(z85.decode(hubs), only.__eq__))
    keys = Keys(server.decode(), public.decode(), own.decode())
    return msgspec.structs.replace(ticket, curve=keys)


def write(folder: Path, tickets: dict[str, Ticket]) -> None:
    for name, ticket in tickets.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(ticket.to_json())


async def main(datapath: str, caller: str, callee: str, folder: str, idle: str = "0") -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    peers = [("callee", callee, Grants(provides=ECHO)), ("caller", caller, Grants(calls=ECHO))]
    for number in range(int(idle)):
        peers.append((f"idle-{number}", f"ipc://{folder}/{number}.sock", Grants()))
    hub = Hub(choose(datapath), listener=Teller())
    await hub.start()
    tickets = {name: join(hub, name, endpoint, grants) for name, endpoint, grants in peers}
    await asyncio.to_thread(write, Path(folder), tickets)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await hub.close()


asyncio.run(main(*sys.argv[1:]))
