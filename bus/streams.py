"""Credit of a stream (`PROTOCOL.md` section 10): how many chunks a provider may still send."""

from collections.abc import Mapping
from typing import Any

from . import wire
from .codec import decode
from .errors import ProtocolError


def initial_credit(options: Mapping[str, Any]) -> int | None:
    """What a call grants with its option; None if it takes no chunks."""
    credit = options.get(wire.STREAM_OPTION)
    return None if credit is None else min(credit, wire.MAX_CREDIT)


def more_credit(body: bytes, credit: int) -> int | None:
    """What `credit` becomes by a message's body; None if the body is not a number of chunks that
    the bound leaves room for."""
    try:
        more = decode(body)
    except ProtocolError:
        return None
    if type(more) is not int or more < 1 or credit + more > wire.MAX_CREDIT:
        return None
    return credit + more
