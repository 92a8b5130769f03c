"""The errors that the switch itself answers calls with."""

from decimal import Decimal

from . import wire
from .errors import BusError


def overloaded(what: str, *, repeatable: bool = True) -> BusError:
    """A bound was reached: too many of `what`."""
    return BusError(
        "overloaded",
        f"too many {what}",
        where=what,
        help="wait for answers before calling again",
        retry_after_ms=wire.RETRY_MS,
        repeatable=repeatable,
    )


def too_often(rate: float, retry_ms: int) -> BusError:
    """A flow was called more often than `rate` times a second, written without an exponent."""
    number = f"{Decimal(repr(rate)):f}".removesuffix(".0")
    return BusError(
        "overloaded",
        f"more than {number} calls a second of this flow",
        where="rate of this flow",
        help="wait for the time that retry_after_ms says before calling again",
        retry_after_ms=retry_ms,
        repeatable=True,
    )


def crashed(provider: str, *, repeatable: bool) -> BusError:
    """The provider ended before it answered."""
    return BusError(
        "crashed",
        "the provider ended before it answered",
        where=provider,
        repeatable=repeatable,
    )


def late(*, repeatable: bool) -> BusError:
    """The deadline passed."""
    return BusError("deadline", "the call was not answered in time", repeatable=repeatable)


def unanswered(provider: str) -> BusError:
    """A cancelled call whose provider did not end it within the grace."""
    return BusError("cancelled", "the provider did not end the cancelled call", where=provider)


def without_credit() -> BusError:
    """The provider sent a chunk that nobody had asked for."""
    return BusError("protocol", "a chunk without credit")
