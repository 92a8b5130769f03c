"""File references in bodies (`PROTOCOL.md` section 4): from the wire to paths and back."""

from pathlib import Path
from typing import Any, Final

from .errors import BusError

FILE: Final = "$file"
FOLDER: Final = "$folder"
PLAIN: Final = frozenset({bytes, str, int, float, bool, type(None)})  # neither path nor reference


def is_reference(value: object) -> bool:
    """Whether a value stands for a file or folder."""
    return isinstance(value, dict) and (FILE in value or FOLDER in value)


def resolve(value: object, base: Path, where: str) -> Path:
    """The absolute path below `base` that a reference means; raises BusError `bad-request`."""
    place = value.get(FILE, value.get(FOLDER)) if isinstance(value, dict) else None
    if not isinstance(place, str) or not is_relative(place):
        raise BusError(
            "bad-request", "a file reference holds a relative path without '..'", where=where
        )
    path = base / place
    if not path.exists():
        raise BusError("bad-request", f"there is no file {place!r} in the inbox", where=where)
    return path


def is_relative(place: str) -> bool:
    """Whether a path is relative and has no `..` and no empty part."""
    parts = place.split("/")
    return "\0" not in place and all(part not in {"", ".", ".."} for part in parts)


def refer(path: Path, base: Path, where: str) -> dict[str, str]:
    """The reference to a path below `base`; raises BusError `wrong-output` for any other."""
    try:
        relative = path.resolve().relative_to(base.resolve())
    except ValueError:
        raise BusError(
            "wrong-output",
            f"{path} is not below the outbox",
            where=where,
            help="write results below ctx.outbox and return their paths",
        ) from None
    if not path.exists() or relative == Path():
        raise BusError("wrong-output", f"there is no file {path} in the outbox", where=where)
    return {FOLDER if path.is_dir() else FILE: relative.as_posix()}


def outgoing(value: Any, outbox: Path, where: str) -> Any:
    """A result with its paths below `outbox` as references; raises BusError `wrong-output`."""
    if isinstance(value, Path):
        return refer(value, outbox, where)
    if isinstance(value, dict):
        return {key: outgoing(item, outbox, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [outgoing(item, outbox, where) for item in value]
    return value
