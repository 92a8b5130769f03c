"""A hub in a process: hub.py DATAPATH FOLDER DESCRIPTORS.

Commands come as lines and are answered by lines that begin with `answer`: `provider NAME` and
`caller NAME` give a ticket, `remove NAME`, `counters`, `hang` and `seize` keep the main thread
until the next line, the latter with the interpreter. Everything else that it says are notices.
"""

import asyncio
import ctypes
import json
import resource
import select
import sys

import msgspec

from symphony.bus.datapaths import choose
from symphony.bus.errors import BusError
from symphony.bus.grants import Grants
from symphony.bus.hub import Hub
from symphony.bus.listener import DeadLetter
from symphony.bus.messages import Hello

DATAPATH, FOLDER, DESCRIPTORS = sys.argv[1], sys.argv[2], int(sys.argv[3])
ECHO = frozenset({"test.echo/1"})
GRANTS = {
    "provider": Grants(provides=ECHO),
    "caller": Grants(calls=ECHO),
}


def say(*words: str) -> None:
    print(*words, flush=True)


class Teller:
    """Says what it is told, and removes as the kernel does."""

    hub: Hub

    def registered(self, instance: str, hello: Hello) -> None:
        say("registered", instance)

    def rejected(self, instance: str, reason: str) -> None:
        say("rejected", instance, reason)

    def silent(self, instance: str) -> None:
        say("silent", instance)
        self.hub.remove_peer(instance)

    def left(self, instance: str, reason: str) -> None:
        say("left", instance, reason)

    def overdue(self, instance: str) -> None:
        say("overdue", instance)
        self.hub.remove_peer(instance)

    def undelivered(self, letter: DeadLetter) -> None:
        """Its caller is told."""

    def bus_ended(self, reason: str) -> None:
        say("bus ended", reason)


def ticket(hub: Hub, what: str, name: str) -> str:
    try:
        made = hub.add_peer(name, f"ipc://{FOLDER}/{name}", GRANTS[what])
    except BusError as error:
        return f"error {error.code}"
    folders = {"inbox": FOLDER, "outbox": FOLDER}
    return msgspec.structs.replace(made, **folders).to_json().decode()


class PollFd(ctypes.Structure):
    """`struct pollfd`."""

    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


def pause(*, seize: bool) -> None:
    """Until the next command comes."""
    say("answer", "now")
    libc = (ctypes.PyDLL if seize else ctypes.CDLL)(None)
    libc.poll(ctypes.byref(PollFd(sys.stdin.fileno(), select.POLLIN)), 1, -1)


async def main() -> None:
    teller = Teller()
    hub = teller.hub = Hub(lambda: choose(DATAPATH), listener=teller)
    await hub.start()
    lines = asyncio.StreamReader()
    say("ready")
    if DESCRIPTORS:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, most))
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        command, *rest = line.decode().split()
        if command in GRANTS:
            say("answer", ticket(hub, command, *rest))
        elif command == "remove":
            hub.remove_peer(*rest)
            say("answer", "done")
        elif command == "counters":
            say("answer", json.dumps(hub.counters()))
        else:
            pause(seize=command == "seize")
    await hub.close()


asyncio.run(main())
