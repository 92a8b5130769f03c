"""The near end of a chain, with the blocking client: caller.py BYTES IN_FLIGHT SECONDS."""

import os
import sys
import time
from collections import deque

from stats import Stats

from symphony.bus.client import Call, Client
from symphony.bus.errors import BusError
from symphony.bus.ticket import Ticket

size, in_flight, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
with Client(Ticket.load(os.environ)) as client:
    args = {"data": bytes(size)}
    client.call("bench.echo/1", None, args)

    def call() -> tuple[Call, float]:
        sent = time.perf_counter()
        return client.start_call("bench.echo/1", None, args), sent

    stats = Stats(in_flight, seconds)
    waiting = deque(call() for _ in range(in_flight))
    while stats.goes_on():
        oldest, sent = waiting.popleft()
        try:
            oldest.result()
        except BusError as error:
            if error.code != "overloaded":
                raise
            stats.refused()
        else:
            stats.answered(sent)
            waiting.append(call())
    stats.show()
