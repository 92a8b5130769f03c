"""The time as it is written down."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp() -> str:
    """Now, RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
