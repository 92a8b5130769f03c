"""W3C trace context, level 1: the `traceparent` of a call and of those that it makes.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

import os
import re
from typing import Final

_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_LENGTH: Final = 55
_SAMPLED: Final = "01"
_AT_ONCE: Final = 64
_PARTS: Final = re.compile(
    "(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)

_drawn: list[str] = []  # traces to come: one system call for many of them
os.register_at_fork(after_in_child=_drawn.clear)


def new() -> str:
    """The first span of a new trace, sampled."""
    try:
        return _drawn.pop()
    except IndexError:
        first, *others = _draw()
        _drawn.extend(others)
        return first


def _draw() -> list[str]:
    size = 2 * (_TRACE_BYTES + _SPAN_BYTES)
    digits = os.urandom(_AT_ONCE * size // 2).hex()
    each = (digits[at : at + size] for at in range(0, len(digits), size))
    return [f"00-{one[:32]}-{one[32:]}-{_SAMPLED}" for one in each]


def child(parent: str | None) -> str:
    """A span below `parent`; the first of a new trace if that is none or is not valid."""
    if parent is None or not is_valid(parent):
        return new()
    return f"00-{parent[3:35]}-{os.urandom(_SPAN_BYTES).hex()}-{parent[53:55]}"


def is_valid(text: str) -> bool:
    """Whether this is a `traceparent` whose trace can be continued.

    Of a later version than 00, what follows the flags is ignored, as the standard asks.
    """
    whole = len(text) == _LENGTH or (text[:2] != "00" and text[_LENGTH : _LENGTH + 1] == "-")
    return whole and _PARTS.match(text) is not None
