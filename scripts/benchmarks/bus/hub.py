"""The hub's datapath alone, for two peers whose flow is installed: hub.py CALLER CALLEE.

The routing ids are "caller" and "callee", padded with '.' to 16 bytes. Ends with its input.
"""

import sys

from symphony.bus.datapath import Flow
from symphony.bus.reference import ReferenceDatapath

FLOW = Flow(1, "caller", "callee", 1)
NEVER_SILENT_MS = 600_000


def again() -> None:
    """A call came before the callee did: its flow is asked for anew."""
    hub.poll()
    hub.install(FLOW)


hub = ReferenceDatapath()
hub.start(again, heartbeat_ms=NEVER_SILENT_MS, liveness=5)
for name, endpoint in zip(("caller", "callee"), sys.argv[1:], strict=True):
    hub.bind(endpoint)
    hub.admit(name, name.encode().ljust(16, b"."))
    hub.open(name)
hub.install(FLOW)
sys.stdin.read()
hub.close()
