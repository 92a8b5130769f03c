"""Calls what it is told, once for each word, and tells what came of it."""

from typing import Any

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("test.ask/1")
def ask(ctx: Context, capability: str, words: list[str]) -> dict[str, Any]:
    found: list[object] = []
    for word in words:
        try:
            found.append(ctx.call(capability, word=word)["answer"])
        except BusError as error:
            found.append(error.to_body())
    return {"answer": {"trace": ctx.trace, "found": found}}


if __name__ == "__main__":
    ext.run()
