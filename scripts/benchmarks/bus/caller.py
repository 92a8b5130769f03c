"""The near end of a chain, with the blocking client: caller.py BYTES IN_FLIGHT SECONDS.

Prints round trips per second.
"""

import os
import sys
import time
from collections import deque

from symphony.bus.client import Client
from symphony.bus.ticket import Ticket

size, in_flight, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
with Client(Ticket.load(os.environ)) as client:
    args = {"data": bytes(size)}
    client.call("bench.echo/1", None, args)
    waiting = deque(client.start_call("bench.echo/1", None, args) for _ in range(in_flight))
    done, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds:
        waiting.popleft().result()
        waiting.append(client.start_call("bench.echo/1", None, args))
        done += 1
    print(done / spent)
