"""Finds the folders that make the running interpreter work, wherever it is installed.

A sandbox shows each of them read-only at its own path, so that RUNPATH, pyvenv.cfg and symbolic
links stay right. They are: the base installation, the virtual environment, what symbolic links on
the way to the interpreter point to, and sources that .pth files or linked packages lead to.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Shown in every sandbox; what lies below needs no bind of its own.
SYSTEM = Path("/usr")

# Isolated from the user's environment and site, but with the script's own (read-only) folder on
# the path; no bytecode, since nothing writable is shown; unbuffered, so that a killed player leaves
# its last words.
FLAGS = ("-E", "-s", "-B", "-u")


@dataclass(frozen=True)
class Runtime:
    """An interpreter and the folders it needs; none of them lies inside another."""

    python: str
    folders: tuple[Path, ...]


def _link_targets(path: Path) -> Iterator[Path]:
    """The folder of every symbolic link's target on the way from `path` to the real file."""
    for _ in range(40):
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()
        yield Path(os.path.normpath(path)).parent


def _pth_sources(site: Path) -> Iterator[Path]:
    for pth in sorted(site.glob("*.pth")):
        try:
            lines = pth.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            entry = line.strip()
            if entry and not entry.startswith(("#", "import ", "import\t")):
                yield site / entry


def _linked_sources(folder: Path, *, depth: int = 2) -> Iterator[Path]:
    """Targets of the symbolic links in `folder`: linked packages, editable trees of links."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_symlink():
            target = Path(entry.path).resolve()
            yield target if target.is_dir() else target.parent
        elif depth > 1 and entry.is_dir() and not entry.name.endswith("-info"):
            yield from _linked_sources(Path(entry.path), depth=depth - 1)


def _outermost(folders: Iterable[Path]) -> tuple[Path, ...]:
    chosen: list[Path] = []
    home = Path.home()
    for folder in sorted({f for f in folders if f.is_dir()}, key=lambda f: len(f.parts)):
        # A stray .pth line must not show a whole home or the whole machine.
        if home.is_relative_to(folder) or folder.is_relative_to(SYSTEM):
            continue
        if not any(folder.is_relative_to(outer) for outer in chosen):
            chosen.append(folder)
    return tuple(chosen)


def find() -> Runtime:
    """The runtime of this very process."""
    python = Path(os.path.abspath(sys.executable))  # noqa: PTH100 - resolve() would leave the venv
    prefixes = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_exec_prefix)]
    sites = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    sources = [source for site in sites for source in _pth_sources(site)]
    linked = [target for place in (*sites, *sources) for target in _linked_sources(place)]
    real = [path.resolve() for path in (*prefixes, python.parent)]
    installed = (*prefixes, *real, Path(sysconfig.get_path("stdlib")), *_link_targets(python))
    return Runtime(str(python), _outermost((*installed, *sources, *linked)))
