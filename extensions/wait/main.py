"""wait: lets time pass. It ends at once when its answer is no longer wanted."""

from __future__ import annotations

import math

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

LONGEST_MS = 604_800_000  # as long as an attempt may take at most
ext = Extension()


@ext.provides("time.wait/1")
def wait(ctx: Context, ms: float = 0.0, stands_for: str = "") -> None:
    """Returns after `ms` milliseconds."""
    del stands_for
    if not (math.isfinite(ms) and 0 <= ms <= LONGEST_MS):
        raise BusError(
            "bad-request",
            f"cannot wait for {ms:g} ms",
            where="ms",
            help=f"give 0 to {LONGEST_MS} milliseconds",
        )
    if ms:
        ctx.wait(ms / 1000)


if __name__ == "__main__":
    ext.run()
