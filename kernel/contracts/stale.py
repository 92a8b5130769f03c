"""The suite of `pit.stale/1`: what is kept, archived, freed and deleted, and on what proof."""

from __future__ import annotations

from .contents import HELLO, SMALL
from .keepers import Keepers, at
from .suite import ABSENT, Checks, Subject, Suite, fits, holds

CHECKS = Checks()
SUITE = Suite("pit.stale/1", "bus/contracts/pit.stale-1.md", CHECKS)
WHY = "a check of the contract"
OLD = 40  # days


@CHECKS.add("Whole each time: what is not named has its default.")
async def a_configuration_has_one_digest(subject: Subject) -> None:
    first = await subject.ask("configure", local_days=3)
    fits(await subject.ask("configure", local_days=3), first)
    other = await subject.ask("configure", valuable=3)
    holds(other != first, "another digest", other)
    fits(await subject.ask("configure", valuable=3, local_days=30), other)


@CHECKS.add("`valuable` is the value (0 to 1000) from which an artifact is archived")
async def a_configuration_that_makes_no_sense_is_refused(subject: Subject) -> None:
    await subject.refused("bad-request", "configure", valuable=1001)
    await subject.refused("bad-request", "configure", pressure={"low_ppm": 2_000_000})


@CHECKS.add("A dry run: nothing is changed.")
async def a_plan_changes_nothing(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    plan = await keepers.plan(OLD)
    fits(plan[ref], {"action": "archive", "bytes": len(HELLO.data), "run": "r-1"})
    holds(plan[ref]["reason"], "a reason", plan[ref])
    changes = {"store mark", "store sweep", "archive begin", "archive delete", "store pack"}
    holds(not changes & set(keepers.calls), "no call that changes something", keepers.calls)


@CHECKS.add("Whatever the configuration says, what was put within a day stays")
async def what_is_young_stays(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure(local_days=0)
    ref = keepers.store.add(HELLO)
    fits((await keepers.plan(0.5))[ref], {"action": "keep"})
    await keepers.run(0.5)
    fits((keepers.archive.kept, keepers.store.marks), ({}, {}), "archive and marks")


@CHECKS.add("copy → read back → hash → record the proof (durable) → only then free.")
async def nothing_is_marked_before_its_copy_was_read_back(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    await keepers.freed(ref)
    fits(keepers.archive.kept, {ref: HELLO.data}, "the archive")
    holds(ref not in keepers.store.kept, "an artifact that was freed", keepers.store.kept)
    order = [keepers.calls.index(f"archive {word}") for word in ("begin", "commit", "get")]
    order.append(keepers.calls.index("artifacts mark"))
    holds(order == sorted(order), "copy, read back, then mark", keepers.calls)


@CHECKS.add("Every deletion cites its proof")
async def a_sweep_cites_the_proof(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    await keepers.freed(ref)
    cited = keepers.store.swept[ref]["proof"]
    fits(cited, {"ref": ref, "hash": ref, "bytes": len(HELLO.data)}, "what the sweep cited")
    (proof,) = (await subject.ask("proofs"))["proofs"]
    fits(proof, {"ref": ref, "hash": ref, "place": "pit.archive/1"})
    holds(proof["read_back"] and proof["freed"], "when it was read back and freed", proof)


@CHECKS.add(
    "A copy that is not read back as it was written is deleted from the archive and stops the run."
)
async def an_archive_that_lies_gets_nothing(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    keepers.archive.lies = True
    reply = await keepers.run(OLD)
    holds(reply.get("stopped"), "a run that says what stopped it", reply)
    fits(keepers.archive.kept, {}, "the archive")
    fits((keepers.store.marks, list(keepers.store.kept)), ({}, [ref]), "the store")
    fits((await subject.ask("report"))["proofs"], 0, "the proofs")
    keepers.archive.lies = False
    await keepers.freed(ref)
    fits(keepers.archive.kept, {ref: HELLO.data}, "the archive, once it does not lie")


@CHECKS.add("the report says what stopped it")
async def without_an_archive_nothing_is_freed(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    keepers.archive.away = True
    reply = await keepers.run(OLD)
    holds(reply.get("stopped"), "a run that says what stopped it", reply)
    fits(list(keepers.store.kept), [ref], "the store")
    last = (await subject.ask("report"))["last"]
    holds(last.get("stopped"), "a report that says what stopped it", last)


@CHECKS.add(
    "(a member away, a damaged run, a listing that does not go on) stops deletion altogether"
)
async def what_is_uncertain_stops_everything(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    await keepers.run(OLD)  # archived, and marked
    for fault in ("store", "tracker", "damaged"):
        keepers.store.away = fault == "store"
        keepers.tracker.away = fault == "tracker"
        keepers.tracker.states["r-2"] = {"state": "corrupt" if fault == "damaged" else "succeeded"}
        plan = await subject.ask("plan", ts=at(OLD + 8))
        holds(plan.get("stopped"), f"a plan that is stopped by the {fault}", plan)
        fits(plan["items"], [], "its items")
        reply = await subject.ask("run", id=f"run-{fault}", ts=at(OLD + 8))
        holds(reply.get("stopped"), f"a run that is stopped by the {fault}", reply)
        fits(list(keepers.store.kept), [ref], "the store")


@CHECKS.add("*Referenced* is every reference that stands anywhere in the `state` of an open run")
async def what_an_open_run_names_stays(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    deep = {"outputs": {"x": {"list": [{"deep": ref}]}}}
    keepers.tracker.states["r-2"] = {"state": "open", "steps": [{"id": "s", **deep}]}
    fits((await keepers.plan(OLD))[ref], {"action": "keep"})
    await keepers.run(OLD)
    fits(keepers.archive.kept, {}, "the archive")
    keepers.tracker.states["r-2"]["state"] = "succeeded"
    fits((await keepers.plan(OLD + 2))[ref], {"action": "archive"})


@CHECKS.add("what an open run's products were made from (`inputs`)")
async def what_its_products_were_made_from_stays_too(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    source = keepers.store.add(HELLO)
    made = {"run": "r-2", "step": "s", "player": "p", "version": "1.0.0", "inputs": [source]}
    keepers.store.add(SMALL[0], made=made)
    keepers.tracker.states["r-2"] = {"state": "open"}
    fits((await keepers.plan(OLD))[source], {"action": "keep"})


@CHECKS.add("what is referenced by an open run, pinned, under hold")
async def what_is_pinned_stays(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    given = {"who": "somebody", "why": WHY, "ts": at(1)}
    for subject_of in ({"ref": ref}, {"run": "r-1"}):
        fits(await subject.ask("pin", **subject_of, **given), {"pinned": 1})
        fits(await subject.ask("pin", **subject_of, **given), {"pinned": 1}, "the same again")
        fits((await keepers.plan(OLD))[ref], {"action": "keep"}, f"with a pin of {subject_of}")
        fits(await subject.ask("unpin", **subject_of, **given), {"pinned": 0})
        fits((await keepers.plan(OLD))[ref], {"action": "archive"})


@CHECKS.add("a legal hold by name; stronger than any rule")
async def what_is_held_stays_until_every_hold_is_released(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    given = {"who": "counsel", "why": WHY, "ts": at(1)}
    await subject.ask("hold", name="first", refs=[ref], **given)
    await subject.ask("hold", name="second", runs=["r-1"], **given)
    fits((await keepers.plan(OLD))[ref], {"action": "keep"})
    await subject.ask("release_hold", name="first", **given)
    await subject.restart()
    fits((await keepers.plan(OLD))[ref], {"action": "keep"}, "with the second hold, after a kill")
    await subject.ask("release_hold", name="second", **given)
    fits((await keepers.plan(OLD))[ref], {"action": "archive"})


@CHECKS.add(
    "`hold` of a name that is there adds to it; with neither `refs` nor `runs`: `bad-request`."
)
async def a_hold_grows_and_is_released_in_parts(subject: Subject) -> None:
    refs = [content.ref for content in SMALL[:2]]
    given = {"name": "case", "who": "counsel", "why": WHY, "ts": at(1)}
    await subject.refused("bad-request", "hold", **given)
    fits(await subject.ask("hold", refs=refs[:1], **given), {"held": 1})
    fits(await subject.ask("hold", refs=refs[1:], runs=["r-1"], **given), {"held": 3})
    await subject.restart()
    (row,) = (await subject.ask("holds"))["holds"]
    fits(row, {"name": "case", "held": 3, "runs": ["r-1"], "who": "counsel", "why": WHY})
    fits(set(row["refs"]), set(refs), "the artifacts under it")
    await subject.refused("not-found", "release_hold", runs=["r-2"], **given)
    fits(await subject.ask("release_hold", refs=refs, **given), {"held": 1})
    fits(await subject.ask("release_hold", **given), {"held": 0})
    fits(await subject.ask("holds"), {"holds": []})


@CHECKS.add("Written down before anything moves.")
async def what_happened_can_be_looked_up(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    given = {"name": "case", "who": "counsel", "why": WHY, "ts": at(1)}
    await subject.ask("hold", refs=[ref], **given)
    await subject.ask("release_hold", **given)
    keepers.archive.away = True
    await keepers.run(OLD)
    await subject.restart()
    events = (await subject.ask("events"))["events"]
    kinds = [event["kind"] for event in events]
    fits(kinds, ["held", "released", "moving", "ran"], "the events")
    fits(events[0], {"name": "case", "items": 1, "who": "counsel", "why": WHY})
    fits(events[2], {"items": 1, "bytes": len(HELLO.data)})
    holds(events[3].get("why"), "what stopped the run", events[3])
    newest = await subject.ask("events", newest=True, limit=1)
    fits([event["kind"] for event in newest["events"]], ["ran"], "the newest event")
    second = await subject.ask("events", newest=True, limit=1, after=newest["next"])
    fits([event["kind"] for event in second["events"]], ["moving"], "the one before")


@CHECKS.add("`here`: the store has it (`stat`), so nothing is brought back")
async def what_is_here_is_not_restored(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    await keepers.run(OLD)  # archived, and marked
    reply = await subject.ask("restore", ref=ref, id="here", ts=at(OLD))
    fits(reply, {"restored": [], "here": [ref], "missing": []})
    fits(keepers.store.marks, {}, "the marks")


@CHECKS.add("`away` whether the archive alone has it, `run` among its `runs`")
async def proofs_are_found(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    await keepers.run(OLD)
    for wanted, there in (({"away": False}, True), ({"away": True}, False), ({"run": "x"}, False)):
        found = (await subject.ask("proofs", **wanted))["proofs"]
        fits([proof["ref"] for proof in found], [ref] if there else [], f"with {wanted}")
    await keepers.freed(ref)
    asked = {"away": True, "run": "r-1", "begins": ref[:20], "newest": True}
    (proof,) = (await subject.ask("proofs", **asked))["proofs"]
    fits(proof, {"ref": ref, "place": "pit.archive/1"})


@CHECKS.add("there is never pressure, and nothing is deleted")
async def without_pressure_nothing_is_deleted(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure(valuable=1000)
    refs = {keepers.store.add(content) for content in SMALL[:4]}
    plan = await keepers.plan(OLD)
    actions = {plan[ref]["action"] for ref in refs}
    holds("delete" not in actions, "no deletion", actions)
    for day in range(OLD, OLD + 8, 2):
        await keepers.run(day)
    cited = [row for row in keepers.store.swept.values() if not row.get("proof")]
    fits(cited, [], "what was swept without a proof")


@CHECKS.add("the plan and the pressure that it rested on")
async def under_pressure_what_is_worth_little_goes_and_says_why(subject: Subject) -> None:
    keepers = Keepers(subject)
    pressure = {"bytes": 40, "high_ppm": 900_000, "low_ppm": 500_000}
    await keepers.configure(valuable=1000, pressure=pressure)
    refs = {keepers.store.add(content) for content in SMALL[:5]}
    plan = await keepers.plan(OLD)
    doomed = {ref for ref in refs if plan[ref]["action"] == "delete"}
    holds(doomed, "something that is deleted", plan)
    for day in range(OLD, OLD + 8, 2):
        await keepers.run(day)
    gone = refs - keepers.store.kept.keys()
    holds(gone, "something that is gone", keepers.store.kept)
    for ref in gone:
        row = keepers.store.swept[ref]
        holds(row.get("pressure") or row.get("proof"), "a citation", row)
    cited = [row["pressure"] for row in keepers.store.swept.values() if row.get("pressure")]
    holds(cited, "a deletion that cites plan and pressure", keepers.store.swept)
    holds(all(c["plan"] and c["used"] >= c["bytes"] * 0.9 for c in cited), "the pressure", cited)


@CHECKS.add("What it lost is no longer proven and is copied anew.")
async def what_the_archive_lost_is_not_freed(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    await keepers.run(OLD)
    fits(keepers.archive.kept, {ref: HELLO.data}, "the archive")
    keepers.archive.kept.clear()
    for day in range(OLD + 2, OLD + 20, 2):
        await keepers.run(day)
        if ref not in keepers.store.kept:
            break
    fits(keepers.archive.kept, {ref: HELLO.data}, "the archive when it was freed")


@CHECKS.add("hash checked before the store takes it")
async def a_restore_takes_only_what_was_archived(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    await keepers.freed(ref)
    keepers.archive.lies = True
    reply = await subject.ask("restore", ref=ref, id="first", ts=at(70))
    fits(reply, {"restored": [], "missing": [ref]})
    holds(ref not in keepers.store.kept, "nothing that the store took", keepers.store.kept)
    keepers.archive.lies = False
    reply = await subject.ask("restore", run="r-1", id="second", ts=at(70))
    fits(reply, {"restored": [{"ref": ref, "bytes": len(HELLO.data)}], "missing": []})
    fits(keepers.store.kept, {ref: HELLO.data}, "the store")


@CHECKS.add("An artifact stays for `local_days` after it came back.")
async def what_came_back_stays_for_a_while(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    await keepers.freed(ref)
    await subject.ask("restore", ref=ref, id="back", ts=at(70))
    early = (await keepers.plan(90))[ref]["action"]
    holds(early in ("keep", "pack"), "no action that takes it away", early)
    fits((await keepers.plan(110))[ref], {"action": "free"})


@CHECKS.add("Interrupted or stopped, it goes on where it was when asked again.")
async def proofs_outlive_a_kill_and_nothing_is_copied_twice(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    await keepers.run(OLD)
    await subject.restart()
    fits((await subject.ask("report"))["proofs"], 1, "the proofs after a kill")
    await keepers.freed(ref)
    fits(keepers.calls.count("archive begin"), 1, "the copies")
    holds(ref not in keepers.store.kept, "an artifact that was freed", keepers.store.kept)


@CHECKS.add("`id` as in `pit.arbitration/1`")
async def an_id_has_one_effect(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    keepers.store.add(HELLO)
    first = await keepers.run(OLD)
    copies = keepers.calls.count("archive begin")
    fits(await keepers.run(OLD), first, "the same run again")
    fits(keepers.calls.count("archive begin"), copies, "the copies")
    await subject.refused("conflict", "run", id=f"run-{OLD}", actions=["pack"], ts=at(OLD))


@CHECKS.add("It goes before what the tracker says.")
async def what_is_told_of_a_run_counts(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    before = (await keepers.plan(OLD))[ref]["value"]
    await subject.ask("note", id="n", run="r-1", outcome="aborted", ts=at(1))
    after = (await keepers.plan(OLD))[ref]["value"]
    holds(after < before, "less worth than of a run that won", (before, after))


@CHECKS.add("the mean of all scores of the artifact and its runs")
async def feedback_counts(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    values = []
    for number, score in enumerate((0, 1000, 1000)):
        given = {"id": f"f{number}", "ref": ref, "score": score, "who": "somebody", "ts": at(1)}
        await subject.ask("feedback", **given)
        values.append((await keepers.plan(OLD))[ref]["value"])
    holds(values == sorted(set(values)), "more worth with each", values)
    await subject.refused(
        "bad-request", "feedback", id="x", ref=ref, score=1001, who="somebody", ts=at(1)
    )


@CHECKS.add("the most valuable first, never two of the same content")
async def training_gives_the_most_valuable_first(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    refs = [keepers.store.add(SMALL[n], quality=q) for n, q in enumerate((10, 900, 400))]
    keepers.store.add(SMALL[1], name="again", quality=900)
    items = (await subject.ask("training"))["items"]
    fits([item["ref"] for item in items], [refs[1], refs[2], refs[0]], "the references")
    few = (await subject.ask("training", limit=1))["items"]
    fits([item["ref"] for item in few], [refs[1]], "the first one")


@CHECKS.add("what improved which policy")
async def what_taught_a_policy_is_told(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    ref = keepers.store.add(HELLO)
    await subject.ask("taught", policy="v7", refs=[ref], gain=12, ts=at(2))
    await subject.restart()
    (item,) = (await subject.ask("training"))["items"]
    fits(item, {"ref": ref, "teaches": ["v7"]})


@CHECKS.add("It keeps nothing, so it may be asked again")
async def cleaning_up_spares_the_living(subject: Subject) -> None:
    folders = ["/home/instances/a", "/home/instances/b"]
    dead = [{"instance": "a", "folders": folders, "sockets": ["/run/s/a.sock"], "leases": ["l1"]}]
    asked = {"dead": dead, "live": ["/home/instances/b/inner"], "ts": at(0)}
    for _ in range(2):
        reply = await subject.ask("cleanup", **asked)
        fits(set(reply["remove"]), {folders[0], "/run/s/a.sock"}, "what may go")
        fits(reply["leases"], ["l1"])
    outside = [{"instance": "a", "folders": ["relative"]}]
    await subject.refused("bad-request", "cleanup", dead=outside, ts=at(0))


@CHECKS.add("another cursor is `not-found`")
async def a_plan_is_read_page_by_page(subject: Subject) -> None:
    keepers = Keepers(subject)
    await keepers.configure()
    refs = {keepers.store.add(content) for content in SMALL[:5]}
    page = await subject.ask("plan", limit=2, ts=at(OLD))
    found = [item["ref"] for item in page["items"]]
    fits(len(found), 2, "the first page")
    while page.get("next") is not None:
        page = await subject.ask("plan", limit=2, after=page["next"], ts=at(OLD))
        found += [item["ref"] for item in page["items"]]
    holds(len(found) == 5 and set(found) == refs, "every artifact once", found)
    await subject.refused("not-found", "plan", after="no-cursor", ts=at(OLD))


@CHECKS.add("`{}` → counters.")
async def it_counts(subject: Subject) -> None:
    reply = await subject.ask("stats")
    holds(all(type(value) is int for value in reply.values()), "whole numbers", reply)
    fits(await subject.ask("report"), {"proofs": 0, "freed": 0, "stopped": ABSENT})
