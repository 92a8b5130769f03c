"""Writes its ticket, a secret, to its log, and joins with it as if nothing had happened."""

import os
import sys

from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("test.leak/1")
def leak(ctx: Context) -> dict[str, object]:
    del ctx
    return {}


if __name__ == "__main__":
    ticket = sys.stdin.read()
    print(ticket, file=sys.stderr, flush=True)
    reading, writing = os.pipe()
    os.write(writing, ticket.encode())
    os.close(writing)
    os.dup2(reading, 0)
    ext.run()
