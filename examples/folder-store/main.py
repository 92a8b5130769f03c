"""folder-store: an Artifact Store in plain folders. Only this file knows the bus."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import store_below as below
from msgspec import Struct
from store import Store
from store_audit import Record, now
from store_backup import backup
from store_contents import Contents, Wanted
from store_curation import Curation
from store_disk import UnusableError
from store_known import Known
from store_names import About, Made, absolute, bad, check_reference, instant, relative

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

CAPABILITY = "pit.artifacts/1"
NO_STORE = 6  # exit code where the store cannot be opened
MOST_FILES = 100_000
LONGEST_BY = 128
F = TypeVar("F", bound=Callable[..., Any])


class PutItem(Struct):
    """One content of `put_many`."""

    data: bytes
    name: str | None = None
    media: str | None = None
    made: Made | None = None


class CollectItem(Struct):
    """One thing to collect."""

    name: str
    path: str
    media: str | None = None


class Limits(Struct):
    """What a `collect` may take."""

    bytes: int = 1 << 30
    files: int = 10_000


class StageItem(Struct):
    """One artifact and where it goes."""

    ref: str
    path: str


def extension(store: Store) -> Extension:
    """The store on the bus."""
    ext = Extension()
    contents, known, curation = Contents(store), Known(store), Curation(store)

    def method(name: str) -> Callable[[F], F]:
        """Registers a method; every one takes what else callers say (`by`), and ignores it."""

        def register(target: F) -> F:
            ext.provides(CAPABILITY, name)(_served(store, name, target))
            return target

        return register

    @method("put")
    def put(
        _ctx: Context,
        data: bytes,
        ts: str,
        name: str | None = None,
        media: str | None = None,
        made: Made | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        return contents.put([(data, About(ts, name, media, made))])[0]

    @method("put_many")
    def put_many(_ctx: Context, items: list[PutItem], ts: str, **_: Any) -> dict[str, Any]:
        wanted = [(item.data, About(ts, item.name, item.media, item.made)) for item in items]
        return {"items": contents.put(wanted)}

    @method("begin")
    def begin(
        _ctx: Context,
        ref: str,
        bytes: int,  # noqa: A002 - the contract's word
        ts: str | None = None,
        name: str | None = None,
        media: str | None = None,
        made: Made | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        about = About(ts or now(), name, media, made)
        return {"upload": contents.uploads.begin(ref, bytes, about)}

    @method("part")
    def part(_ctx: Context, upload: str, offset: int, data: bytes, **_: Any) -> dict[str, Any]:
        contents.uploads.part(upload, offset, data)
        return {}

    @method("commit")
    def commit(_ctx: Context, upload: str, **_: Any) -> dict[str, Any]:
        return contents.commit(upload)

    @method("get")
    def get(
        _ctx: Context, ref: str, offset: int = 0, limit: int = 262_144, **_: Any
    ) -> dict[str, Any]:
        return contents.get(ref, offset, limit)

    @method("collect")
    def collect(
        _ctx: Context,
        folder: str,
        items: list[CollectItem],
        ts: str,
        made: Made | None = None,
        limits: Limits = Limits(),  # noqa: B008 - never changed
        **_: Any,
    ) -> dict[str, Any]:
        if not 0 <= limits.files <= MOST_FILES:
            raise bad("limits.files", f"the limit is over {MOST_FILES}")
        wanted = [
            Wanted(
                relative(item.path, f"items[{number}].path"),
                About(ts, item.name, item.media, made),
            )
            for number, item in enumerate(items)
        ]
        left = below.Limits(limits.bytes, limits.files, limits.files)
        return {"items": contents.collect(absolute(folder), wanted, left)}

    @method("stage")
    def stage(
        _ctx: Context, folder: str, items: list[StageItem], mode: str = "read-only", **_: Any
    ) -> dict[str, Any]:
        if mode not in ("read-only", "writable"):
            raise bad("mode", "the mode is read-only or writable")
        wanted = [
            (item.ref, relative(item.path, f"items[{number}].path"))
            for number, item in enumerate(items)
        ]
        staged = contents.stage(absolute(folder), wanted, writable=mode == "writable")
        return {"items": staged}

    @method("stat")
    def stat(_ctx: Context, refs: list[str], **_: Any) -> dict[str, Any]:
        return {"artifacts": known.stat(refs)}

    @method("list")
    def list_(
        _ctx: Context,
        name: str | None = None,
        run: str | None = None,
        step: str | None = None,
        player: str | None = None,
        limit: int = 100,
        after: str | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        asked = {"name": name, "run": run, "step": step, "player": player}
        wanted = {word: value for word, value in asked.items() if value is not None}
        return known.listed(wanted, limit, after)

    @method("listing")
    def listing(_ctx: Context, ref: str, **_: Any) -> dict[str, Any]:
        return {"files": known.listing(ref)}

    @method("verify")
    def verify(
        _ctx: Context, after: str | None = None, limit: int | None = None, **_: Any
    ) -> dict[str, Any]:
        return known.verify(None if after is None else check_reference(after, "after"), limit)

    @method("configure")
    def configure(_ctx: Context, grace_s: int = 86_400, **_: Any) -> dict[str, Any]:
        curation.configure(grace_s)
        return {"digest": hashlib.sha256(b"grace_s %d" % grace_s).hexdigest()}

    @method("mark")
    def mark(_ctx: Context, refs: list[str], why: str, ts: str, **_: Any) -> dict[str, Any]:
        return {"marked": curation.mark(refs, why, ts)}

    @method("unmark")
    def unmark(_ctx: Context, refs: list[str], ts: str, **_: Any) -> dict[str, Any]:
        del ts
        curation.unmark(refs)
        return {}

    @method("sweep")
    def sweep(
        _ctx: Context, refs: list[str], proofs: list[dict[str, Any]], ts: str, **_: Any
    ) -> dict[str, Any]:
        return curation.sweep(refs, proofs, ts)

    @method("pack")
    def pack(_ctx: Context, refs: list[str], **_: Any) -> dict[str, Any]:
        """Objects are as they came: nothing gets smaller."""
        known.stat(refs)
        return {"packed": []}

    @method("rotate")
    def rotate(_ctx: Context, **_: Any) -> None:
        raise bad("keys", "this store has no keys: nothing of it is sealed")

    @method("versions")
    def versions(
        _ctx: Context, name: str, before: int | None = None, limit: int = 100, **_: Any
    ) -> dict[str, Any]:
        return known.versions(name, before, limit)

    @method("diff")
    def diff(_ctx: Context, a: str, b: str, context: int = 3, **_: Any) -> dict[str, Any]:
        return known.diff(a, b, context)

    @method("lineage")
    def lineage(
        _ctx: Context,
        ref: str,
        depth: int = 10,
        way: str = "both",
        format: str = "graph",  # noqa: A002 - the contract's word
        **_: Any,
    ) -> dict[str, Any]:
        return known.lineage(ref, depth, way, format)

    @method("search")
    def search(
        _ctx: Context,
        name: str | None = None,
        tag: str | None = None,
        player: str | None = None,
        quality: int | None = None,
        text: str | None = None,
        limit: int = 20,
        after: str | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        asked = {"name": name, "tag": tag, "player": player}
        wanted = {word: value for word, value in asked.items() if value is not None}
        return known.search(wanted, text, quality, limit, after)

    @method("tag")
    def tag_(
        _ctx: Context,
        ref: str,
        ts: str,
        add: list[str] | None = None,
        remove: list[str] | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        del ts
        return {"tags": known.tag(ref, add or [], remove or [])}

    @method("tags")
    def tags(
        _ctx: Context, ref: str | None = None, after: str = "", limit: int = 100, **_: Any
    ) -> dict[str, Any]:
        return known.all_tags(after, limit) if ref is None else {"tags": known.tags(ref)}

    @method("score")
    def score(
        _ctx: Context,
        ref: str,
        ts: str,
        structure: int | None = None,
        semantics: int | None = None,
        utility: int | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        del ts
        asked = {"structure": structure, "semantics": semantics, "utility": utility}
        return known.score(ref, {part: n for part, n in asked.items() if n is not None})

    @method("use")
    def use(_ctx: Context, ref: str, by: str, ts: str, **_: Any) -> dict[str, Any]:
        del ts
        return {"uses": known.use(ref, by)}

    @method("backup")
    def backup_(
        _ctx: Context,
        id: str,  # noqa: A002 - the contract's word
        to: str,
        ts: str | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        made = backup(store, id, absolute(to), ts or now())
        store.note([])
        return made

    @method("audit")
    def audit(_ctx: Context, after: int = 0, limit: int = 100, **_: Any) -> dict[str, Any]:
        return known.audit(after, limit)

    return ext


def _served(store: Store, name: str, target: F) -> Callable[..., Any]:
    """A method of the store: put on record, and with the disk's faults as errors of the bus."""

    @wraps(target)
    def answered(ctx: Context, **args: Any) -> Any:
        by = args.get("by")
        if by is not None and not (isinstance(by, str) and 1 <= len(by.encode()) <= LONGEST_BY):
            raise bad("by", f"the caller's name has not 1 to {LONGEST_BY} bytes")
        items = args.get("items")
        first = items[0] if isinstance(items, list) and items else None
        made = args.get("made") or getattr(first, "made", None) or Made()
        ts = args.get("ts")
        at = ts if ts is not None and instant(ts) is not None else now()
        record = Record(at, name, [], by, made.run, made.step)
        try:
            with store.call(record):
                return target(ctx, **args)
        except OSError as error:
            raise BusError(
                "io",
                f"the store's disk fails: {error.strerror}",
                where=str(error.filename or ""),
                help="free space on the store's disk, or make it writable; then repeat the call",
            ) from error

    return answered


def _end(what: str, remedy: str) -> NoReturn:
    """As the kernel reads why a member of the Pit cannot open its store."""
    print(f"error: {what}\nhelp: {remedy}", file=sys.stderr, flush=True)
    raise SystemExit(NO_STORE)


def main() -> None:
    """Opens the store that `--store` names and serves it."""
    parser = argparse.ArgumentParser(description="An Artifact Store in plain folders.")
    parser.add_argument("--store", type=Path, required=True)
    place: Path = parser.parse_args().store
    try:
        store = Store(place)
    except UnusableError as error:
        _end(str(error), error.remedy)
    except OSError as error:
        _end(f"{error.filename or place}: {error.strerror}", "make it readable and writable")
    extension(store).run()


if __name__ == "__main__":
    main()
