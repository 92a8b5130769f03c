"""Strangers who do nothing but connect to the port for consoles elsewhere, as fast as they can."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from command_harness import LIMIT_S, Symphony
from test_keys import elsewhere, endpoint, export

from symphony.bus.native import available

__all__ = ["endpoint"]  # the fixture

DESCRIPTORS = 1_024  # that the kernel has
NEEDS_NATIVE = pytest.mark.skipif(not available(), reason="the wheel symphony-native is missing")

# Holds so many connections until its input ends; one that is cut off is made again.
FLOOD = """
import resource, selectors, socket, sys
port, number = map(int, sys.argv[1:])
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
ready = selectors.EpollSelector()

def connect():
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(("127.0.0.1", port))
    ready.register(one, selectors.EVENT_READ)

ready.register(sys.stdin, selectors.EVENT_READ)
for _ in range(number):
    connect()
print("flooding", flush=True)
while True:
    for key, _ in ready.select():
        one = key.fileobj
        if one is sys.stdin:
            sys.exit()
        try:
            alive = one.recv(4096)
        except OSError:
            alive = b""
        if not alive:
            ready.unregister(one)
            one.close()
            connect()
"""


@contextmanager
def flood(endpoint: str, number: int) -> Iterator[None]:
    port = endpoint.rpartition(":")[2]
    with subprocess.Popen(
        [sys.executable, "-c", FLOOD, port, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"flooding\n"
        yield
        process.communicate()


@pytest.mark.parametrize("datapath", ["reference", pytest.param("native", marks=NEEDS_NATIVE)])
def test_local_consoles_are_served_meanwhile_and_key_holders_afterwards(
    symphony: Symphony, endpoint: str, datapath: str
) -> None:
    limit = (DESCRIPTORS, DESCRIPTORS)
    kernel = symphony.serve(
        *("--listen", endpoint, "--datapath", datapath),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit),
    )
    symphony.answer("keys", "new", "laptop")
    ticket = export(symphony, "laptop", endpoint)
    with flood(endpoint, DESCRIPTORS + 200):
        end = time.monotonic() + LIMIT_S
        while not (times := crowded(symphony)):  # a new console each time
            assert time.monotonic() < end, "the flood was not seen"
    end = time.monotonic() + LIMIT_S
    while elsewhere(symphony, "status", "--ticket", ticket).returncode != 0:
        assert time.monotonic() < end, "the door stays shut"
    assert kernel.poll() is None
    assert times >= DESCRIPTORS // 4
    log = (symphony.home / "logs" / "kernel.log").read_text().splitlines()
    assert [line["event"] for line in map(json.loads, log)].count("crowded") == 1


def crowded(symphony: Symphony) -> int:
    """How many connections were cut off, as a local console is told."""
    refusals = symphony.answer("bus")["refusals"]
    return sum(row["times"] for row in refusals if row["rule"] == "crowd")
