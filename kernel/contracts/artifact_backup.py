"""`pit.artifacts/1`: a copy of everything, taken while the store works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from .artifact_curation import SWEPT, marked, proof
from .artifact_folders import collected, place, plant
from .contents import HELLO, SMALL, TREE_REF, TREE_REFS, TS
from .suite import Checks, Subject, fits, holds

CHECKS = Checks()


def put_in_place(subject: Subject, copy: Path) -> None:
    """Lets the next process of the extension find the copy where its store was."""
    subject.store.rename(subject.folder / "former")
    shutil.copytree(copy, subject.store)


@CHECKS.add("The copy is a store like any other")
async def a_copy_put_in_the_place_of_the_store_has_all_that_was_acknowledged(
    subject: Subject,
) -> None:
    await subject.ask("put", data=HELLO.data, name="n", ts=TS)
    await subject.ask("tag", ref=HELLO.ref, add=["kept"], ts=TS)
    await collected(subject, plant(place(subject, "outbox")), "src")
    sound = await subject.ask("verify")
    to = subject.folder / "copy"
    made = await subject.ask("backup", id="b-1", to=str(to), ts=TS)
    fits(made, {"artifacts": sound["blobs"], "bytes": sound["bytes"]})
    await subject.ask("put", data=SMALL[0].data, name="later", ts=TS)
    put_in_place(subject, to)
    await subject.restart()
    fits(await subject.ask("verify"), {**sound, "bad": []})
    fits(await subject.ask("get", ref=HELLO.ref), {"data": HELLO.data})
    fits(await subject.ask("tags", ref=HELLO.ref), {"tags": ["kept"]})
    files = (await subject.ask("listing", ref=TREE_REF))["files"]
    holds({file["ref"] for file in files} == set(TREE_REFS), "the files of the folder", files)
    await subject.refused("not-found", "stat", refs=[SMALL[0].ref])


@CHECKS.add("`to/backup.json` is written last")
async def a_copy_says_what_it_is(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, ts=TS)
    to = place(subject, "empty")
    made = await subject.ask("backup", id="b-1", to=str(to), ts=TS)
    said = json.loads((to / "backup.json").read_bytes())
    fits(said, {"id": "b-1", "at": TS, **made})


@CHECKS.add("Asked again with the same `id` and `to`, while it goes on or when it is done")
async def a_copy_is_made_once(subject: Subject) -> None:
    await subject.ask("put", data=HELLO.data, ts=TS)
    to = str(subject.folder / "copy")
    made = await subject.ask("backup", id="b-1", to=to, ts=TS)
    await subject.ask("put", data=SMALL[0].data, ts=TS)
    fits(await subject.ask("backup", id="b-1", to=to, ts=TS), made)
    await subject.refused("conflict", "backup", id="b-2", to=to, ts=TS)


@CHECKS.add("which does not exist (its parent does; it is made 0700) or is empty (`conflict`)")
async def a_copy_needs_a_place_of_its_own(subject: Subject) -> None:
    taken = place(subject, "taken")
    (taken / "mine").write_bytes(HELLO.data)
    await subject.refused("conflict", "backup", id="b-1", to=str(taken), ts=TS)
    holds((taken / "mine").read_bytes() == HELLO.data, "the file as it was", "something else")
    await subject.refused("bad-request", "backup", id="b-1", to="copy", ts=TS)
    await subject.refused("bad-request", "backup", id="", to=str(subject.folder / "c"), ts=TS)


@CHECKS.add("what is swept, packed or rotated in between stays in the copy as it was")
async def a_copy_keeps_what_is_swept_later(subject: Subject) -> None:
    await marked(subject, HELLO)
    to = subject.folder / "copy"
    await subject.ask("backup", id="b-1", to=str(to), ts=TS)
    await subject.ask("sweep", refs=[HELLO.ref], proofs=[proof(HELLO)], ts=SWEPT)
    await subject.refused("not-found", "stat", refs=[HELLO.ref])
    put_in_place(subject, to)
    await subject.restart()
    fits(await subject.ask("get", ref=HELLO.ref), {"data": HELLO.data})
