"""`pit.artifacts/1`: outboxes taken in, inboxes filled, and nothing planted in them followed."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

from .contents import HELLO, NEVER, TREE, TREE_REF, TREE_REFS, TS
from .suite import Checks, Subject, fits, holds

CHECKS = Checks()


def plant(folder: Path) -> Path:
    """The known tree at `folder`/src."""
    for path, data, executable in TREE:
        file = folder / "src" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755 if executable else 0o644)
    return folder


def plant_socket(folder: Path, name: str) -> None:
    """A socket in the folder, however long the folder's own path is."""
    way = os.open(folder, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{way}/{name}")
    finally:
        os.close(way)


def place(subject: Subject, name: str) -> Path:
    """An empty folder."""
    folder = subject.folder / name
    folder.mkdir()
    return folder


async def collected(subject: Subject, folder: Path, *paths: str, **more: object) -> Any:
    """What `collect` answers for these paths, each named as its path."""
    items = [{"name": path, "path": path} for path in paths]
    return await subject.ask("collect", folder=str(folder), items=items, ts=TS, **more)


async def not_collected(
    subject: Subject, code: str, folder: Path, path: str, **more: object
) -> None:
    """That the path is refused, by name, and that nothing was taken."""
    items = [{"name": "good", "path": "good"}, {"name": "bad", "path": path}]
    (folder / "good").write_bytes(HELLO.data)
    error = await subject.refused(code, "collect", folder=str(folder), items=items, ts=TS, **more)
    told = f"{error.message} {error.where or ''}"
    holds(path.rpartition("/")[2] in told, f"an error that names {path!r}", told)
    await subject.refused("not-found", "stat", refs=[HELLO.ref])


@CHECKS.add(
    "the hash of its listing, a msgpack array of `[path, mode, reference, bytes]` sorted by"
)
async def a_folder_is_collected_and_listed(subject: Subject) -> None:
    outbox = plant(place(subject, "outbox"))
    (outbox / "report").write_bytes(HELLO.data)
    reply = await collected(subject, outbox, "src", "report", made={"run": "r-1"})
    folder = {"name": "src", "ref": TREE_REF, "kind": "folder", "bytes": 3, "files": 2, "new": True}
    file = {"name": "report", "ref": HELLO.ref, "kind": "file", "bytes": 6, "files": 1, "new": True}
    fits(reply, {"items": [folder, file]})
    listing = await subject.ask("listing", ref=TREE_REF)
    expected = [
        {"path": path, "mode": 0o755 if executable else 0o644, "ref": ref, "bytes": len(data)}
        for (path, data, executable), ref in zip(TREE, TREE_REFS, strict=True)
    ]
    fits(listing, {"files": expected})
    info = {"ref": TREE_REF, "kind": "folder", "bytes": 3, "files": 2, "name": "src"}
    fits(await subject.ask("stat", refs=[TREE_REF]), {"artifacts": [info]})
    fits(await subject.ask("get", ref=TREE_REFS[0]), {"data": TREE[0][1], "kind": "file"})


@CHECKS.add("Every method may be repeated: the same arguments have one effect")
async def collect_again_has_no_further_effect(subject: Subject) -> None:
    outbox = plant(place(subject, "outbox"))
    await collected(subject, outbox, "src")
    fits(await collected(subject, outbox, "src"), {"items": [{"ref": TREE_REF, "new": False}]})
    names = [info["name"] for info in (await subject.ask("list"))["artifacts"]]
    fits(names, ["src"], "the names listed")


@CHECKS.add(
    "is the sum of its files' lengths, except in `get`, where it is the length of the listing"
)
async def get_of_a_folder_gives_its_listing(subject: Subject) -> None:
    await collected(subject, plant(place(subject, "outbox")), "src")
    reply = await subject.ask("get", ref=TREE_REF)
    fits(reply, {"kind": "folder", "bytes": len(reply["data"]), "more": False})
    head = b"symphony-folder 1\x92\x94\xa5b.txt"
    fits(reply["data"][: len(head)], head, "how it begins")


@CHECKS.add("after the 17 bytes `symphony-folder 1`; `mode` is 0o644 or 0o755")
async def the_same_tree_has_the_same_reference(subject: Subject) -> None:
    outbox = plant(place(subject, "outbox"))
    other = place(subject, "other")
    for path, data, executable in reversed(TREE):
        file = other / "again" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o700 if executable else 0o600)
    (other / "again" / "empty").mkdir()
    await collected(subject, outbox, "src")
    fits(await collected(subject, other, "again"), {"items": [{"ref": TREE_REF, "new": False}]})


@CHECKS.add("A reply to a *durable* method is sent only when blob and index are on disk")
async def a_collected_folder_survives_a_kill(subject: Subject) -> None:
    await collected(subject, plant(place(subject, "outbox")), "src")
    await subject.restart()
    inbox = place(subject, "inbox")
    await subject.ask("stage", folder=str(inbox), items=[{"ref": TREE_REF, "path": "src"}])
    for path, data, _ in TREE:
        fits((inbox / "src" / path).read_bytes(), data, path)


@CHECKS.add(
    "a symlink, device, socket or hard link (link count over 1) is `bad-request` naming the"
)
async def collect_takes_nothing_but_files_and_folders(subject: Subject) -> None:
    secret = subject.folder / "secret"
    secret.write_bytes(b"not for the store")
    outbox = place(subject, "outbox")
    (outbox / "link").symlink_to(secret)
    (outbox / "to-folder").symlink_to(subject.folder)
    os.mkfifo(outbox / "fifo")
    os.link(secret, outbox / "hard")
    (outbox / "tree").mkdir()
    (outbox / "tree" / "inner").symlink_to(secret)
    plant_socket(outbox, "socket")
    for path in ("link", "to-folder", "fifo", "hard", "socket", "tree/inner", "tree"):
        await not_collected(subject, "bad-request", outbox, path)


@CHECKS.add(
    "Opened with O_NOFOLLOW step by step below `folder`; the last part of `folder` itself must"
)
async def collect_follows_no_symlink_on_the_way(subject: Subject) -> None:
    outbox = plant(place(subject, "outbox"))
    (outbox / "way").symlink_to(outbox / "src")
    await not_collected(subject, "bad-request", outbox, "way/b.txt")
    (subject.folder / "door").symlink_to(outbox)
    items = [{"name": "x", "path": "src"}]
    door = str(subject.folder / "door")
    await subject.refused("bad-request", "collect", folder=door, items=items, ts=TS)


@CHECKS.add(
    "A path is relative, ≤ 4,096 bytes of UTF-8, without empty, `.` or `..` parts and without"
)
async def paths_are_plain(subject: Subject) -> None:
    outbox = plant(place(subject, "outbox"))
    await subject.ask("put", data=HELLO.data, ts=TS)
    for path in ("", "/src", "../outbox/src", "src/../src", "./src", "src//b.txt", "src/", "a\0b"):
        items = [{"name": "x", "path": path}]
        await subject.refused("bad-request", "collect", folder=str(outbox), items=items, ts=TS)
        asked = [{"ref": HELLO.ref, "path": path}]
        await subject.refused("bad-request", "stage", folder=str(outbox), items=asked)
    for folder in ("outbox", f"{outbox}/", f"{outbox}/../outbox"):
        items = [{"name": "x", "path": "src"}]
        await subject.refused("bad-request", "collect", folder=folder, items=items, ts=TS)


@CHECKS.add("Over a limit: `overloaded`. All or none.")
async def collect_keeps_to_its_limits(subject: Subject) -> None:
    outbox = plant(place(subject, "outbox"))
    for limits in ({"files": 1}, {"bytes": 2}):
        items = [{"name": "src", "path": "src"}]
        await subject.refused(
            "overloaded", "collect", folder=str(outbox), items=items, limits=limits, ts=TS
        )
        for ref in TREE_REFS:
            await subject.refused("not-found", "stat", refs=[ref])
    await collected(subject, outbox, "src", limits={"files": 2, "bytes": 3})


@CHECKS.add(
    "`limits.files` is at most 100,000 and also bounds the folders; folders nest at most 100"
)
async def folders_are_bounded_too(subject: Subject) -> None:
    outbox = place(subject, "outbox")
    for number in range(3):
        (outbox / "wide" / str(number)).mkdir(parents=True)
    (outbox / "deep" / "/".join(["d"] * 100)).mkdir(parents=True)
    for path, limits in (("wide", {"files": 2}), ("deep", {})):
        items = [{"name": path, "path": path}]
        await subject.refused(
            "overloaded", "collect", folder=str(outbox), items=items, limits=limits, ts=TS
        )
    items = [{"name": "wide", "path": "wide"}]
    limits = {"files": 100_001}
    await subject.refused(
        "bad-request", "collect", folder=str(outbox), items=items, limits=limits, ts=TS
    )


@CHECKS.add("Files are 0444 / 0555 (or 0644 / 0755 when writable")
async def stage_writes_files_and_folders(subject: Subject) -> None:
    await collected(subject, plant(place(subject, "outbox")), "src")
    await subject.ask("put", data=HELLO.data, ts=TS)
    items = [{"ref": TREE_REF, "path": "deep/src"}, {"ref": HELLO.ref, "path": "deep/hello"}]
    for mode, plain, executable in (("read-only", 0o444, 0o555), ("writable", 0o644, 0o755)):
        inbox = place(subject, mode)
        reply = await subject.ask("stage", folder=str(inbox), items=items, mode=mode)
        folder = {"path": "deep/src", "bytes": 3, "kind": "folder"}
        fits(reply, {"items": [folder, {"path": "deep/hello", "bytes": 6, "kind": "file"}]})
        fits((inbox / "deep/hello").read_bytes(), HELLO.data, "deep/hello")
        fits(_mode(inbox / "deep/hello"), oct(plain), "the mode of a file")
        fits(_mode(inbox / "deep"), oct(0o755), "the mode of a folder that was made")
        for path, data, runs in TREE:
            file = inbox / "deep/src" / path
            fits(file.read_bytes(), data, path)
            fits(_mode(file), oct(executable if runs else plain), f"the mode of {path}")


@CHECKS.add("What stands at `path` already: `conflict`.")
async def stage_overwrites_nothing_and_leaves_nothing_half(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, ts=TS)
    inbox = place(subject, "inbox")
    (inbox / "there").write_bytes(b"mine")
    items = [{"ref": HELLO.ref, "path": "new/one"}, {"ref": HELLO.ref, "path": "there"}]
    await subject.refused("conflict", "stage", folder=str(inbox), items=items)
    fits(sorted(path.name for path in inbox.rglob("*")), ["there"], "what is in the folder")
    fits((inbox / "there").read_bytes(), b"mine", "what stood there")
    items[1] = {"ref": NEVER.ref, "path": "other"}
    await subject.refused("not-found", "stage", folder=str(inbox), items=items)
    fits(sorted(path.name for path in inbox.rglob("*")), ["there"], "what is in the folder")


@CHECKS.add("Never follows a symlink below `folder`.")
async def stage_follows_no_symlink(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, ts=TS)
    outside, inbox = place(subject, "outside"), place(subject, "inbox")
    (inbox / "way").symlink_to(outside)
    (inbox / "file").symlink_to(outside / "made")
    for path in ("way/made", "file"):
        items = [{"ref": HELLO.ref, "path": path}]
        codes = ("conflict", "bad-request")
        await subject.refused(codes, "stage", folder=str(inbox), items=items)
    fits(sorted(outside.iterdir()), [], "what came to lie outside")


@CHECKS.add("Writes artifacts below `folder` (absolute, must exist, on this machine)")
async def stage_wants_a_folder_that_exists(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, ts=TS)
    items = [{"ref": HELLO.ref, "path": "x"}]
    missing = str(subject.folder / "missing")
    await subject.refused("not-found", "stage", folder=missing, items=items)
    await subject.refused("bad-request", "stage", folder="inbox", items=items)


@CHECKS.add(
    "Always copies: a hard link would let whoever may write the staged file change the store"
)
async def what_is_staged_can_be_changed_without_harm(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, ts=TS)
    inbox = place(subject, "inbox")
    items = [{"ref": HELLO.ref, "path": "x"}]
    await subject.ask("stage", folder=str(inbox), items=items, mode="writable")
    (inbox / "x").write_bytes(b"changed")
    fits(await subject.ask("get", ref=HELLO.ref), {"data": HELLO.data})
    fits(await subject.ask("verify"), {"bad": []})


def _mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))
