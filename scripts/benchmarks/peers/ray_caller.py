"""Calls of a Ray actor, a cluster of one machine with it: ray_caller.py BYTES IN_FLIGHT SECONDS."""

import sys
import time
from collections import deque

import ray
from stats import Stats


@ray.remote(num_cpus=1)
class Echo:
    def call(self, data: bytes) -> bytes:
        return data


size, in_flight, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
echo, body = Echo.remote(), bytes(size)
ray.get(echo.call.remote(body))


def call() -> tuple[ray.ObjectRef, float]:
    sent = time.perf_counter()
    return echo.call.remote(body), sent


stats = Stats(in_flight, seconds)
waiting = deque(call() for _ in range(in_flight))
while stats.goes_on():
    oldest, sent = waiting.popleft()
    ray.get(oldest)
    stats.answered(sent)
    waiting.append(call())
stats.show()
ray.shutdown()
