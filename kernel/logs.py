"""The kernel's own log: JSON lines in the home, never on a terminal."""

from __future__ import annotations

from pathlib import Path

import structlog


def open_log(path: Path) -> None:
    """Sends everything logged in this process to ``path`` (appended)."""
    file = path.open("a", encoding="utf-8", buffering=1)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file),
        cache_logger_on_first_use=False,
    )
