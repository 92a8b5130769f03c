"""`pit.artifacts/1`: contents that come in parts."""

from __future__ import annotations

from .contents import EMPTY, HELLO, LARGE_BYTES, MIB, SMALL, TS, Content, large
from .suite import Checks, Subject, fits

CHECKS = Checks()


async def uploaded(subject: Subject, content: Content, size: int = MIB, **more: object) -> str:
    """Sends all parts of a content; the upload, not yet committed."""
    args = {"ref": content.ref, "bytes": len(content.data), "ts": TS, **more}
    upload: str = (await subject.ask("begin", **args))["upload"]
    for offset in range(0, len(content.data), size):
        data = content.data[offset : offset + size]
        await subject.ask("part", upload=upload, offset=offset, data=data)
    return upload


@CHECKS.add("A content in parts of 1 byte to 1 MiB, each behind the one before")
async def a_large_content_comes_in_parts(subject: Subject) -> None:
    content = large()
    upload = await uploaded(subject, content, name="large.bin", media="application/octet-stream")
    reply = await subject.ask("commit", upload=upload)
    fits(reply, {"ref": content.ref, "bytes": LARGE_BYTES})
    for offset in range(0, LARGE_BYTES, MIB):
        data = content.data[offset : offset + MIB]
        fits(await subject.ask("get", ref=content.ref, offset=offset, limit=MIB), {"data": data})
    info = {"ref": content.ref, "bytes": LARGE_BYTES, "name": "large.bin"}
    fits(await subject.ask("list"), {"artifacts": [info]})


@CHECKS.add("A reply to a *durable* method is sent only when blob and index are on disk")
async def a_committed_upload_survives_a_kill(subject: Subject) -> None:
    content = large()
    await subject.ask("commit", upload=await uploaded(subject, content))
    await subject.restart()
    fits(
        await subject.ask("get", ref=content.ref, offset=MIB, limit=9),
        {"data": content.data[MIB : MIB + 9]},
    )
    fits(await subject.ask("verify"), {"bad": []})


@CHECKS.add(
    "Nothing is visible before `commit`, which wants all bytes and their hash (`bad-request`)"
)
async def nothing_is_visible_before_commit(subject: Subject) -> None:
    upload = await uploaded(subject, HELLO, name="greeting")
    await subject.refused("not-found", "get", ref=HELLO.ref)
    fits(await subject.ask("list"), {"artifacts": []})
    await subject.ask("commit", upload=upload)
    fits(await subject.ask("get", ref=HELLO.ref), {"data": HELLO.data})


@CHECKS.add(
    "Nothing is visible before `commit`, which wants all bytes and their hash (`bad-request`)"
)
async def commit_wants_all_bytes_and_their_hash(subject: Subject) -> None:
    begun = await subject.ask("begin", ref=HELLO.ref, bytes=6, ts=TS)
    await subject.ask("part", upload=begun["upload"], offset=0, data=b"hel")
    await subject.refused("bad-request", "commit", upload=begun["upload"])
    wrong = await uploaded(subject, Content(b"hullo\n", HELLO.ref))
    await subject.refused("bad-request", "commit", upload=wrong)
    await subject.refused("not-found", "get", ref=HELLO.ref)


@CHECKS.add("one of the last 1,024 parts again is no error, another offset is a `conflict`.")
async def a_part_may_be_repeated_and_none_left_out(subject: Subject) -> None:
    upload = await uploaded(subject, HELLO, size=2)
    for offset in (4, 0):
        data = HELLO.data[offset : offset + 2]
        await subject.ask("part", upload=upload, offset=offset, data=data)
    begun = await subject.ask("begin", ref=HELLO.ref, bytes=6, ts=TS)
    await subject.refused("conflict", "part", upload=begun["upload"], offset=3, data=b"lo")
    await subject.ask("commit", upload=upload)
    fits(await subject.ask("get", ref=HELLO.ref), {"data": HELLO.data})


@CHECKS.add("A content in parts of 1 byte to 1 MiB, each behind the one before")
async def parts_are_bounded(subject: Subject) -> None:
    begun = await subject.ask("begin", ref=HELLO.ref, bytes=2 * MIB, ts=TS)
    for data in (b"", b"x" * (MIB + 1)):
        await subject.refused("bad-request", "part", upload=begun["upload"], offset=0, data=data)
    short = await subject.ask("begin", ref=HELLO.ref, bytes=3, ts=TS)
    await subject.refused("bad-request", "part", upload=short["upload"], offset=0, data=b"hell")


@CHECKS.add("may be repeated (the last 64)")
async def commit_may_be_repeated(subject: Subject) -> None:
    upload = await uploaded(subject, HELLO)
    for _ in range(2):
        fits(await subject.ask("commit", upload=upload), {"ref": HELLO.ref, "bytes": 6})


@CHECKS.add("Every method may be repeated: the same arguments have one effect")
async def what_is_there_may_be_uploaded_again(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, name="one", ts=TS)
    await subject.ask("commit", upload=await uploaded(subject, HELLO, name="one"))
    fits(await subject.ask("list"), {"artifacts": [{"ref": HELLO.ref, "name": "one"}]})
    fits(await subject.ask("verify"), {"blobs": 1, "bytes": 6, "bad": []})


@CHECKS.add("`{ref, bytes, name?, media?, made?, ts?}` → `{upload}`")
async def an_empty_content_has_no_parts(subject: Subject) -> None:
    begun = await subject.ask("begin", ref=EMPTY.ref, bytes=0, ts=TS)
    fits(await subject.ask("commit", upload=begun["upload"]), {"ref": EMPTY.ref, "bytes": 0})
    fits(await subject.ask("get", ref=EMPTY.ref), {"data": b"", "more": False})


@CHECKS.add("Eight uploads at once; one more drops the one that was begun first")
async def eight_uploads_go_on_beside_each_other(subject: Subject) -> None:
    eight = SMALL[:8]
    uploads = [
        (await subject.ask("begin", ref=content.ref, bytes=9, ts=TS))["upload"] for content in eight
    ]
    for offset in (0, 5):
        for upload, content in zip(uploads, eight, strict=True):
            data = content.data[offset : offset + 5]
            await subject.ask("part", upload=upload, offset=offset, data=data)
    for upload, content in zip(uploads, eight, strict=True):
        fits(await subject.ask("commit", upload=upload), {"ref": content.ref, "bytes": 9})


@CHECKS.add("(`not-found`: begin again), so does the end of the process")
async def an_upload_ends_with_the_process(subject: Subject) -> None:
    upload = await uploaded(subject, HELLO)
    await subject.restart()
    await subject.refused("not-found", "commit", upload=upload)
    await subject.refused("not-found", "get", ref=HELLO.ref)
    fits(await subject.ask("verify"), {"blobs": 0, "bad": []})
