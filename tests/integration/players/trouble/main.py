"""A player that misbehaves on demand, by attempt: `plan` is a list of the words below."""

import contextlib
import os
import signal
import socket
import threading
from typing import Any

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

ext = Extension()


def connect_without_end() -> None:
    """Opens as many connections to the bus as 25 processes may hold."""
    for _ in range(25):
        if os.fork() == 0:
            held = []
            while True:
                connection = socket.socket(socket.AF_UNIX)
                connection.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    connection.connect("/run/bus.sock")
                    held.append(connection)
                if len(held) == 240:
                    signal.pause()
    signal.pause()


@ext.provides("test.act/1")
def act(ctx: Context, plan: list[Any]) -> dict[str, Any]:
    word = plan[min(ctx.attempt or 1, len(plan)) - 1]
    ctx.log.info("acting", word=word)
    ctx.progress(1, 2, word)
    match word:
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "hang":
            threading.Event().wait()
        case "raise":
            raise ValueError("told to raise")
        case "refuse":
            raise BusError("bad-request", "told to refuse", where="plan")
        case "wrong":
            return {"answer": 7}  # not the text that the manifest promises
        case "flood":
            for done in range(3000):
                ctx.progress(done + 1, 3000, "flooding")
        case "nothing":
            return {}
        case "poor":
            return {"answer": "poor", "score": 0.1}
        case "deep":
            os.chdir(ctx.outbox)
            for _ in range(1500):
                os.mkdir("d")  # noqa: PTH102 - a path of this depth has no name
                os.chdir("d")
        case "large":
            return {"answer": "x" * 2_000_000}
        case "connect":
            connect_without_end()
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
    return {"answer": str(word), "score": 0.9}


if __name__ == "__main__":
    ext.run()
