"""`pit.artifacts/1`: bytes in and out, and what is told of them."""

from __future__ import annotations

from typing import Any

from .contents import EMPTY, HELLO, NEVER, NO_FOLDER, SMALL, TS, pieces
from .suite import ABSENT, Checks, NotApplicableError, Subject, fits, holds

CHECKS = Checks()
MADE = {"run": "r-1", "step": "greet", "attempt": 2, "player": "greeter", "version": "1.0.0"}
MIB = 1 << 20
PAST = 262_144  # what a `get` without a limit gives


@CHECKS.add("`{data: bin, name?, media?, made?, ts}` → `{ref, bytes, new: bool}`")
async def put_names_a_content_by_its_hash(subject: Subject) -> None:
    reply = await subject.ask("put", data=HELLO.data, name="greeting.txt", ts=TS)
    fits(reply, {"ref": HELLO.ref, "bytes": 6, "new": True})


@CHECKS.add("Every byte handed out was checked against the hash")
async def get_gives_the_bytes_back(subject: Subject) -> None:
    for content in (HELLO, EMPTY):
        await subject.ask("put", data=content.data, ts=TS)
        reply = await subject.ask("get", ref=content.ref)
        expected = {"data": content.data, "bytes": len(content.data), "kind": "file", "more": False}
        fits(reply, expected)


@CHECKS.add("One content has one blob however often it is put")
async def the_same_content_is_new_once(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, name="one", ts=TS)
    for name in ("one", "two"):
        reply = await subject.ask("put", data=HELLO.data, name=name, ts=TS)
        fits(reply, {"ref": HELLO.ref, "bytes": 6, "new": False})


@CHECKS.add("each put with a `name` or `made` adds one *entry* (who made it when), at most one for")
async def an_entry_is_added_once(subject: Subject) -> None:
    for name in ("one", "two", "one"):
        await subject.ask("put", data=HELLO.data, name=name, made=MADE, ts=TS)
    await subject.ask("put", data=HELLO.data, ts=TS)
    listed = await subject.ask("list")
    fits([info.get("name") for info in listed["artifacts"]], ["two", "one"], "the names listed")


@CHECKS.add("`{items: [{ref, bytes, new}]}`; all or none.")
async def put_many_answers_item_by_item(subject: Subject) -> None:
    contents = (SMALL[0], SMALL[1], SMALL[0])
    items = [{"data": content.data, "name": f"n{n}"} for n, content in enumerate(contents)]
    reply = await subject.ask("put_many", items=items, ts=TS)
    new = (True, True, False)
    expected = [
        {"ref": content.ref, "bytes": len(content.data), "new": is_new}
        for content, is_new in zip(contents, new, strict=True)
    ]
    fits(reply, {"items": expected})


@CHECKS.add("`{items: [{ref, bytes, new}]}`; all or none.")
async def put_many_with_one_wrong_item_puts_none(subject: Subject) -> None:
    items = [{"data": SMALL[0].data, "name": "a"}, {"data": SMALL[1].data, "name": "x" * 2000}]
    await subject.refused("bad-request", "put_many", items=items, ts=TS)
    await subject.refused("not-found", "stat", refs=[SMALL[0].ref])
    fits(await subject.ask("list"), {"artifacts": []})


@CHECKS.add("A reply to a *durable* method is sent only when blob and index are on disk")
async def what_was_acknowledged_survives_a_kill(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, name="greeting.txt", made=MADE, ts=TS)
    items = [{"data": content.data, "name": "many"} for content in SMALL]
    await subject.ask("put_many", items=items, ts=TS)
    await subject.restart()
    for content in (HELLO, *SMALL):
        fits(await subject.ask("get", ref=content.ref), {"data": content.data})
    listed = await subject.ask("list", run="r-1")
    fits(listed["artifacts"], [{"ref": HELLO.ref, "name": "greeting.txt", "made": MADE}])


@CHECKS.add("A torn write is found and dropped at start.")
async def a_kill_in_the_middle_leaves_whole_contents_or_none(subject: Subject) -> None:
    data, ref = pieces()
    await subject.ask("put", data=HELLO.data, ts=TS)
    for after_s in (0.0, 0.001, 0.003, 0.01, 0.03):
        await subject.killed(after_s, "put", data=data, name="large", ts=TS)
        if (await subject.ask("list", name="large"))["artifacts"]:
            fits(await subject.ask("get", ref=ref, limit=MIB), {"data": data})
        else:
            await subject.refused("not-found", "get", ref=ref)
        fits(await subject.ask("get", ref=HELLO.ref), {"data": HELLO.data})
        fits(await subject.ask("verify"), {"bad": []})
    fits(await subject.ask("put", data=data, ts=TS), {"ref": ref})
    fits(await subject.ask("get", ref=ref, limit=MIB), {"data": data})


@CHECKS.add("`{ref, offset?: 0, limit?: 262144}` → `{data: bin, bytes, kind, more: bool}`")
async def get_pages_through_a_content(subject: Subject) -> None:
    data, ref = pieces()
    await subject.ask("put", data=data, ts=TS)
    first = await subject.ask("get", ref=ref)
    fits(first, {"data": data[:PAST], "bytes": len(data), "kind": "file", "more": True})
    rest = await subject.ask("get", ref=ref, offset=PAST, limit=500_000)
    fits(rest, {"data": data[PAST:], "bytes": len(data), "more": False})
    fits(await subject.ask("get", ref=ref, offset=7, limit=5), {"data": data[7:12], "more": True})
    fits(await subject.ask("get", ref=ref, offset=len(data)), {"data": b"", "more": False})


@CHECKS.add("At most 1 MiB a call, whatever `limit` says.")
async def get_never_gives_more_than_a_mebibyte(subject: Subject) -> None:
    data = SMALL[0].data * (MIB // 9 + 1)
    ref = (await subject.ask("put", data=data, ts=TS))["ref"]
    reply = await subject.ask("get", ref=ref, limit=1 << 40)
    holds(0 < len(reply["data"]) <= MIB, "1 byte to 1 MiB", f"{len(reply['data'])} bytes")
    fits(reply, {"bytes": len(data), "more": len(reply["data"]) < len(data)})


@CHECKS.add("Errors of all: `not-found`, `bad-request`")
async def wrong_arguments_are_refused(subject: Subject) -> None:
    await subject.refused("not-found", "get", ref=NEVER.ref)
    await subject.refused("not-found", "stat", refs=[NEVER.ref])
    await subject.refused("bad-request", "get", ref="blake3:12")
    await subject.refused("bad-request", "put", data=b"x")
    await subject.refused("bad-request", "put", data=5, ts=TS)
    await subject.unheard("purge_everything")
    await subject.ask("put", data=HELLO.data, ts=TS)
    await subject.refused("bad-request", "get", ref=HELLO.ref, offset=7)
    await subject.refused("bad-request", "get", ref=HELLO.ref, limit=0)


@CHECKS.add("`name`, `media`, `ts` and the texts of `made` have 1 to 1,024 bytes")
async def texts_are_bounded(subject: Subject) -> None:
    for place in ("name", "media"):
        for text in ("", "x" * 1025):
            await subject.refused("bad-request", "put", data=b"x", ts=TS, **{place: text})
    await subject.refused("bad-request", "put", data=b"x", ts="")
    await subject.refused("bad-request", "put", data=b"x", ts=TS, made={"run": "x" * 1025})
    longest = "ü" * 512
    await subject.ask("put", data=b"x", ts=TS, name=longest)
    fits(await subject.ask("list"), {"artifacts": [{"name": longest}]})


@CHECKS.add("`INFO` is `{ref, kind: file|folder, bytes, media?, name?, files?, created, made?")
async def stat_tells_the_newest_entry(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, name="a", media="text/plain", made=MADE, ts=TS)
    expected: dict[str, Any] = {
        "ref": HELLO.ref,
        "kind": "file",
        "bytes": 6,
        "media": "text/plain",
        "name": "a",
        "files": ABSENT,
        "created": TS,
        "made": MADE,
    }
    fits(await subject.ask("stat", refs=[HELLO.ref]), {"artifacts": [expected]})
    later = "2026-01-02T00:00:00.000Z"
    await subject.ask("put", data=HELLO.data, name="b", ts=later)
    await subject.ask("put", data=SMALL[0].data, ts=TS)
    found = await subject.ask("stat", refs=[SMALL[0].ref, HELLO.ref])
    plain = {"ref": SMALL[0].ref, "name": ABSENT, "made": ABSENT, "created": TS}
    fits(found, {"artifacts": [plain, {"name": "b", "made": ABSENT, "created": later}]})


@CHECKS.add("newest first (by when the store got them); one INFO per entry.")
async def list_filters_and_pages(subject: Subject) -> None:
    for number, content in enumerate(SMALL):
        made = {"run": f"run-{number % 2}", "step": "s", "player": f"p{number % 3}"}
        await subject.ask("put", data=content.data, name=f"n{number}", made=made, ts=TS)

    async def names(**args: object) -> list[str]:
        pages, cursor = 0, None
        found: list[str] = []
        while pages == 0 or cursor is not None:
            asked = {**args, **({"after": cursor} if cursor is not None else {})}
            reply = await subject.ask("list", **asked)
            found += [info["name"] for info in reply["artifacts"]]
            cursor = reply.get("next")
            pages += 1
            holds(pages <= len(SMALL), "an end of the pages", f"{pages} pages")
        return found

    newest = [f"n{number}" for number in reversed(range(10))]
    fits(await names(), newest, "the names")
    fits(await names(limit=3), newest, "the names, three a page")
    fits(await names(run="run-1", limit=2), newest[::2], "the names of run-1")
    fits(await names(run="run-0", step="s", player="p0"), ["n6", "n0"], "the names of all three")
    fits(await names(name="n4"), ["n4"], "the names")
    fits(await names(run="run"), [], "the names")


@CHECKS.add("`limit` is at most 1,000")
async def list_refuses_what_is_no_limit_and_no_cursor(subject: Subject) -> None:
    for limit in (0, 1001):
        await subject.refused("bad-request", "list", limit=limit)
    await subject.refused("bad-request", "list", after="no cursor")


@CHECKS.add("A file whose bytes look like a listing stays a file")
async def a_file_that_looks_like_a_listing_is_a_file(subject: Subject) -> None:
    await subject.ask("put", data=NO_FOLDER.data, ts=TS)
    fits(await subject.ask("get", ref=NO_FOLDER.ref), {"kind": "file", "data": NO_FOLDER.data})
    await subject.refused("bad-request", "listing", ref=NO_FOLDER.ref)


@CHECKS.add("reads everything back")
async def verify_counts_everything(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, ts=TS)
    await subject.ask("put", data=SMALL[0].data, name="named", ts=TS)
    fits(await subject.ask("verify"), {"blobs": 2, "bytes": 15, "bad": []})


@CHECKS.add("damage: `corrupt`.")
async def a_damaged_content_is_never_handed_out(subject: Subject) -> None:
    data, ref = pieces()
    await subject.ask("put", data=data, ts=TS)
    await subject.ask("put", data=HELLO.data, ts=TS)
    part = data[300_000:300_064]
    files = [path for path in sorted(subject.store.rglob("*")) if path.is_file()]
    damaged = next((path for path in files if part in path.read_bytes()), None)
    if damaged is None:
        raise NotApplicableError("no file of the store holds the content's bytes as they are")
    content = bytearray(damaged.read_bytes())
    content[content.index(part)] ^= 1
    mode = damaged.stat().st_mode
    damaged.chmod(0o600)
    damaged.write_bytes(content)
    damaged.chmod(mode)
    await subject.restart()
    await subject.refused("corrupt", "get", ref=ref)
    fits(await subject.ask("get", ref=HELLO.ref), {"data": HELLO.data})
    fits(await subject.ask("verify"), {"bad": [ref]})
