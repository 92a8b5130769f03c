"""Headers of calls that everybody can read. Whoever cannot read one drops it, and then nobody would
answer: so what would make such a header is refused where the call is made."""

from collections.abc import Mapping
from typing import Final

from . import wire
from .codec import read_heading
from .errors import BusError, ProtocolError

_RULES: Final = {  # of what stands in a header, by its place there
    "$[4]": ("ttl_ms", "whole milliseconds, 0 or more"),
    "$[5]": ("method", "a name: small letters, digits and _, a letter first"),
    "$.idem": ("idem", f"text of at most {wire.MAX_IDEM} characters"),
}


def surely_readable(method: str | None, options: Mapping[str, object] | None) -> bool:
    """Whether any header with these can be read; most calls have no more than a trace."""
    if method is not None:
        return False
    return not options or (len(options) == 1 and type(options.get(wire.TRACE_OPTION)) is str)


def require_short(header: bytes) -> None:
    """Raises BusError `bad-request` for a header that is longer than any may be."""
    if len(header) > wire.MAX_HEADER:
        message = f"the header is too long: {len(header):,} bytes of at most {wire.MAX_HEADER:,}"
        raise BusError("bad-request", message, where="header")


def require_readable(header: bytes) -> None:
    """Raises BusError `bad-request` that names what in it cannot be read."""
    try:
        read_heading(header)
    except ProtocolError as error:
        for place, (name, rule) in _RULES.items():
            if error.message.endswith(f"`{place}`"):
                raise BusError("bad-request", f"{name} must be {rule}", where=name) from None
        raise BusError("bad-request", error.message, where="header") from None
