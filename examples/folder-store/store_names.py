"""What callers may write: references, paths, texts, times. What is wrong is `bad-request`."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Final

from blake3 import blake3
from msgspec import Struct

from symphony.bus.errors import BusError

REFERENCE: Final = re.compile(r"blake3:[0-9a-f]{64}\Z")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z\Z")
LONGEST_PATH: Final = 4096
LONGEST_PART: Final = 255
LONGEST_TEXT: Final = 1024
MOST_INPUTS: Final = 10_000


class Made(Struct, frozen=True, omit_defaults=True):
    """Lineage: who made an artifact from what."""

    run: str | None = None
    step: str | None = None
    attempt: int | None = None
    player: str | None = None
    version: str | None = None
    inputs: list[str] | None = None


class About(Struct, frozen=True, omit_defaults=True):
    """What its maker says of a content."""

    ts: str
    name: str | None = None
    media: str | None = None
    made: Made | None = None

    def check(self) -> None:
        """Refuses texts that have not 1 to 1,024 bytes, and inputs that are no references."""
        made = self.made or Made()
        texts = {"ts": self.ts, "name": self.name, "media": self.media}
        for word in ("run", "step", "player", "version"):
            texts[f"made.{word}"] = getattr(made, word)
        for where, text in texts.items():
            if text is not None:
                check_text(text, where)
        inputs = made.inputs or []
        if len(inputs) > MOST_INPUTS:
            raise bad("made.inputs", f"there are more than {MOST_INPUTS} inputs")
        for each in inputs:
            check_reference(each, "made.inputs")


def bad(where: str, message: str) -> BusError:
    """The caller's fault."""
    return BusError("bad-request", message, where=where)


def unknown(ref: str) -> BusError:
    """The store has no such artifact."""
    return BusError("not-found", f"the store has no artifact {ref}", where=ref)


def name_of(digest: str) -> str:
    """The reference of a content by the hex digits of its hash."""
    return f"blake3:{digest}"


def reference_of(data: bytes | bytearray) -> str:
    """The reference of a content."""
    return name_of(blake3(data).hexdigest())


def check_reference(ref: str, where: str = "ref") -> str:
    """The reference, if it is one."""
    if REFERENCE.match(ref) is None:
        raise bad(where, f"{ref[:100]!r} is no reference: blake3: and 64 hex digits")
    return ref


def check_text(text: str, where: str) -> None:
    """Refuses an empty text and one that is too long."""
    if not 1 <= len(text.encode(errors="replace")) <= LONGEST_TEXT:
        raise bad(where, "the text has not 1 to 1024 bytes")


def instant(ts: str) -> int | None:
    """Milliseconds since 1970 of a time in UTC; None for what is no time."""
    if TIME.match(ts) is None:
        return None
    try:
        return int(datetime.fromisoformat(ts).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def relative(path: str, where: str) -> str:
    """The path, if it is relative and plain."""
    if fault := _fault(path):
        raise bad(where, f"the path {path[:100]!r} {fault}")
    return path


def absolute(path: str) -> Path:
    """The folder that a caller names, if it is absolute and else plain."""
    fault = _fault(path[1:]) if path.startswith("/") else "is not absolute"
    if fault:
        raise bad("folder", f"the path {path[:100]!r} {fault}")
    return Path(path)


def _fault(path: str) -> str | None:
    if len(path.encode(errors="replace")) > LONGEST_PATH:
        return f"is longer than {LONGEST_PATH} bytes"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return "has an empty part, or a part . or .."
        if "\0" in part:
            return "contains a NUL"
        if len(part.encode(errors="replace")) > LONGEST_PART:
            return f"has a part longer than {LONGEST_PART} bytes"
    return None
