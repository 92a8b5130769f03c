"""Which socket a peer joins with: the native one where its wheel is installed, else pyzmq's."""

from typing import TYPE_CHECKING

from .native import available
from .ticket import Ticket

if TYPE_CHECKING:
    from .dealer import Dealer
    from .nativedealer import NativeDealer


def dial(ticket: Ticket) -> "NativeDealer | Dealer":
    """Connects to the hub; raises BusError `unavailable`, or `bad-request` for a wrong key."""
    if available():
        from .nativedealer import NativeDealer

        return NativeDealer(ticket)
    from .dealer import Dealer  # imports pyzmq, which the native one does without

    return Dealer(ticket)
