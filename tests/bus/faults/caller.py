"""A client that is told on its standard input what to do, and says on its output what came of it.

`{"id": ..., "method": ..., "ttl_ms": ...}` makes a call, `{"topic": ...}` subscribes, `{"stream":
ID, "credit": ...}` begins a stream and takes one chunk of it.
"""

import json
import os
import sys
import threading
from typing import Any

from symphony.bus.client import Client, Stream
from symphony.bus.errors import BusError
from symphony.bus.heard import Event
from symphony.bus.ticket import Ticket


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")  # one write: threads share this
    sys.stdout.flush()


def call(client: Client, id: str, method: str | None = None, ttl_ms: int = 0) -> None:  # noqa: A002
    def progressed(_: object) -> None:
        say(begun=id)

    try:
        args = {"id": id}
        result = client.call("test.echo/1", method, args, ttl_ms=ttl_ms, on_progress=progressed)
        say(id=id, result=result)
    except BusError as error:
        say(id=id, error=error.code)


def heard(event: Event) -> None:
    say(event=event.value, gap=event.gap)


def main() -> None:
    try:
        client = Client(Ticket.load(os.environ))
    except BusError as error:
        say(error=error.code)
        return
    say(joined=True)
    streams: list[Stream[Any]] = []
    with client:
        for line in sys.stdin:
            command: dict[str, Any] = json.loads(line)
            if "topic" in command:
                client.subscribe(command["topic"], heard)
                say(subscribed=True)
            elif "stream" in command:
                args = {"id": command["stream"]}
                streams.append(
                    client.stream("test.echo/1", "count", args, credit=command["credit"])
                )
                say(chunk=next(streams[-1]))
            else:
                threading.Thread(target=call, args=(client,), kwargs=command, daemon=True).start()


main()
