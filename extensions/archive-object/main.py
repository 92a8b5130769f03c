"""archive-object: an archive in an object store. Only this file knows the bus."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

import archive_config
from archive_place import Place, not_found
from archive_uploads import Uploads

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

CAPABILITY = "pit.archive/1"
REFERENCE = re.compile(r"blake3:[0-9a-f]{64}\Z")
MOST_GIVEN = 1 << 20
MOST_LISTED = 1000
NO_PLACE = 6  # exit code where the configuration cannot be used


def extension(place: Place) -> Extension:
    """The archive on the bus."""
    ext = Extension()
    uploads = Uploads(place)

    @ext.provides(CAPABILITY, "begin")
    def begin(_ctx: Context, ref: str, bytes: int, **_: Any) -> dict[str, Any]:  # noqa: A002
        return {"upload": uploads.begin(_checked(ref), bytes)}

    @ext.provides(CAPABILITY, "part")
    def part(_ctx: Context, upload: str, offset: int, data: bytes, **_: Any) -> dict[str, Any]:
        uploads.part(upload, offset, data)
        return {}

    @ext.provides(CAPABILITY, "commit")
    def commit(_ctx: Context, upload: str, **_: Any) -> dict[str, Any]:
        ref, length = uploads.commit(upload)
        return {"ref": ref, "bytes": length}

    @ext.provides(CAPABILITY, "get")
    def get(
        _ctx: Context, ref: str, offset: int = 0, limit: int = MOST_GIVEN, **_: Any
    ) -> dict[str, Any]:
        length, _since = _there(ref)
        if not 0 <= offset <= length:
            raise BusError("bad-request", f"there are {length} bytes", where="offset")
        wanted = min(max(limit, 1), MOST_GIVEN, length - offset)
        data = place.read(ref, offset, wanted)
        return {"data": data, "bytes": length, "more": offset + wanted < length}

    @ext.provides(CAPABILITY, "stat")
    def stat(_ctx: Context, ref: str, **_: Any) -> dict[str, Any]:
        length, since = _there(ref)
        return {"bytes": length, "since": since.isoformat().replace("+00:00", "Z")}

    @ext.provides(CAPABILITY, "list")
    def list_(
        _ctx: Context, after: str | None = None, limit: int = MOST_LISTED, **_: Any
    ) -> dict[str, Any]:
        limit = min(max(limit, 1), MOST_LISTED)
        rows = place.listed(None if after is None else _checked(after), limit)
        items = [{"ref": ref, "bytes": length} for ref, length in rows[:limit]]
        return {"items": items} | ({"next": items[-1]["ref"]} if len(rows) > limit else {})

    @ext.provides(CAPABILITY, "delete")
    def delete(ctx: Context, ref: str, why: str, **_: Any) -> dict[str, Any]:
        if not 1 <= len(why) <= 1024:
            raise BusError("bad-request", "give a reason of 1 to 1024 characters", where="why")
        if place.stat(_checked(ref)) is None:
            return {"deleted": False}
        place.delete(ref)
        ctx.log.info("deleted", ref=ref, why=why)
        return {"deleted": True}

    def _there(ref: str) -> Any:
        found = place.stat(_checked(ref))
        if found is None:
            raise not_found(ref)
        return found

    return ext


def _checked(ref: str) -> str:
    if REFERENCE.match(ref) is None:
        raise BusError(
            "bad-request", "this is no reference: blake3: and 64 hex digits", where="ref"
        )
    return ref


def _end(what: str, remedy: str) -> NoReturn:
    """As the kernel reads why a member of the Pit cannot open its store."""
    print(f"error: {what}\nhelp: {remedy}", file=sys.stderr, flush=True)
    raise SystemExit(NO_PLACE)


def main() -> None:
    """Serves the archive that the configuration beside `--store` names."""
    parser = argparse.ArgumentParser(description="An archive in an object store.")
    parser.add_argument("--store", type=Path, required=True)
    store: Path = parser.parse_args().store
    try:
        place = Place(archive_config.load(store, os.environ))
    except archive_config.ConfigError as error:
        _end(str(error), error.remedy)
    except BusError as error:
        _end(error.message, error.help or "correct the configuration")
    except OSError as error:
        _end(f"{error.filename}: {error.strerror}", "make it readable")
    extension(place).run()


if __name__ == "__main__":
    main()
