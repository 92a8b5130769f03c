"""`pit.artifacts/1`: versions, differences, lineage, search, tags, scores, and who did what."""

from __future__ import annotations

from typing import Any

from .artifact_curation import SWEPT, marked, proof
from .contents import HELLO, NEVER, SMALL, TS
from .suite import ABSENT, Checks, Subject, fits, holds

CHECKS = Checks()
OLD = b"one\ntwo\nthree\n"
NEW = b"one\n2\nthree\nfour\n"


async def put(subject: Subject, data: bytes, name: str | None = None, **more: object) -> str:
    """The reference of a content."""
    named = {} if name is None else {"name": name}
    ref: str = (await subject.ask("put", data=data, ts=TS, **named, **more))["ref"]
    return ref


def refs(reply: Any) -> list[str]:
    """The references of the artifacts in a reply, in its order."""
    return [info["ref"] for info in reply["artifacts"]]


@CHECKS.add(
    "Every put of a name with other bytes than its last version begins a new one: 1, 2, 3 …"
)
async def a_name_has_versions(subject: Subject) -> None:
    for data in (OLD, OLD, NEW, OLD):
        await put(subject, data, "plan")
    await put(subject, NEW, "other")
    old, new = await put(subject, OLD), await put(subject, NEW)
    row = {"created": TS, "there": True}
    expected = [
        {"version": number, "ref": ref, **row} for number, ref in ((3, old), (2, new), (1, old))
    ]
    fits(await subject.ask("versions", name="plan"), {"versions": expected, "next": ABSENT})
    await subject.restart()
    page = await subject.ask("versions", name="plan", limit=2)
    fits(page, {"versions": expected[:2], "next": 2})
    rest = await subject.ask("versions", name="plan", before=page["next"])
    fits(rest, {"versions": expected[2:]})
    fits(await subject.ask("versions", name="none"), {"versions": []})


@CHECKS.add("A version whose bytes were swept is told without `info`.")
async def a_version_that_was_swept_is_still_told(subject: Subject) -> None:
    await marked(subject, HELLO)
    await subject.ask("sweep", refs=[HELLO.ref], proofs=[proof(HELLO)], ts=SWEPT)
    told = {"version": 1, "ref": HELLO.ref, "there": False, "info": ABSENT}
    fits(await subject.ask("versions", name="n"), {"versions": [told]})


@CHECKS.add("lines, as a unified diff.")
async def two_texts_are_compared(subject: Subject) -> None:
    old, new = await put(subject, OLD), await put(subject, NEW)
    reply = await subject.ask("diff", a=old, b=new)
    fits(reply, {"same": False, "added": 2, "removed": 1, "more": False})
    lines = reply["diff"].splitlines()
    for line in ("-two", "+2", "+four", " one", " three"):
        holds(line in lines, f"a line {line!r}", reply["diff"])
    holds(any(line.startswith("@@ ") for line in lines), "a heading @@", reply["diff"])
    bare = (await subject.ask("diff", a=old, b=new, context=0))["diff"].splitlines()
    holds(" one" not in bare, "no context", bare)
    fits(await subject.ask("diff", a=old, b=old), {"same": True, "added": 0, "removed": 0})


@CHECKS.add("Only texts (UTF-8 without NUL, `bad-request`) of at most 1 MiB (`overloaded`)")
async def only_texts_of_some_length_are_compared(subject: Subject) -> None:
    text, binary = await put(subject, OLD), await put(subject, b"\0\xff")
    await subject.refused("bad-request", "diff", a=text, b=binary)
    long = await put(subject, b"x\n" * 600_000)
    await subject.refused("overloaded", "diff", a=text, b=long)
    await subject.refused("not-found", "diff", a=text, b=NEVER.ref)
    await subject.refused("bad-request", "diff", a=text, b=text, context=1001)


@CHECKS.add(
    "what it was made from, and what was made from it (not what else was made from its inputs)"
)
async def lineage_goes_both_ways(subject: Subject) -> None:
    first = await put(subject, b"first", "first")
    made = {"run": "r", "step": "s1", "player": "p", "inputs": [first]}
    second = await put(subject, b"second", "second", made=made)
    other = await put(subject, b"other", "other", made=made)
    third = await put(subject, b"third", "third", made={"step": "s2", "inputs": [second]})
    reply = await subject.ask("lineage", ref=second)
    depths = {node["ref"]: (node["depth"], node["there"]) for node in reply["nodes"]}
    fits(depths, {second: (0, True), first: (1, True), third: (1, True)}, "the nodes")
    holds(other not in depths, "no sibling among the nodes", depths)
    edges = sorted(reply["edges"], key=lambda edge: str(edge["made"]["step"]))
    step = {"run": "r", "step": "s1", "player": "p", "inputs": ABSENT}
    expected = [
        {"from": first, "to": second, "made": step},
        {"from": second, "to": third, "made": {"step": "s2"}},
    ]
    fits(edges, expected, "the edges")
    for way, found in (("inputs", {second, first}), ("outputs", {second, third})):
        nodes = (await subject.ask("lineage", ref=second, way=way))["nodes"]
        fits(sorted(node["ref"] for node in nodes), sorted(found), f"the nodes by {way}")
    near = await subject.ask("lineage", ref=third, depth=1)
    fits([node["ref"] for node in near["nodes"]], [third, second], "the nodes at most 1 away")
    await subject.refused("not-found", "lineage", ref=NEVER.ref)
    await subject.refused("bad-request", "lineage", ref=third, depth=101)


@CHECKS.add("one `COMPLETE` event for each attempt of a step")
async def lineage_is_told_as_openlineage(subject: Subject) -> None:
    first = await put(subject, b"first")
    made = {"run": "r", "step": "s", "attempt": 1, "inputs": [first]}
    both = [await put(subject, data, "out", made=made) for data in (b"a", b"b")]
    again = await put(subject, b"a", "out", made={**made, "attempt": 2})
    reply = await subject.ask("lineage", ref=first, format="openlineage")
    events = sorted(reply["events"], key=lambda event: -len(event["outputs"]))
    fits([event["eventType"] for event in events], ["COMPLETE"] * 2, "the events")
    fits(events[0]["inputs"], [{"namespace": "symphony", "name": first}], "the inputs")
    outputs = [sorted(row["name"] for row in event["outputs"]) for event in events]
    fits(outputs, [sorted(both), [again]], "the outputs")
    ids = [event["run"]["runId"] for event in events]
    holds(len(set(ids)) == 2 and all(len(each) == 36 for each in ids), "two UUIDs", ids)
    parents = [event["run"]["facets"]["parent"]["run"]["runId"] for event in events]
    holds(len(set(parents)) == 1, "one parent", parents)


@CHECKS.add("All that is given must fit.")
async def artifacts_are_found_by_what_is_known_of_them(subject: Subject) -> None:
    one = await put(subject, b"one", "first", made={"player": "ann"})
    two = await put(subject, b"two", "second", made={"player": "ann"})
    three = await put(subject, b"three", "second", made={"player": "bob"})
    await subject.ask("tag", ref=one, add=["good"], ts=TS)
    await subject.ask("tag", ref=three, add=["good"], ts=TS)
    await subject.ask("score", ref=three, semantics=900, ts=TS)
    fits(refs(await subject.ask("search")), [three, two, one], "all, newest first")
    for asked, expected in (
        ({"player": "ann"}, [two, one]),
        ({"name": "second"}, [three, two]),
        ({"name": "second", "player": "ann"}, [two]),
        ({"tag": "good"}, sorted([one, three])),
        ({"tag": "good", "player": "ann"}, [one]),
        ({"quality": 900}, [three]),
        ({"quality": 901}, []),
        ({"tag": "bad"}, []),
    ):
        fits(refs(await subject.ask("search", **asked)), expected, f"what fits {asked}")
    for limit in (0, 101):
        await subject.refused("bad-request", "search", limit=limit)


@CHECKS.add("1 to 16 different words, all of which must stand in the content.")
async def texts_are_found_by_their_words(subject: Subject) -> None:
    often = await put(subject, b"apple apple APPLE pear", "often")
    once = await put(subject, b"An apple; a_pear", "once")
    await put(subject, b"nothing of it", "none")
    await put(subject, b"apple \0 binary", "binary", media="application/octet-stream")
    await put(subject, b"apple without an entry")
    found = await subject.ask("search", text="Apple")
    fits(refs(found), [often, once], "what has the word, the best fit first")
    first, second = (info["fit"] for info in found["artifacts"])
    fits(first, 3 * second, "how much better three are than one")
    fits(refs(await subject.ask("search", text="pear apple")), [often], "what has both")
    fits(refs(await subject.ask("search", text="a_pear")), [once], "what has the word")
    fits(refs(await subject.ask("search", text="apple", name="once")), [once], "of that name")
    fits(refs(await subject.ask("search", text="pea")), [], "what has only a part")
    await subject.refused("bad-request", "search", text=" ; ")
    words = " ".join(f"w{number}" for number in range(17))
    await subject.refused("bad-request", "search", text=words)
    page = await subject.ask("search", text="apple", limit=1)
    rest = await subject.ask("search", text="apple", limit=1, after=page["next"])
    fits(refs(page) + refs(rest), [often, once], "both pages")


@CHECKS.add("Removed first, then added.")
async def artifacts_are_tagged(subject: Subject) -> None:
    ref, other = await put(subject, b"one", "one"), await put(subject, b"two")
    fits(await subject.ask("tag", ref=ref, add=["b", "a"], ts=TS), {"tags": ["a", "b"]})
    await subject.ask("tag", ref=other, add=["b"], ts=TS)
    reply = await subject.ask("tag", ref=ref, add=["b", "c"], remove=["b", "a"], ts=TS)
    fits(reply, {"tags": ["b", "c"]})
    await subject.restart()
    fits(await subject.ask("tags", ref=ref), {"tags": ["b", "c"]})
    fits(await subject.ask("stat", refs=[ref]), {"artifacts": [{"tags": ["b", "c"]}]})
    rows = [{"tag": "b", "artifacts": 2}, {"tag": "c", "artifacts": 1}]
    fits(await subject.ask("tags"), {"tags": rows})
    page = await subject.ask("tags", limit=1)
    fits(page, {"tags": rows[:1], "next": "b"})
    fits(await subject.ask("tags", after="b"), {"tags": rows[1:], "next": ABSENT})
    await subject.refused("not-found", "tag", ref=NEVER.ref, add=["x"], ts=TS)
    for tag in ("", "x" * 129):
        await subject.refused("bad-request", "tag", ref=ref, add=[tag], ts=TS)
    many = [f"t{number}" for number in range(65)]
    await subject.refused("overloaded", "tag", ref=ref, add=many, ts=TS)


@CHECKS.add("`quality` is the mean of what is known, weighted 30 : 50 : 20, rounded down.")
async def scores_come_to_a_quality(subject: Subject) -> None:
    ref = await put(subject, b"one", "one")
    fits(await subject.ask("stat", refs=[ref]), {"artifacts": [{"quality": ABSENT}]})
    fits(await subject.ask("score", ref=ref, structure=1000, ts=TS), {"quality": 1000, "uses": 0})
    reply = await subject.ask("score", ref=ref, semantics=500, ts=TS)
    fits(reply, {"quality": 687, "structure": 1000, "semantics": 500})
    for by, uses in (("a", 1), ("b", 2), ("a", 2)):
        fits(await subject.ask("use", ref=ref, by=by, ts=TS), {"uses": uses})
    await subject.restart()
    quality = (1000 * 30 + 500 * 50 + 666 * 20) // 100
    fits(await subject.ask("stat", refs=[ref]), {"artifacts": [{"quality": quality}]})
    reply = await subject.ask("score", ref=ref, utility=0, ts=TS)
    fits(reply, {"quality": 550, "utility": 0, "uses": 2})
    for wrong in (-1, 1001):
        await subject.refused("bad-request", "score", ref=ref, structure=wrong, ts=TS)
    await subject.refused("not-found", "score", ref=NEVER.ref, structure=1, ts=TS)
    await subject.refused("not-found", "use", ref=NEVER.ref, by="a", ts=TS)


@CHECKS.add("Its entries, kind, tags and scores stay, and hold again once its bytes are put again.")
async def what_was_swept_keeps_its_tags_and_scores(subject: Subject) -> None:
    await marked(subject, HELLO)
    await subject.ask("tag", ref=HELLO.ref, add=["good"], ts=TS)
    await subject.ask("score", ref=HELLO.ref, structure=700, ts=TS)
    await subject.ask("sweep", refs=[HELLO.ref], proofs=[proof(HELLO)], ts=SWEPT)
    fits(await subject.ask("search", tag="good"), {"artifacts": []})
    fits(await subject.ask("tags"), {"tags": []})
    await put(subject, HELLO.data)
    info = {"ref": HELLO.ref, "name": "n", "tags": ["good"], "quality": 700}
    fits(await subject.ask("search", tag="good"), {"artifacts": [info]})


@CHECKS.add("Who read or wrote what, when: one record for each call of")
async def reads_and_writes_are_on_record(subject: Subject) -> None:
    made = {"run": "r", "step": "s"}
    await put(subject, HELLO.data, "n", made=made, by="ann")
    await subject.ask("get", ref=HELLO.ref, by="bob")
    await subject.refused("not-found", "get", ref=NEVER.ref)
    await put(subject, SMALL[0].data)
    records = (await subject.ask("audit"))["records"]
    expected = [
        {"number": 1, "method": "put", "by": "ann", "run": "r", "step": "s", "refs": [HELLO.ref]},
        {"number": 2, "method": "get", "by": "bob", "refs": [HELLO.ref]},
        {"number": 3, "method": "put", "by": ABSENT, "refs": [SMALL[0].ref]},
    ]
    fits(records, expected, "the records")
    fits(records[0]["at"], TS, "when the first call was")
    await subject.restart()
    fits((await subject.ask("audit"))["records"], records, "the records after a kill")
    page = await subject.ask("audit", limit=1)
    fits(page, {"records": records[:1], "next": 1})
    fits((await subject.ask("audit", after=1))["records"], records[1:], "the records behind")
    hashes = {record["hash"] for record in records}
    holds(len(hashes) == 3, "a hash of each", hashes)
    fits(await subject.ask("verify"), {"broken": ABSENT})


@CHECKS.add("Any method takes `by?` (1 to 128 bytes)")
async def whoever_asks_has_a_name_of_some_length(subject: Subject) -> None:
    for by in ("", "x" * 129):
        await subject.refused("bad-request", "put", data=b"x", ts=TS, by=by)


@CHECKS.add("compressed harder (zstd 12) where that is smaller")
async def what_is_packed_is_as_it_was(subject: Subject) -> None:
    text = b"".join(b"line %d of a text that repeats itself\n" % number for number in range(5000))
    ref = await put(subject, text)
    packed = (await subject.ask("pack", refs=[ref], ts=TS))["packed"]
    holds(all(row["bytes"] < len(text) for row in packed), "fewer bytes", packed)
    await subject.restart()
    fits(await subject.ask("get", ref=ref, limit=1 << 20), {"data": text})
    fits(await subject.ask("verify"), {"bad": []})
