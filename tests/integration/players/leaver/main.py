"""Says bye as soon as it has answered, and its process stays."""

import os
import threading

from symphony.bus.context import Log
from symphony.bus.extension import Context, Extension
from symphony.bus.heard import Called
from symphony.bus.ticket import Ticket
from symphony.bus.worker import _Worker

ext = Extension()


@ext.provides("test.leave/1")
def leave(ctx: Context) -> dict[str, str]:
    (ctx.outbox / "litter").write_text("left behind")
    return {"answer": "good bye"}


class Leaver(_Worker):
    """Ends its work after one call; the worker then says bye."""

    def _serve(self, called: Called) -> None:
        super()._serve(called)
        raise SystemExit


if __name__ == "__main__":
    try:
        Leaver(ext, Ticket.load(os.environ)).run(Log())
    except SystemExit:
        threading.Event().wait()
