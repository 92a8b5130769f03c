"""`pit.artifacts/1`: letting go, in two phases, and never without a reason that is cited."""

from __future__ import annotations

from .artifact_folders import collected, place, plant
from .contents import HELLO, NEVER, SMALL, TREE_REF, TREE_REFS, TS, Content
from .suite import Checks, Subject, fits

CHECKS = Checks()
# With the grace of a day: put, marked, too early, in time.
MARKED = "2026-01-10T00:00:00.000Z"
EARLY = "2026-01-10T23:59:59.000Z"
SWEPT = "2026-01-11T00:00:01.000Z"
WHY = "nobody needs it"


def proof(content: Content, **wrong: object) -> dict[str, object]:
    """That the archive has it."""
    told = {
        "number": 1,
        "ref": content.ref,
        "bytes": len(content.data),
        "place": "pit.archive/1",
        "archived": MARKED,
        "read_back": MARKED,
        "hash": content.ref,
        "runs": [],
    }
    return {"ref": content.ref, "proof": {**told, **wrong}}


def pressure(ref: str) -> dict[str, object]:
    """That it had to go for want of room."""
    return {"ref": ref, "pressure": {"plan": "p-1", "used": 100, "bytes": 50, "value": 10}}


async def marked(subject: Subject, *contents: Content) -> None:
    """Puts contents and marks them, long after."""
    for content in contents:
        await subject.ask("put", data=content.data, name="n", ts=TS)
    refs = [content.ref for content in contents]
    reply = await subject.ask("mark", refs=refs, why=WHY, ts=MARKED)
    fits(reply, {"marked": len(contents)})


@CHECKS.add("Frees what bears a mark that is older than the grace.")
async def what_is_marked_is_swept_after_the_grace(subject: Subject) -> None:
    await marked(subject, HELLO)
    early = await subject.ask("sweep", refs=[HELLO.ref], proofs=[proof(HELLO)], ts=EARLY)
    fits(early, {"freed": [], "revived": []})
    fits(await subject.ask("get", ref=HELLO.ref), {"data": HELLO.data})
    swept = await subject.ask("sweep", refs=[HELLO.ref], proofs=[proof(HELLO)], ts=SWEPT)
    fits(swept, {"freed": [{"ref": HELLO.ref}], "revived": []})
    await subject.refused("not-found", "get", ref=HELLO.ref)


@CHECKS.add(
    "What was swept is not listed, found or counted. Its entries, kind, tags and scores stay"
)
async def what_was_swept_is_as_before_once_it_is_put_again(subject: Subject) -> None:
    await marked(subject, HELLO, SMALL[0])
    cited = [proof(HELLO), pressure(SMALL[0].ref)]
    refs = [HELLO.ref, SMALL[0].ref]
    await subject.ask("sweep", refs=refs, proofs=cited, ts=SWEPT)
    fits(await subject.ask("list"), {"artifacts": []})
    fits(await subject.ask("verify"), {"blobs": 0, "bytes": 0, "bad": []})
    await subject.restart()
    fits(await subject.ask("list"), {"artifacts": []})
    await subject.refused("not-found", "stat", refs=[HELLO.ref])
    fits(await subject.ask("put", data=HELLO.data, ts=SWEPT), {"ref": HELLO.ref, "new": True})
    fits(await subject.ask("list"), {"artifacts": [{"ref": HELLO.ref, "name": "n"}]})


@CHECKS.add(
    "Each must be cited, by a proof (its `hash` and `ref` that of the content, `bytes` its length)"
)
async def nothing_goes_without_a_proof_that_fits(subject: Subject) -> None:
    await marked(subject, HELLO, SMALL[0])
    refs = [HELLO.ref, SMALL[0].ref]
    for cited in (
        [],
        [proof(HELLO)],
        [proof(HELLO), {"ref": SMALL[0].ref}],
        [proof(HELLO), proof(SMALL[0], hash=HELLO.ref)],
        [proof(HELLO), proof(SMALL[0], bytes=8)],
    ):
        await subject.refused("bad-request", "sweep", refs=refs, proofs=cited, ts=SWEPT)
    for content in (HELLO, SMALL[0]):
        fits(await subject.ask("get", ref=content.ref), {"data": content.data})


@CHECKS.add("what is there and was not put within the grace is to go.")
async def what_is_young_or_unknown_is_not_marked(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, ts=MARKED)
    refs = [HELLO.ref, NEVER.ref]
    fits(await subject.ask("mark", refs=refs, why=WHY, ts=EARLY), {"marked": 0})
    swept = await subject.ask("sweep", refs=[HELLO.ref], proofs=[proof(HELLO)], ts=SWEPT)
    fits(swept, {"freed": [], "revived": [HELLO.ref]})
    fits(await subject.ask("get", ref=HELLO.ref), {"data": HELLO.data})


@CHECKS.add("Marked again, it keeps its first time.")
async def a_mark_keeps_its_first_time(subject: Subject) -> None:
    await marked(subject, HELLO)
    fits(await subject.ask("mark", refs=[HELLO.ref], why=WHY, ts=EARLY), {"marked": 1})
    swept = await subject.ask("sweep", refs=[HELLO.ref], proofs=[proof(HELLO)], ts=SWEPT)
    fits(swept, {"freed": [{"ref": HELLO.ref}]})


@CHECKS.add("A content put with a `ts` that is no time is never marked.")
async def what_was_put_at_no_time_stays(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, ts="yesterday")
    fits(await subject.ask("mark", refs=[HELLO.ref], why=WHY, ts=MARKED), {"marked": 0})


@CHECKS.add("`revived`: bears no mark any more.")
async def whatever_uses_a_content_revives_it(subject: Subject) -> None:
    first, second, third, fourth = SMALL[:4]
    await marked(subject, first, second, third, fourth)
    await subject.ask("put", data=first.data, ts=EARLY)
    inbox = place(subject, "inbox")
    await subject.ask("stage", folder=str(inbox), items=[{"ref": second.ref, "path": "x"}])
    await subject.ask("unmark", refs=[third.ref, NEVER.ref], ts=EARLY)
    await subject.ask("get", ref=fourth.ref)
    await subject.ask("stat", refs=[fourth.ref])
    cited = [proof(content) for content in SMALL[:4]]
    refs = [content.ref for content in SMALL[:4]]
    swept = await subject.ask("sweep", refs=refs, proofs=cited, ts=SWEPT)
    fits(swept, {"freed": [{"ref": fourth.ref}]})
    fits(sorted(swept["revived"]), sorted(refs[:3]), "what was revived")
    for content in SMALL[:3]:
        fits(await subject.ask("get", ref=content.ref), {"data": content.data})


@CHECKS.add("of a folder also from its files")
async def a_folder_that_is_used_keeps_its_files(subject: Subject) -> None:
    await collected(subject, plant(place(subject, "outbox")), "src")
    refs = [TREE_REF, *TREE_REFS]
    fits(await subject.ask("mark", refs=refs, why=WHY, ts=MARKED), {"marked": 3})
    inbox = place(subject, "inbox")
    await subject.ask("stage", folder=str(inbox), items=[{"ref": TREE_REF, "path": "src"}])
    cited = [pressure(ref) for ref in refs]
    swept = await subject.ask("sweep", refs=refs, proofs=cited, ts=SWEPT)
    fits(swept, {"freed": []})
    fits(sorted(swept["revived"]), sorted(refs), "what was revived")
    fits(await subject.ask("verify"), {"blobs": 3, "bad": []})


@CHECKS.add("What is not there at all is `freed` with 0 bytes.")
async def what_is_not_there_is_freed_with_nothing(subject: Subject) -> None:
    cited = [pressure(NEVER.ref)]
    swept = await subject.ask("sweep", refs=[NEVER.ref], proofs=cited, ts=SWEPT)
    fits(swept, {"freed": [{"ref": NEVER.ref, "bytes": 0}], "revived": []})
    await marked(subject, HELLO)
    for _ in range(2):
        again = await subject.ask("sweep", refs=[HELLO.ref], proofs=[proof(HELLO)], ts=SWEPT)
    fits(again, {"freed": [{"ref": HELLO.ref, "bytes": 0}]})


@CHECKS.add("The grace is 1 second to a year.")
async def the_grace_is_configured(subject: Subject) -> None:
    for grace in (0, 366 * 86_400):
        await subject.refused("bad-request", "configure", grace_s=grace)
    first = await subject.ask("configure", grace_s=60)
    fits(await subject.ask("configure", grace_s=60), {"digest": first["digest"]})
    await subject.restart()
    await marked(subject, HELLO)
    minute = "2026-01-10T00:01:01.000Z"
    swept = await subject.ask("sweep", refs=[HELLO.ref], proofs=[proof(HELLO)], ts=minute)
    fits(swept, {"freed": [{"ref": HELLO.ref}]})


@CHECKS.add("A reply to a *durable* method is sent only when blob and index are on disk")
async def marks_survive_a_kill(subject: Subject) -> None:
    await marked(subject, HELLO, SMALL[0])
    await subject.ask("unmark", refs=[SMALL[0].ref], ts=EARLY)
    await subject.restart()
    refs = [HELLO.ref, SMALL[0].ref]
    cited = [proof(HELLO), proof(SMALL[0])]
    swept = await subject.ask("sweep", refs=refs, proofs=cited, ts=SWEPT)
    fits(swept, {"freed": [{"ref": HELLO.ref}], "revived": [SMALL[0].ref]})


@CHECKS.add("`ts` is given by the caller (RFC 3339, UTC).")
async def times_that_are_none_are_refused(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, ts=TS)
    await subject.refused("bad-request", "mark", refs=[HELLO.ref], why=WHY, ts="now")
    await subject.refused("bad-request", "sweep", refs=[], proofs=[], ts="now")
