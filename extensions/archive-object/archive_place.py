"""The place far away: objects by reference, over `obstore`, and its errors as the bus has them."""

from __future__ import annotations

import heapq
import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import obstore
from archive_config import Settings
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, from_url

from symphony.bus.errors import BusError

if TYPE_CHECKING:
    from obstore import WritableFile

BUFFER: Final = 8 << 20  # bytes of one request of a long upload
MOST_REQUESTS: Final = 10_000  # of one upload, as S3 has it
FOLDER: Final = "blake3"
SLOW_DOWN: Final = re.compile(r"status code: (429|503)\b|SlowDown|TooManyRequests|ServerBusy")
RETRY_MS: Final = 1_000
LONGEST_SHOWN: Final = 300


class Place:
    """One bucket or folder."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is asked of the place yet. Raises BusError for options that it does not know."""
        self._settings = settings
        self.folder: Path | None = None
        with self._faults("be opened"):
            self._store: Any = self._open(settings)

    def _open(self, settings: Settings) -> object:
        if settings.scheme == "file":
            self.folder = Path(unquote(urlsplit(settings.url).path))
            self._tidy(self.folder / FOLDER)
            return LocalStore(self.folder, mkdir=True)
        timeout = timedelta(seconds=settings.timeout_s)
        endpoint = str(settings.options.get("endpoint", ""))
        open_url: Any = from_url  # its types ask for one kind of place; the URL tells which
        try:
            return open_url(
                settings.url,
                config=settings.options,
                client_options={
                    "timeout": timeout,
                    "connect_timeout": timeout,
                    "allow_http": endpoint.startswith("http://"),
                },
                retry_config={
                    "max_retries": settings.retries,
                    "retry_timeout": timeout * (settings.retries + 1),
                },
            )
        except BaseException as error:
            # Of options that it does not know obstore panics, and exports no name for that.
            if type(error).__name__ != "PanicException":
                raise
            raise ValueError(f"an option is not known: {error}") from None

    def writer(self, ref: str) -> WritableFile:
        """A new object, which is there once it is closed."""
        with self._faults("take an artifact"):
            return obstore.open_writer(
                self._store, _key(ref), buffer_size=BUFFER, max_concurrency=1
            )

    def write(self, file: WritableFile, data: bytes) -> None:
        """The next bytes of a new object."""
        with self._faults("take an artifact"):
            file.write(data)

    def close(self, file: WritableFile, ref: str, length: int) -> None:
        """Ends a new object, which must then be there whole."""
        with self._faults("take an artifact"):
            file.close()
        if self.folder is not None:
            _sync(self.folder / _key(ref))
            _sync((self.folder / _key(ref)).parent)
        found = self.stat(ref)
        if found is None or found[0] != length:
            came = "nothing" if found is None else f"{found[0]} bytes"
            raise self._io(f"it was given {length} bytes of {ref} and has {came}")

    def stat(self, ref: str) -> tuple[int, datetime] | None:
        """How long an object is and since when; None if it is not there."""
        with self._faults("be asked"):
            try:
                found = obstore.head(self._store, _key(ref))
            except FileNotFoundError:
                return None
            return found["size"], found["last_modified"]

    def read(self, ref: str, offset: int, length: int) -> bytes:
        """Bytes of an object that is there."""
        if length == 0:
            return b""
        with self._faults("give an artifact back"):
            try:
                data = obstore.get_range(
                    self._store, _key(ref), start=offset, end=offset + length
                ).to_bytes()
            except FileNotFoundError:
                raise not_found(ref) from None
        if len(data) != length:
            raise self._io(f"it gave {len(data)} of {length} bytes of {ref}")
        return data

    def listed(self, after: str | None, limit: int) -> list[tuple[str, int]]:
        """The next objects by reference, one more than the limit if there is one."""
        with self._faults("be listed"):
            behind = None if after is None else _key(after)
            batches = obstore.list(self._store, FOLDER, offset=behind)
            found = (
                (f"blake3:{meta['path'].rpartition('/')[2]}", meta["size"])
                for batch in batches
                for meta in batch
            )
            rows = (row for row in found if after is None or row[0] > after)
            if self.folder is not None:  # which lists in any order
                return heapq.nsmallest(limit + 1, rows)
            page = list(itertools.islice(rows, limit + 1))
        if page != sorted(page):
            raise self._io("it does not list by name")
        return page

    def delete(self, ref: str) -> None:
        """The object is not there when this returns."""
        with self._faults("delete an artifact"):
            obstore.delete(self._store, _key(ref))
        if self.folder is not None:
            _sync((self.folder / _key(ref)).parent)

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        """The place's errors as errors of the bus, without a secret in them."""
        try:
            yield
        except (BaseError, OSError, ValueError, TypeError) as error:
            told = str(error).strip()
            text = self._settings.hidden(told.partition("\n")[0])[:LONGEST_SHOWN]
            if SLOW_DOWN.search(told):
                message = f"the archive asks to slow down: {text}"
                raise BusError("overloaded", message, retry_after_ms=RETRY_MS) from None
            help_ = "see that it is there, has room and can be reached, then try again"
            if isinstance(error, PermissionDeniedError | UnauthenticatedError):
                help_ = "check the credentials that its configuration names, and their rights"
            raise self._io(f"it cannot {what}: {text}", help_) from None

    def _io(self, message: str, help_: str | None = None) -> BusError:
        where = self._settings.hidden(self._settings.url)
        return BusError(
            "io", f"the archive fails: {message}", where=where, help=help_, fault="environment"
        )

    @staticmethod
    def _tidy(folder: Path) -> None:
        """Removes what uploads left that a former process did not end."""
        if folder.is_dir():
            for path in folder.iterdir():
                if "#" in path.name:
                    path.unlink()


def not_found(ref: str) -> BusError:
    """The archive has no such artifact."""
    return BusError("not-found", f"the archive does not have {ref}", where="ref")


def _key(ref: str) -> str:
    return f"{FOLDER}/{ref.removeprefix('blake3:')}"


def _sync(path: Path) -> None:
    way = os.open(path, os.O_RDONLY)
    try:
        os.fsync(way)
    finally:
        os.close(way)
