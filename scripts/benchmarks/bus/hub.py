"""A hub's datapath alone, for two peers whose flow is installed.

hub.py DATAPATH CALLER CALLEE [busy]: the routing ids are "caller" and "callee", padded with '.' to
16 bytes. With `busy` the main thread runs Python without a pause. Ends with its input.
"""

import sys

from busy import work_until_input_ends

from symphony.bus import wire
from symphony.bus.datapath import Flow
from symphony.bus.datapaths import choose

FLOW = Flow(1, "caller", "callee", 1)
NEVER_SILENT_MS = 600_000


def again() -> None:
    """A call came before the callee did: its flow is asked for anew."""
    hub.poll()
    hub.install(FLOW)


_, datapath, *endpoints = sys.argv
busy = endpoints[2:] == ["busy"]
hub = choose(datapath)
hub.start(again, heartbeat_ms=NEVER_SILENT_MS, liveness=wire.LIVENESS, grace_ms=wire.GRACE_MS)
for name, endpoint in zip(("caller", "callee"), endpoints, strict=False):
    hub.bind(endpoint)
    hub.admit(name, name.encode().ljust(16, b"."))
    hub.open(name)
hub.install(FLOW)
print("ready", flush=True)
if busy:
    work_until_input_ends()
sys.stdin.read()
hub.close()
