"""A hub to be put under stress: hub.py DATAPATH FOLDER.

Commands come as lines and are answered by lines that begin with `answer`: `provider NAME`,
`caller NAME` and `console NAME` give a ticket, `remove NAME` cuts a peer off, `crash` ends the
hub's thread, `counters` and `open` say how it is. Other lines are notices: what happened, and to
whom. Ends with its input.
"""

import asyncio
import json
import logging
import resource
import sys
from collections.abc import Callable
from dataclasses import replace

import msgspec

from symphony.bus.datapaths import choose
from symphony.bus.grants import Grants
from symphony.bus.hub import Hub
from symphony.bus.listener import DeadLetter
from symphony.bus.messages import Hello

CAPABILITY = frozenset({"soak.echo/1"})
TOPICS = frozenset({"soak.topic"})
EXTENSIONS = 4  # of each kind
GRANTS = {
    "provider": Grants(provides=CAPABILITY),
    "caller": Grants(calls=CAPABILITY, publishes=TOPICS, subscribes=TOPICS),
}


def say(*words: str) -> None:
    print(*words, flush=True)


class Bugs(logging.Handler):
    """Tells of exceptions that the hub caught; a crash on purpose is none."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and "on purpose" not in str(record.exc_info[1]):
            say("bug", repr(record.exc_info[1]))


class StressedHub:
    """The hub, and the listener that says what it is told."""

    def __init__(self, datapath: str, folder: str) -> None:
        self._datapath_name = datapath
        self._folder = folder
        self.hub = Hub(self._make, listener=self)
        self._commands: dict[str, Callable[..., str]] = {
            "provider": lambda name: self._ticket("provider", name),
            "caller": lambda name: self._ticket("caller", name),
            "console": self._console,
            "remove": self._remove,
            "crash": self._crash,
            "counters": lambda: json.dumps(self.hub.counters()),
            "open": lambda: str(sum(row.open_calls + row.owed for row in self.hub.peers())),
        }

    def answer(self, line: str) -> str:
        """Does what a line says."""
        command, *rest = line.split()
        return self._commands[command](*rest)

    def _make(self) -> object:
        self._datapath = choose(self._datapath_name)
        return self._datapath

    def _ticket(self, what: str, name: str) -> str:
        # Who is killed comes back as another process of the same extension, as under a kernel.
        owner = f"{what}-{int(name.rpartition('-')[2]) % EXTENSIONS}"
        grants = replace(GRANTS[what], owner=owner)
        ticket = self.hub.add_peer(name, f"ipc://{self._folder}/{name}", grants)
        folders = {"inbox": self._folder, "outbox": self._folder}
        return msgspec.structs.replace(ticket, **folders).to_json().decode()

    def _console(self, name: str) -> str:
        grants = GRANTS["caller"]
        ticket = self.hub.add_console(f"ipc://{self._folder}/{name}", grants, name=name)
        return ticket.to_json().decode()

    def _remove(self, name: str) -> str:
        self.hub.remove_peer(name)
        return "removed"

    def _crash(self) -> str:
        self._datapath._crash()
        return "crashed"

    def registered(self, instance: str, hello: Hello) -> None:  # noqa: ARG002
        say("registered", instance)

    def rejected(self, instance: str, reason: str) -> None:
        say("rejected", instance, reason)

    def silent(self, instance: str) -> None:
        say("silent", instance)

    def left(self, instance: str, reason: str) -> None:
        say("left", instance, reason)

    def overdue(self, instance: str) -> None:
        say("overdue", instance)

    def undelivered(self, letter: DeadLetter) -> None:
        """Its caller is told."""

    def bus_ended(self, reason: str) -> None:
        say("ended", reason)


async def main(datapath: str, folder: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    log = logging.getLogger("symphony.bus")
    log.addHandler(Bugs())
    log.propagate = False
    stressed = StressedHub(datapath, folder)
    await stressed.hub.start()
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    say("ready")
    while line := await lines.readline():
        say("answer", stressed.answer(line.decode()))
    await stressed.hub.close()


asyncio.run(main(*sys.argv[1:]))
