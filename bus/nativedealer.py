"""The clients' transport from the wheel `symphony-native`: `dealer.py` without pyzmq."""

from . import wire
from .errors import BusError
from .link import HIGH_WATER, LINGER_MS, RECONNECT_MS, Waitable
from .native import load
from .ticket import Ticket


class NativeDealer(Waitable):
    """One connection to the hub. Not thread-safe, but for `fileno`."""

    def __init__(self, ticket: Ticket) -> None:
        curve = ticket.curve
        keys = (curve.server, curve.public, curve.secret) if curve is not None else None
        try:
            native = load().Dealer(
                ticket.endpoint,
                ticket.routing_id(),
                keys,
                linger_ms=LINGER_MS,
                high_water=HIGH_WATER,
                reconnect_ms=RECONNECT_MS,
                max_body=wire.MAX_BODY,
            )
        except ValueError as error:
            raise BusError("bad-request", str(error), where="curve") from None
        except OSError as error:
            raise BusError(
                "unavailable", f"cannot connect: {error.strerror}", where=ticket.endpoint
            ) from None
        self.fileno = native.fileno
        self.send = native.send
        self.take = native.take
        self.close = native.close
