"""What `scripts/bench artifacts` measures: our store, a plain loop, and programs that keep files.

Each keeps one file or folder in a place of its own, durably unless it says otherwise, and gives a
file back. Times are of the keeping alone: our programs tell theirs, of others it is that of the
command, and of a sync where the command makes none.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchlib import BenchError

RUN_S = 900.0


@dataclass(frozen=True)
class Kept:
    """Something that was put: by whom, where, and from what."""

    peer: "Peer"
    place: Path
    source: Path
    took: float

    def stored(self) -> float:
        """What it takes on the disk, MiB."""
        files = (path for path in self.place.rglob("*") if path.is_file())
        return sum(path.lstat().st_blocks for path in files) * 512 / 2**20


class Peer:
    """Keeps files below a place of its own."""

    name: str

    def missing(self) -> str | None:
        """The program that is not installed."""
        return None

    def begin(self, place: Path) -> None:
        """Makes what it keeps things in; not timed."""

    def put(self, place: Path, source: Path) -> float:
        raise NotImplementedError

    def get(self, kept: Kept, target: Path) -> float:
        raise NotImplementedError

    def keep(self, place: Path, source: Path) -> Kept:
        place.mkdir()
        self.begin(place)
        return Kept(self, place, source, self.put(place, source))


@dataclass(frozen=True)
class Ours(Peer):
    program: Path
    name = "ours"

    def put(self, place: Path, source: Path) -> float:
        verb = "put-many" if source.is_dir() else "put"
        return told(self.program, verb, place / "store", source)

    def get(self, kept: Kept, target: Path) -> float:
        return told(self.program, "get", kept.place / "store", kept.source, target)


@dataclass(frozen=True)
class Loop(Peer):
    program: Path
    name = "blake3-write"

    def put(self, place: Path, source: Path) -> float:
        verb, target = ("write-many", place) if source.is_dir() else ("write", place / "kept")
        return told(self.program, verb, source, target)

    def get(self, kept: Kept, target: Path) -> float:
        return told(self.program, "read", kept.place / "kept", target)


class Command(Peer):
    """A program of its own, timed from its start to its end."""

    def missing(self) -> str | None:
        return None if shutil.which(self.name) else self.name

    def environment(self, place: Path) -> dict[str, str]:
        """What it is told beside its arguments; nothing of the user's is read or written."""
        raise NotImplementedError

    def run(self, place: Path, *arguments: str | Path, into: Path | None = None) -> float:
        """Runs it to its end; its output goes `into` a file or nowhere. Seconds."""
        begun = time.perf_counter()
        with (into or Path(os.devnull)).open("wb") as output:
            done = subprocess.run(
                [self.name, *arguments],
                cwd=place,
                env={**os.environ, **self.environment(place)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                timeout=RUN_S,
                check=False,
            )
        if done.returncode:
            said = done.stderr.decode(errors="replace")[-2000:]
            raise BenchError(f"{self.name} failed with {done.returncode}\n{said}")
        return time.perf_counter() - begun


class Cp(Command):
    name = "cp"

    def environment(self, place: Path) -> dict[str, str]:
        return {"HOME": str(place)}

    def put(self, place: Path, source: Path) -> float:
        took = self.run(place, "-r", source, "kept")
        begun = time.perf_counter()
        os.sync()
        return took + time.perf_counter() - begun

    def get(self, kept: Kept, target: Path) -> float:
        return self.run(kept.place, "kept", target)


class Git(Command):
    name = "git"

    def environment(self, place: Path) -> dict[str, str]:
        return {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_DIR": str(place / "git"),
        }

    def begin(self, place: Path) -> None:
        self.run(place, "init", "--quiet", "--bare")

    def put(self, place: Path, source: Path) -> float:
        folder, name = (source, ".") if source.is_dir() else (source.parent, source.name)
        options = ["-c", "core.bare=false", "-c", "core.fsync=all", f"--work-tree={folder}"]
        return self.run(place, *options, "-C", folder, "add", name)

    def get(self, kept: Kept, target: Path) -> float:
        return self.run(kept.place, "cat-file", "blob", f":{kept.source.name}", into=target)


class Restic(Command):
    name = "restic"

    def environment(self, place: Path) -> dict[str, str]:
        return {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(place / "repository")}

    def begin(self, place: Path) -> None:
        self.run(place, "--no-cache", "init")

    def put(self, place: Path, source: Path) -> float:
        return self.run(place, "--no-cache", "backup", source)

    def get(self, kept: Kept, target: Path) -> float:
        return self.run(kept.place, "--no-cache", "dump", "latest", kept.source, into=target)


class Borg(Command):
    name = "borg"

    def environment(self, place: Path) -> dict[str, str]:
        return {
            "BORG_REPO": str(place / "repository"),
            "BORG_BASE_DIR": str(place),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }

    def begin(self, place: Path) -> None:
        self.run(place, "init", "-e", "none")

    def put(self, place: Path, source: Path) -> float:
        return self.run(place, "create", "::kept", source)

    def get(self, kept: Kept, target: Path) -> float:
        return self.run(kept.place, "extract", "--stdout", "::kept", into=target)


def told(program: Path, *arguments: str | Path) -> float:
    """The seconds that our program says its work took."""
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=RUN_S, check=False
    )
    if done.returncode:
        raise BenchError(f"{program.name} {arguments[0]} failed\n{done.stderr}")
    return float(done.stdout or 0)


def forget(folder: Path) -> None:
    """Takes what lies below it from the page cache."""
    for path in files(folder):
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def hollow(folder: Path) -> None:
    """Gives back what lies below it, and deletes no file."""
    for path in files(folder):
        path.chmod(0o600)
        os.truncate(path, 0)


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
