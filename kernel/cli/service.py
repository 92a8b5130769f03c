"""`symphony-kernel serve`: a kernel that runs until it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal

from ..console import Console
from ..errors import ExitCode
from ..kernel import Kernel, Settings
from . import render
from .common import print_json


async def serve(settings: Settings, as_json: bool) -> int:
    """Serves; says `ready` once consoles are accepted. SIGINT and SIGTERM end it in peace."""
    kernel = Kernel(settings)
    loop = asyncio.get_running_loop()
    code = ExitCode.DONE
    await kernel.start()
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, kernel.stop.set)
        await Console(kernel).open()
        render.degraded(kernel.absent())
        if as_json:
            print_json({"ready": True, "pid": os.getpid(), "home": str(kernel.places.home)})
        else:
            print(f"ready: home {kernel.places.home}, pid {os.getpid()}", flush=True)
        await kernel.stop.wait()
    finally:
        await kernel.close()
    if kernel.failure is not None:
        raise kernel.failure
    return code
