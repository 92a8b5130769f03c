"""A player that misbehaves on demand, by attempt: `plan` is a list of the words below."""

import os
import signal
import threading
from typing import Any

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

ext = Extension()


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
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
    return {"answer": str(word), "score": 0.9}


if __name__ == "__main__":
    ext.run()
