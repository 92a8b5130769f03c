"""The files of a backup: their list with sizes and hashes, and how they are copied and checked.

A backup is a folder with `manifest.json`, written last, `files.jsonl`, a line for each entry of
`home/`, and `home/` itself, as it stands in a home. The manifest has the hash of the list, the list
those of the files.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from blake3 import blake3
from msgspec import Meta, Struct

from .errors import ExitCode, SymphonyError
from .places import SETTINGS
from .wholefiles import open_plain, read_plain

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
FILES: Final = "files.jsonl"
TREE: Final = "home"
LOCK: Final = "kernel.lock"  # of a home: never part of a backup
CHUNK: Final = 1 << 20
MOST_MANIFEST: Final = 16 << 20  # bytes
MOST_LIST: Final = 4 << 30
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Progress = Callable[[str, int, int], None]
"""Hears what is being done, and of how many files and bytes it was."""


class CancelledWorkError(Exception):
    """Whoever asked for the work wants it no more."""


class Entry(Struct, frozen=True, omit_defaults=True):
    """One line of the list: a file, a folder, or a link (of an extension that was linked in)."""

    path: str
    kind: Literal["file", "folder", "link"] = "file"
    bytes: int = 0
    blake3: str = ""
    mode: Annotated[int, Meta(ge=0, le=0o777)] = 0o600
    target: str = ""  # of a link


class Note(Struct, frozen=True):
    """Something of the home that is not in the backup, or in it as it is: damaged."""

    path: Annotated[str, Meta(description="below the home")]
    why: Annotated[str, Meta(description="the reason")]


class StoreInfo(Struct, frozen=True):
    """Whose store a folder is."""

    capability: Annotated[str, Meta(description="that its member provides")]
    extension: Annotated[str, Meta(description="name of the extension")]
    version: Annotated[str, Meta(description="version of the extension")]
    folder: Annotated[str, Meta(description="below the home")]


class Manifest(Struct, frozen=True, kw_only=True):
    """`manifest.json`, and the answer of `backup DEST --json`."""

    format: Annotated[int, Meta(description="of the backup: 1")] = FORMAT
    made: Annotated[str, Meta(description="when it was begun: RFC 3339, UTC")]
    kernel: Annotated[str, Meta(description="version of the kernel that made it")]
    home: Annotated[str, Meta(description="of which home it is")]
    path: Annotated[str, Meta(description="where it was made")]
    stores: Annotated[list[StoreInfo], Meta(description="of which members")]
    secrets: Annotated[bool, Meta(description="whether keys are in it")]
    files: Annotated[int, Meta(ge=0, description="how many")]
    bytes: Annotated[int, Meta(ge=0, description="of all files")]
    artifacts: Annotated[int, Meta(ge=0, description="contents in the Artifact Store's copy")]
    list_blake3: Annotated[str, Meta(description="hash of files.jsonl")]
    left_out: Annotated[list[Note], Meta(description="what of the home is not in it")]
    damaged: Annotated[list[Note], Meta(description="what was damaged already: in it as it is")]


def _read_whole(path: Path, most: int) -> bytes:
    """A file of the backup's own. Raises FileNotFoundError, NotADirectoryError, `SymphonyError`."""
    try:
        data = read_plain(path, most + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise damaged(path, f"this cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise damaged(path, f"this is longer than {most >> 20} MiB")
    return data


def hash_file(path: Path, stop: threading.Event, copy_to: Path | None = None) -> tuple[str, int]:
    """BLAKE3 in hex and length; with `copy_to` the bytes are copied there, not yet durably."""
    hasher, size = blake3(), 0
    with contextlib.ExitStack() as opened:
        source = open_plain(path)
        opened.callback(os.close, source)
        sink = None
        if copy_to is not None:
            sink = os.open(copy_to, _NEW, 0o600)
            opened.callback(os.close, sink)
        while data := os.read(source, CHUNK):
            if stop.is_set():
                raise CancelledWorkError
            hasher.update(data)
            size += len(data)
            if sink is not None:
                _write(sink, data)
    return hasher.hexdigest(), size


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def copy_tree(source: Path, target: Path, stop: threading.Event) -> None:
    """A folder as it is, links as links; what is neither file, folder nor link is left out."""
    target.mkdir(mode=0o700)
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        copy_entry(Path(entry.path), target / entry.name, stop)


def copy_entry(source: Path, target: Path, stop: threading.Event) -> None:
    """A file, folder or link as it is."""
    mode = source.lstat().st_mode
    if stat.S_ISLNK(mode):
        target.symlink_to(source.readlink())
    elif stat.S_ISDIR(mode):
        copy_tree(source, target, stop)
    elif stat.S_ISREG(mode):
        hash_file(source, stop, target)
        target.chmod(stat.S_IMODE(mode) & 0o700 | 0o400)


def listed(tree: Path, stop: threading.Event, progress: Progress) -> Iterator[Entry]:
    """Every entry below `tree`, folders before what is in them; files are read and hashed."""
    count = size = 0
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for entry in sorted(os.scandir(tree / folder), key=lambda entry: entry.name):
            path = f"{folder}/{entry.name}" if folder else entry.name
            found = entry.stat(follow_symlinks=False)
            if entry.is_symlink():
                target = str(Path(entry.path).readlink())
                yield Entry(path, "link", target=target)
            elif entry.is_dir():
                waiting.append(path)
                yield Entry(path, "folder", mode=stat.S_IMODE(found.st_mode) & 0o777)
            else:
                digest, length = hash_file(Path(entry.path), stop)
                count, size = count + 1, size + length
                progress("hashing", count, size)
                yield Entry(path, "file", length, digest, stat.S_IMODE(found.st_mode) & 0o777)


def write_list(backup: Path, entries: Iterator[Entry]) -> tuple[str, int, int]:
    """Writes the list; its hash, and how many files and bytes it names."""
    hasher, files, size = blake3(), 0, 0
    with (backup / FILES).open("xb") as file:
        for entry in entries:
            line = msgspec.json.encode(entry) + b"\n"
            hasher.update(line)
            file.write(line)
            files += entry.kind == "file"
            size += entry.bytes
    return hasher.hexdigest(), files, size


def write_manifest(backup: Path, manifest: Manifest) -> None:
    """Writes it durably, once all else is durable: from here on the backup is whole."""
    sync_all(backup)
    with (backup / MANIFEST).open("xb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(backup)


def sync_all(folder: Path) -> None:
    """Makes durable what was written to the folder's file system: far faster than file by file, and
    it tells of what could not be written. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Makes durable what entries a folder has."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(backup: Path) -> Manifest:
    """What the backup says of itself. Raises `SymphonyError` where it is none."""
    try:
        raw = _read_whole(backup / MANIFEST, MOST_MANIFEST)
    except FileNotFoundError:
        raise SymphonyError(
            ExitCode.NOT_FOUND,
            "this is no backup: it has no manifest",
            where=str(backup / MANIFEST),
            help="name a folder that `symphony-kernel backup` made",
        ) from None
    except NotADirectoryError:
        raise SymphonyError(
            ExitCode.NOT_FOUND, "this is no folder", where=str(backup), help="name a backup"
        ) from None
    try:
        number = msgspec.json.decode(raw, type=_Format).format
        if number > FORMAT:
            raise SymphonyError(
                ExitCode.IO,
                f"the backup has the newer format {number}",
                where=str(backup / MANIFEST),
                help="restore it with the version that made it, or a later one",
            )
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as error:
        raise damaged(backup / MANIFEST, f"the manifest cannot be read: {error}") from error


class _Format(Struct):
    format: int


def read_list(backup: Path, manifest: Manifest) -> list[Entry]:
    """The entries, whose list is what the manifest says. Raises `SymphonyError` else."""
    path = backup / FILES
    try:
        raw = _read_whole(path, MOST_LIST)
    except FileNotFoundError:
        raise damaged(path, "the list of files is missing") from None
    if blake3(raw).hexdigest() != manifest.list_blake3:
        raise damaged(path, "the list of files is not the one that was written")
    try:
        entries = [msgspec.json.decode(line, type=Entry) for line in raw.splitlines()]
    except msgspec.DecodeError as error:
        raise damaged(path, f"the list of files cannot be read: {error}") from error
    seen: set[str] = set()
    for entry in entries:
        parts = entry.path.split("/")
        if {"", ".", ".."} & set(parts) or "\0" in entry.path or parts[0] == LOCK:
            raise damaged(path, f"the list names {entry.path!r}, which lies elsewhere")
        if entry.kind == "link" and parts[0] not in SETTINGS:
            raise damaged(path, f"the list has a link {entry.path!r}, which leads elsewhere")
        if entry.path in seen:
            raise damaged(path, f"the list names {entry.path!r} twice")
        seen.add(entry.path)
    return entries


def damaged(path: Path, message: str) -> SymphonyError:
    """Something of a backup is not as it was written."""
    return SymphonyError(
        ExitCode.IO,
        message,
        where=str(path),
        help="use another backup; `symphony-kernel verify BACKUP` names all that is damaged",
        fault="environment",
        name="corrupt",
    )
