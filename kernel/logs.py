"""The kernel's own log: JSON lines in the home, never on a terminal.

Standard logging, so that the bus and libraries end up in the same file; structlog would add 40 ms
to every start.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, and what was given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _LogFile(logging.FileHandler):
    """A line that cannot be written is lost: on a full disk there is nobody left to tell, and
    logging's own complaint is a traceback on the user's terminal."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Does nothing."""


def complaint(lines: Sequence[str]) -> str | None:
    """What a program complained of last in its log: a line of its own, or the text of a record (of
    the SDK or of Rust's tracing) of an error."""
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:
            return line.strip()
        if not isinstance(record, dict) or "level" not in record:
            return line.strip()
        if str(record["level"]).lower() in ("error", "critical"):
            fields = record.get("fields")
            text = fields.get("message") if isinstance(fields, dict) else record.get("event")
            return str(text)
    return None


def open_log(path: Path) -> logging.Handler:
    """Sends everything logged in this process to ``path``; close it with :func:`close_log`."""
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    return handler


def close_log(handler: logging.Handler) -> None:
    """Ends what :func:`open_log` began."""
    logging.getLogger().removeHandler(handler)
    with contextlib.suppress(OSError):  # what is left in its buffer does not fit either
        handler.close()
