"""Logs every call that it gets; hangs when told to."""

import threading
from typing import Any

from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("test.count/1")
def count(ctx: Context, word: str) -> dict[str, Any]:
    ctx.log.info("counted", word=word)
    if word == "hang":
        threading.Event().wait()
    return {"answer": {"word": word, "trace": ctx.trace}}


if __name__ == "__main__":
    ext.run()
