"""The near end of a soak: makes calls and writes down how each ended. caller.py LEDGER NAME RATE

RATE is calls per second, 0 for as many as it can. A line of the ledger is `KEY ANSWER MICROSECONDS`
for a call that was answered and `KEY !CODE` for one that was not. Some calls have an idempotency
key and are made twice at once; both lines begin with the same KEY, which then begins with `=`.
Makes calls until its input ends, then waits for those that are open.
"""

import os
import select
import sys
import time
from collections import deque
from itertools import count

from symphony.bus.client import Call, Client
from symphony.bus.errors import BusError
from symphony.bus.ticket import Ticket

AT_ONCE = 64
KEYED = 16  # one call in so many
TTL_MS = 30_000
PACE_S = 0.001

ledger = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
name, rate = sys.argv[2], float(sys.argv[3])
numbers = count(1)
waiting: deque[tuple[str, Call[str], float]] = deque()


def begin(client: Client) -> None:
    number = next(numbers)
    keyed = number % KEYED == 0
    key = f"{'=' if keyed else '-'}{name}/{number}"
    for _ in range(2 if keyed else 1):
        call = client.start_call(
            "soak.echo/1",
            None,
            {"key": key},
            type=str,
            ttl_ms=TTL_MS,
            idem=key if keyed else None,
        )
        waiting.append((key, call, time.perf_counter()))


def finish() -> str:
    key, call, begun = waiting.popleft()
    try:
        answer = call.result()
    except BusError as error:
        return f"{key} !{error.code}\n"
    return f"{key} {answer} {(time.perf_counter() - begun) * 1e6:.0f}\n"


def rest(seconds: float) -> None:
    """At most so long, or until the oldest call is answered."""
    if waiting:
        oldest = waiting[0][1]
        oldest.connection.wait(oldest.is_done, seconds)
    else:
        time.sleep(seconds)


def write(lines: list[str]) -> None:
    if lines:
        os.write(ledger, "".join(lines).encode())


with Client(Ticket.load(os.environ)) as client:
    due = time.perf_counter()
    while not select.select([sys.stdin], [], [], 0)[0]:
        if rate == 0:
            while len(waiting) < AT_ONCE:
                begin(client)
            write([finish() for _ in range(AT_ONCE // 2)])
            continue
        now = time.perf_counter()
        while due <= now and len(waiting) < AT_ONCE:
            begin(client)
            due += 1 / rate
        due = max(due, now - PACE_S)  # what could not be made in time is not made up for
        lines = []
        while waiting and (waiting[0][1].done or len(waiting) >= AT_ONCE):
            lines.append(finish())
        write(lines)
        if due > now:
            rest(due - now)
    while waiting:
        write([finish()])
