"""Streams, counts, waits and publishes as it is asked to."""

from collections.abc import Iterator
from typing import Any

from symphony.bus.extension import Cancelled, Context, Extension

CAPABILITY = "test.source/1"

ext = Extension()
counted: list[int] = []


@ext.provides(CAPABILITY)
def publish(ctx: Context, words: list[str]) -> dict[str, Any]:
    for word in words:
        ctx.publish("test.words", {"word": word}, keep=True)
    return {"answer": len(words)}


@ext.provides(CAPABILITY, "parts")
def parts(ctx: Context, number: int) -> Iterator[int]:
    try:
        for part in range(number):
            if part % 10 == 0:
                ctx.progress(part, number)
            yield part
    finally:
        ctx.log.info("parts ended")
    return ctx.trace


@ext.provides(CAPABILITY, "count")
def count(ctx: Context) -> int:
    counted.append(1)
    return len(counted)


@ext.provides(CAPABILITY, "wait")
def wait(ctx: Context) -> None:
    ctx.progress(0, None, "waiting")
    try:
        ctx.wait(3_600)
    except Cancelled:
        ctx.log.info("wait ended")
        raise


if __name__ == "__main__":
    ext.run()
