"""The suite of `pit.archive/1`.

An archive may be one that outlives the check, a bucket for instance: each check has contents of its
own and removes what is left of them before it begins and when it has passed.
"""

from __future__ import annotations

from .contents import EMPTY, HELLO, MIB, NEVER, SMALL, Content, large, pieces
from .suite import Checks, Subject, Suite, UnfulfilledError, fits, holds

CHECKS = Checks()
SUITE = Suite("pit.archive/1", "bus/contracts/pit.archive-1.md", CHECKS)
WHY = "a check of the contract"


async def without(subject: Subject, *contents: Content) -> None:
    """The archive has none of them."""
    for content in contents:
        await subject.ask("delete", ref=content.ref, why=WHY)


async def uploaded(subject: Subject, content: Content, size: int = MIB) -> str:
    """Sends all parts of a content; the upload, not yet committed."""
    begun = await subject.ask("begin", ref=content.ref, bytes=len(content.data))
    upload: str = begun["upload"]
    for offset in range(0, len(content.data), size):
        data = content.data[offset : offset + size]
        await subject.ask("part", upload=upload, offset=offset, data=data)
    return upload


async def kept(subject: Subject, content: Content) -> None:
    """The content is in the archive."""
    reply = await subject.ask("commit", upload=await uploaded(subject, content))
    fits(reply, {"ref": content.ref, "bytes": len(content.data)})


async def read(subject: Subject, content: Content) -> None:
    """The archive gives the content back, part by part."""
    offset = 0
    while True:
        reply = await subject.ask("get", ref=content.ref, offset=offset)
        end = offset + len(reply["data"])
        expected = {
            "data": content.data[offset:end],
            "bytes": len(content.data),
            "more": end < len(content.data),
        }
        fits(reply, expected)
        if not reply["more"]:
            return
        holds(end > offset, "parts that are not empty", reply["data"])
        offset = end


async def is_gone(subject: Subject, content: Content) -> None:
    """Nothing of the content is visible."""
    await subject.refused("not-found", "get", ref=content.ref)
    await subject.refused("not-found", "stat", ref=content.ref)
    holds(content.ref not in await listed(subject), "a list without it", content.ref)


async def listed(subject: Subject, limit: int = 1000) -> dict[str, int]:
    """Everything in the archive by reference."""
    found: dict[str, int] = {}
    after: dict[str, str] = {}
    while True:
        reply = await subject.ask("list", limit=limit, **after)
        items = reply["items"]
        holds(len(items) <= limit, f"at most {limit} items a page", len(items))
        refs = [item["ref"] for item in items]
        so_far = [*found, *refs]
        holds(so_far == sorted(set(so_far)), "the references in order, each once", refs)
        found |= {item["ref"]: item["bytes"] for item in items}
        if reply.get("next") is None:
            return found
        holds(items, "no empty page that is not the last", reply)
        after = {"after": reply["next"]}


@CHECKS.add("`commit` `{upload}` → `{ref, bytes}`")
async def what_is_committed_can_be_read_back(subject: Subject) -> None:
    await without(subject, HELLO)
    await kept(subject, HELLO)
    await read(subject, HELLO)
    fits(await subject.ask("stat", ref=HELLO.ref), {"bytes": 6})
    fits((await listed(subject)).get(HELLO.ref), 6, "the bytes in the list")
    await without(subject, HELLO)


@CHECKS.add("A part is at most 1 MiB and follows the one before")
async def a_large_content_comes_in_parts(subject: Subject) -> None:
    content = large()
    await without(subject, content)
    await kept(subject, content)
    await read(subject, content)
    await without(subject, content)


@CHECKS.add("Nothing is visible before `commit`.")
async def nothing_is_visible_before_commit(subject: Subject) -> None:
    content = large()
    await without(subject, content)
    upload = await uploaded(subject, content)
    await is_gone(subject, content)
    await subject.ask("commit", upload=upload)
    await read(subject, content)
    await without(subject, content)


@CHECKS.add("Nothing is visible before `commit`.")
async def what_is_not_whole_is_not_committed(subject: Subject) -> None:
    await without(subject, SMALL[0])
    begun = await subject.ask("begin", ref=SMALL[0].ref, bytes=9)
    await subject.ask("part", upload=begun["upload"], offset=0, data=SMALL[0].data[:4])
    await subject.refused(("bad-request", "conflict"), "commit", upload=begun["upload"])
    await is_gone(subject, SMALL[0])


@CHECKS.add("A part is at most 1 MiB and follows the one before; the same part again is no error.")
async def a_part_may_be_repeated_and_none_left_out(subject: Subject) -> None:
    await without(subject, SMALL[1])
    upload = await uploaded(subject, SMALL[1], size=4)
    await subject.ask("part", upload=upload, offset=8, data=SMALL[1].data[8:])
    other = await subject.ask("begin", ref=SMALL[1].ref, bytes=9)
    await subject.refused(
        "conflict", "part", upload=other["upload"], offset=4, data=SMALL[1].data[4:]
    )
    await subject.ask("commit", upload=upload)
    await read(subject, SMALL[1])
    await without(subject, SMALL[1])


@CHECKS.add("A part is at most 1 MiB and follows the one before")
async def parts_are_bounded(subject: Subject) -> None:
    begun = await subject.ask("begin", ref=NEVER.ref, bytes=2 * MIB)
    data = b"x" * (MIB + 1)
    await subject.refused("bad-request", "part", upload=begun["upload"], offset=0, data=data)
    short = await subject.ask("begin", ref=NEVER.ref, bytes=3)
    await subject.refused("bad-request", "part", upload=short["upload"], offset=0, data=b"four")
    await is_gone(subject, NEVER)


@CHECKS.add("`commit` of what is there already with as many bytes: the same reply.")
async def what_is_there_may_come_again(subject: Subject) -> None:
    await without(subject, SMALL[2])
    upload = await uploaded(subject, SMALL[2])
    for _ in range(2):
        reply = await subject.ask("commit", upload=upload)
        fits(reply, {"ref": SMALL[2].ref, "bytes": 9})
    await kept(subject, SMALL[2])
    await read(subject, SMALL[2])
    await without(subject, SMALL[2])


@CHECKS.add("Another length: `conflict`.")
async def another_length_is_refused(subject: Subject) -> None:
    await without(subject, SMALL[3])
    await kept(subject, SMALL[3])
    try:
        upload = await uploaded(subject, Content(b"shorter", SMALL[3].ref))
    except UnfulfilledError:  # an archive may say so at the first word
        await subject.refused("conflict", "begin", ref=SMALL[3].ref, bytes=7)
    else:
        await subject.refused("conflict", "commit", upload=upload)
    await read(subject, SMALL[3])
    await without(subject, SMALL[3])


@CHECKS.add("`{upload}` · `part` `{upload, offset, data}` → `{}` · `commit` `{upload}`")
async def uploads_go_on_beside_each_other(subject: Subject) -> None:
    both = SMALL[4:6]
    await without(subject, *both)
    uploads = [(await subject.ask("begin", ref=content.ref, bytes=9))["upload"] for content in both]
    for offset in (0, 5):
        for upload, content in zip(uploads, both, strict=True):
            data = content.data[offset : offset + 5]
            await subject.ask("part", upload=upload, offset=offset, data=data)
    for upload, content in zip(uploads, both, strict=True):
        fits(await subject.ask("commit", upload=upload), {"ref": content.ref, "bytes": 9})
        await read(subject, content)
    await without(subject, *both)


@CHECKS.add("`begin` `{ref, bytes}` → `{upload}`")
async def an_empty_content_has_no_parts(subject: Subject) -> None:
    await without(subject, EMPTY)
    await kept(subject, EMPTY)
    await read(subject, EMPTY)
    await without(subject, EMPTY)


@CHECKS.add("`get` `{ref, offset?: 0, limit?: 1048576}` → `{data, bytes, more}`")
async def get_gives_a_part(subject: Subject) -> None:
    content = pieces()
    await without(subject, content)
    await kept(subject, content)
    size = len(content.data)
    reply = await subject.ask("get", ref=content.ref, offset=500_000, limit=50_000)
    fits(reply, {"data": content.data[500_000:550_000], "bytes": size, "more": True})
    reply = await subject.ask("get", ref=content.ref, offset=550_000)
    fits(reply, {"data": content.data[550_000:], "bytes": size, "more": False})
    await subject.refused("bad-request", "get", ref=content.ref, offset=size + 1)
    await without(subject, content)


@CHECKS.add("`{items: [{ref, bytes}], next?}`, by reference.")
async def list_pages_by_reference(subject: Subject) -> None:
    await without(subject, *SMALL)
    for content in SMALL:
        await kept(subject, content)
    wanted = {content.ref: 9 for content in SMALL}
    for limit in (3, 1000):
        found = await listed(subject, limit)
        ours = {ref: size for ref, size in found.items() if ref in wanted}
        fits(ours, wanted, f"the list, {limit} a page")
    await without(subject, *SMALL)


@CHECKS.add("`delete` `{ref, why}` → `{deleted: bool}`")
async def what_is_deleted_is_gone(subject: Subject) -> None:
    await without(subject, SMALL[6])
    await kept(subject, SMALL[6])
    for deleted in (True, False):
        reply = await subject.ask("delete", ref=SMALL[6].ref, why=WHY)
        fits(reply, {"deleted": deleted})
    await is_gone(subject, SMALL[6])
    await kept(subject, SMALL[6])
    await read(subject, SMALL[6])
    await without(subject, SMALL[6])


@CHECKS.add("An archive is dumb: it keeps bytes by reference.")
async def what_was_committed_survives_a_kill(subject: Subject) -> None:
    content = large()
    await without(subject, content, SMALL[7])
    await kept(subject, content)
    await uploaded(subject, SMALL[7])
    await subject.restart()
    await read(subject, content)
    await is_gone(subject, SMALL[7])
    await kept(subject, SMALL[7])
    await read(subject, SMALL[7])
    await without(subject, content, SMALL[7])


@CHECKS.add("Errors of all: `bad-request` (arguments that do not fit, an unknown method)")
async def wrong_arguments_are_refused(subject: Subject) -> None:
    await subject.refused("not-found", "get", ref=NEVER.ref)
    await subject.refused("not-found", "stat", ref=NEVER.ref)
    await subject.refused("not-found", "part", upload="no-such", offset=0, data=b"x")
    await subject.refused("not-found", "commit", upload="no-such")
    await subject.refused("bad-request", "begin", ref="blake3:12", bytes=1)
    await subject.refused("bad-request", "begin", ref=NEVER.ref)
    await subject.refused("bad-request", "get", ref="../../etc/passwd")
    await subject.refused("bad-request", "delete", ref=NEVER.ref, why="")
    await subject.unheard("empty_everything")
