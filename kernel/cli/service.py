"""`symphony-kernel serve`: a kernel that runs until it is stopped."""

from __future__ import annotations

import asyncio
import os
import sys

from .. import presence
from ..console import Console
from ..errors import ExitCode
from ..kernel import Kernel, Settings
from . import render, signals
from .common import print_json

SETTLE_S = 5.0  # for members to come up before it says that it serves; it serves meanwhile


async def serve(settings: Settings, as_json: bool) -> int:
    """Serves; says `ready` once consoles are accepted. SIGINT and SIGTERM end it in peace."""
    kernel = Kernel(settings)
    loop = asyncio.get_running_loop()
    code = ExitCode.DONE

    def stop(as_: int) -> None:
        nonlocal code
        code = ExitCode(as_)
        loop.call_soon_threadsafe(kernel.stop.set)

    await kernel.start()
    kernel.curator.on_notice = render.tell
    try:
        with signals.answered_by(stop):
            await Console(kernel).open()
            await kernel.settled(SETTLE_S)
            render.degraded(kernel.lost())
            render.gone(presence.faults(kernel.places.home))
            kernel.watch.on_notice = render.tell
            if as_json:
                home, ticket = str(kernel.places.home), str(kernel.places.console)
                print_json({"ready": True, "pid": os.getpid(), "home": home, "ticket": ticket})
            else:
                print(f"ready: home {kernel.places.home}, pid {os.getpid()}", flush=True)
                print(f"ticket for consoles: {kernel.places.console}", flush=True)
            await kernel.stop.wait()
    finally:
        with signals.answered_by(signals.ignore):
            await kernel.close()
    if kernel.failure is not None:
        raise kernel.failure
    if code is not ExitCode.DONE:
        print(
            "ended by a signal; runs that were being played are resumable: "
            f"symphony-kernel runs list --home {kernel.places.home}",
            file=sys.stderr,
        )
    return code
