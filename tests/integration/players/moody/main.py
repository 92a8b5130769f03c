"""A player that answers every heartbeat and does no useful work any more once it was told so."""

from __future__ import annotations

import os
import threading

from symphony.bus.extension import Context, Extension

ext = Extension()
ill = threading.Event()


@ext.provides("test.mood/1")
def mood(ctx: Context, mood: str = "well") -> dict[str, int]:
    if mood == "probe" and ill.is_set():
        raise ValueError("ill")
    if mood == "ill":
        ill.set()
    if mood == "slow":
        ctx.wait(0.3)
    return {"pid": os.getpid()}


if __name__ == "__main__":
    ext.run()
