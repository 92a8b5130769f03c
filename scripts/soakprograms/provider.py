"""The far end of a soak: writes each call down before it answers it. provider.py LEDGER NAME

A line of the ledger is `KEY NAME/SERIAL`, and NAME/SERIAL is the answer. What was written is kept
by the system also when this process is killed.
"""

import os
import sys
from itertools import count

from symphony.bus.extension import Context, Extension

ledger = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
serials = count(1)
ext = Extension()


@ext.provides("soak.echo/1")
def echo(ctx: Context, key: str) -> str:  # noqa: ARG001
    answer = f"{sys.argv[2]}/{next(serials)}"
    os.write(ledger, f"{key} {answer}\n".encode())
    return answer


ext.run()
