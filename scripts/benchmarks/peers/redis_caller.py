"""Request and reply over Redis lists, the near end: redis_caller.py SOCKET BYTES IN_FLIGHT SECONDS.

One caller with one list of replies, which come in the order of the requests.
"""

import sys
import time
from collections import deque

import redis
from stats import Stats

size, in_flight, seconds = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
connection = redis.Redis(unix_socket_path=sys.argv[1])
body = bytes(size)


def call() -> float:
    sent = time.perf_counter()
    connection.rpush("requests", body)
    return sent


call()
connection.blpop(["replies"])
stats = Stats(in_flight, seconds)
waiting = deque(call() for _ in range(in_flight))
while stats.goes_on():
    connection.blpop(["replies"])
    stats.answered(waiting.popleft())
    waiting.append(call())
stats.show()
