"""The tree of processes, as Linux shows it."""

from pathlib import Path
from typing import Final

_MOST_LEVELS: Final = 128


def is_below(pid: int, ancestor: int) -> bool:
    """Whether a process is `ancestor` or one below it; False for one that has ended."""
    for _ in range(_MOST_LEVELS):
        if pid == ancestor:
            return True
        if pid <= 1:
            return False
        parent = _parent(pid)
        if parent is None:
            return False
        pid = parent
    return False


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is the program's name in parentheses and may itself hold any character.
    return int(stat.rpartition(b")")[2].split()[1])
