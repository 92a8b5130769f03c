"""Values that are to be sent, within the limits of one body."""

from . import wire
from .codec import encode
from .errors import BusError


def encode_body(value: object, code: str = "bad-request") -> bytes:
    """One body within the limits; raises BusError `code` for what cannot be sent."""
    try:
        body = encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BusError(code, f"the value cannot be sent: {error}") from None
    if len(body) > wire.MAX_BODY:
        raise BusError(
            code,
            f"the body has {len(body)} bytes, more than {wire.MAX_BODY}",
            help="pass large data as a file",
        )
    return body
