"""Answers a call with a message that the bus protocol forbids."""

import os
import sys
import threading

from symphony.bus import native, wire
from symphony.bus.context import Log
from symphony.bus.dealer import Dealer
from symphony.bus.extension import Context, Extension
from symphony.bus.heard import Called, Heard
from symphony.bus.ticket import Ticket
from symphony.bus.worker import _Worker

ext = Extension()


@ext.provides("test.break/1")
def never_answered(ctx: Context) -> dict[str, str]:
    threading.Event().wait()
    return {}


class Rude(_Worker):
    """Says too much on the thread that owns the socket."""

    def _on_heard(self, heard: Heard) -> None:
        if isinstance(heard, Called):
            dealer = self._connection._link
            assert isinstance(dealer, Dealer)
            dealer._socket.send_multipart([b""] * (wire.MAX_FRAMES + 1))
        super()._on_heard(heard)


if __name__ == "__main__":
    # Its socket sends no message but of two frames.
    sys.modules[native.MODULE] = None  # type: ignore[assignment]
    Rude(ext, Ticket.load(os.environ)).run(Log())
