"""Artifacts that only the archive has: whoever wants one is told so, and how it comes back; before
any of them moves, whoever watches the kernel is told as well."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_harness import LIMIT_S, Symphony
from interface_checks import check_answer, check_error_json, check_errors
from test_archive_member import LATER
from test_backup import damage

from symphony.kernel.kernel import Kernel, Settings
from symphony.kernel.places import Places

PIT = "[stale]\nlocal_days = 0\nvaluable = 100\n"


def later(symphony: Symphony, day: int, *words: str) -> subprocess.CompletedProcess[str]:
    """`stale WORDS`, so many days from now."""
    return subprocess.run(
        [sys.executable, "-c", LATER, str(day), "stale", *words],
        env=symphony.environment,
        timeout=LIMIT_S,
        capture_output=True,
        text=True,
        check=False,
    )


def make(symphony: Symphony, text: str) -> tuple[str, str, str]:
    """A run that makes a text: its name, and the artifact's reference and name."""
    step = {"id": "a", "inputs": {"plan": [text]}}
    code, events = symphony.play(symphony.melody(step, outputs={"x": "$steps.a.answer"}))
    assert code == 0, events
    ref = events[-1]["artifacts"]["x"]["reference"]
    return events[-1]["run"], ref, symphony.answer("artifacts", "show", ref)["name"]


@pytest.fixture
def old(symphony: Symphony) -> Symphony:
    """A home whose artifacts were archived and freed."""
    (symphony.home / "pit.toml").write_text(PIT)
    symphony.run, symphony.ref, symphony.name = make(symphony, "worth keeping")
    symphony.said = ""
    for day in (2, 4):
        done = later(symphony, day, "run")
        assert done.returncode == 0, done.stderr
        symphony.said += done.stderr
    return symphony


def test_what_is_archived_says_so_and_how_it_comes_back(old: Symphony) -> None:
    for name in (old.ref, old.ref[:20], old.name, f"{old.name}@1"):
        for words in (("show", name), ("get", name), ("diff", name, name)):
            done = old.kernel("artifacts", *words, *(() if "get" in words else ("--json",)))
            said = check_errors(done, 4, "was archived on 20", f"stale restore {old.ref}")
            assert "no such artifact" not in said
            if "get" not in words:
                assert check_error_json(done)["code"] == "archived"
    check_errors(old.kernel("artifacts", "show", "blake3:00"), 4, "no such artifact")

    listed = old.kernel("artifacts", "list")
    assert "see `artifacts list --archived`" in listed.stderr
    found = check_answer("artifacts", old.kernel("artifacts", "list", "--json"))
    assert (found["artifacts"], found["archived"] > 0) == ([], True)
    away = check_answer("archived", old.kernel("artifacts", "list", "--archived", "--json"))
    (row,) = (row for row in away["archived"] if row["ref"] == old.ref)
    assert (row["name"], row["runs"], row["place"]) == (old.name, [old.run], "built-in")
    for more, count in (
        (("--name", old.name), 1),
        (("--run", "another"), 0),
        (("--limit", "1"), 1),
    ):
        some = old.answer("artifacts", "list", "--archived", *more)
        assert len(some["archived"]) == count, more
    check_errors(old.kernel("artifacts", "list", "--archived", "--step", "a"), 2, "--step")

    graph = check_answer("lineage", old.kernel("artifacts", "lineage", old.name, "--json"))
    (node,) = (node for node in graph["nodes"] if node["ref"] == old.ref)
    assert (node["there"], node["archived"]) == (False, row["archived"])
    assert "archived 20" in old.kernel("artifacts", "lineage", old.ref).stdout

    back = check_answer("stale-restored", old.kernel("stale", "restore", old.run, "--json"))
    assert old.ref in {row["ref"] for row in back["restored"]}
    assert old.kernel("artifacts", "get", old.name).stdout == "worth keeping"
    again = check_answer("stale-restored", old.kernel("stale", "restore", old.ref, "--json"))
    assert (again["restored"], again["here"], again["missing"]) == ([], [old.ref], [])
    assert "are here already" in old.kernel("stale", "restore", old.ref).stdout


def test_an_older_version_is_not_given_in_the_place_of_an_archived_one(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text(PIT)
    _, first, name = make(symphony, "first")
    _, second, _ = make(symphony, "second")
    symphony.kernel("stale", "pin", first, "--why", "a test")
    for day in (2, 4):
        later(symphony, day, "run")
    done = symphony.kernel("artifacts", "get", name)
    check_errors(done, 4, f"stale restore {second}, or take {name}@1".replace(",", "`,"))
    assert symphony.kernel("artifacts", "get", f"{name}@1").stdout == "first"


def test_it_is_said_before_anything_valuable_moves(old: Symphony) -> None:
    assert "are about to move" in old.said, "by the kernel of the command's own"
    make(old, "another")
    kernel = old.serve()
    assert later(old, 8, "run").returncode == 0
    report = check_answer("stale-report", old.kernel("stale", "report", "--json"))
    kinds = [event["kind"] for event in report["event_list"]]
    assert kinds[:2] == ["ran", "moving"]
    assert report["event_list"][1]["items"] > 0
    assert "moving" in old.kernel("stale", "report").stdout
    old.kernel("stop")
    _, said = kernel.communicate()
    assert "are about to move" in said
    assert "(built-in)" in said
    assert "are about to move" in (old.home / "logs" / "kernel.log").read_text()


@pytest.mark.parametrize("served", [False, True], ids=["no kernel", "kernel running"])
def test_a_legal_hold_is_stronger_than_age_and_is_told(symphony: Symphony, served: bool) -> None:
    pressure = 'bytes = "1KiB"\n'
    (symphony.home / "pit.toml").write_text(PIT + pressure)
    run, ref, _ = make(symphony, "evidence")
    other, _, _ = make(symphony, "more evidence" * 500)
    if served:
        symphony.serve()
    hold = ("stale", "hold", "case-7", ref[:20], other, "--why", "the lawsuit")
    assert check_answer("stale-held", symphony.kernel(*hold, "--json"))["held"] == 2
    held = check_answer(
        "stale-held", symphony.kernel("stale", "hold", "case-8", run, "--why", "x", "--json")
    )
    assert held["held"] == 3
    for day in (2, 4):
        later(symphony, day, "run")
    assert symphony.kernel("artifacts", "get", ref).stdout == "evidence"
    report = check_answer("stale-report", symphony.kernel("stale", "report", "--json"))
    (first, second) = report["hold_list"]
    assert (first["name"], first["held"], first["why"]) == ("case-7", 2, "the lawsuit")
    assert (first["refs"], first["runs"], second["runs"]) == ([ref], [other], [run])
    assert first["who"]
    shown = symphony.kernel("stale", "report").stdout
    assert "the lawsuit" in shown
    release = ("stale", "release", "case-7")
    check_errors(symphony.kernel(*release, run, "--why", "x"), 4, "is not under the hold")
    check_errors(symphony.kernel("stale", "release", "case-9", "--why", "x"), 4, "no hold")
    check_errors(symphony.kernel("stale", "hold", "case-9", "no-such-run", "--why", "x"), 4)
    assert json.loads(symphony.kernel(*release, ref, "--why", "x", "--json").stdout)["held"] == 2
    symphony.kernel("stale", "release", "case-7", "--why", "settled")
    symphony.kernel("stale", "release", "case-8", "--why", "settled")
    told = symphony.answer("stale", "report", "--events", "3")["event_list"]
    assert [(e["kind"], e["name"]) for e in told] == [
        ("released", "case-8"),
        ("released", "case-7"),
        ("released", "case-7"),
    ]
    for day in (6, 8):
        later(symphony, day, "run")
    check_errors(symphony.kernel("artifacts", "get", ref), 4, "was archived on")


def test_only_is_checked_at_the_command_line(symphony: Symphony) -> None:
    check_errors(symphony.kernel("stale", "run", "--only", "foo"), 2, "foo", "archive")
    assert not (symphony.home / "stale").exists(), "nothing was started for it"


def test_what_the_archive_lost_or_damaged_is_told_apart_with_what_to_do(old: Symphony) -> None:
    (row, *others) = json.loads(old.kernel("artifacts", "list", "--archived", "--json").stdout)[
        "archived"
    ]
    archive = old.home / "stale" / "archive"
    lost, flipped = old.ref, next(it["ref"] for it in (row, *others) if it["ref"] != old.ref)
    sound = (archive / lost.removeprefix("blake3:")).read_bytes()
    (archive / lost.removeprefix("blake3:")).unlink()
    damage(archive / flipped.removeprefix("blake3:"))
    done = old.kernel("stale", "restore", old.run)
    told = "not in the archive: 1 artifact; damaged there: 1 artifact"
    check_errors(done, 6, told, old.run, "from a backup")
    assert f"missing: {lost}" in done.stdout
    assert f"damaged: {flipped}" in done.stdout
    found = json.loads(old.kernel("stale", "restore", old.run, "--json").stdout)
    assert (set(found["missing"]), found["damaged"]) == ({lost, flipped}, [flipped])

    events = old.answer("stale", "report")["event_list"]
    assert [(e["name"], e["items"]) for e in events if e["kind"] == "lost"] == [(old.run, 2)]
    got = old.kernel("artifacts", "get", old.name)
    check_errors(got, 4, "the archive did not give it back", "put its file back", lost)
    (archive / lost.removeprefix("blake3:")).write_bytes(sound)
    assert old.kernel("stale", "restore", old.ref).returncode == 0
    assert old.kernel("artifacts", "get", old.name).stdout == "worth keeping"


def test_what_a_damaged_run_stops_says_which_journal_to_repair(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text(PIT)
    run, ref, _ = make(symphony, "worth keeping")
    damage(symphony.home / "dag" / "runs" / f"{run}.journal", at=40)
    for words in (("stale", "run"), ("stale", "plan")):
        for flags in ((), ("--json",)):
            done = symphony.kernel(*words, *flags)
            assert done.returncode == 5
            assert f"(stale {words[1]})" in done.stderr
            assert f"help: {run}.journal: restore this file from a backup" in done.stderr
    assert symphony.kernel("artifacts", "get", ref).stdout == "worth keeping"


def test_amounts_are_the_same_wherever_they_are_told(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text(PIT)
    for name in ("one", "two"):
        symphony.write(f"given/{name}.txt", name * 500)
    melody = symphony.melody(
        {"id": "a", "inputs": {"plan": ["ok"]}}, inputs={"all": {"type": "folder"}}
    )
    code, _ = symphony.play(melody, "--input", f"all={symphony.folder / 'given'}")
    assert code == 0
    (folder,) = (
        row for row in symphony.answer("artifacts", "list")["artifacts"] if row["kind"] == "folder"
    )
    plan = symphony.answer("stale", "plan")
    (planned,) = (item for item in plan["items"] if item["ref"] == folder["ref"])
    assert planned["bytes"] == folder["bytes"] == 3000
    told = [json.loads(later(symphony, 2, "plan", "--json").stdout)["totals"]["archive"]]
    first = later(symphony, 2, "run", "--json")
    told.append(json.loads(first.stdout)["done"]["archive"])
    assert f"{told[0]['items']} (2.9 KiB) to be archived" in first.stderr
    second = later(symphony, 4, "run", "--json")
    assert f"{told[0]['items']} (2.9 KiB) that are archived to be freed here" in second.stderr
    told.append(json.loads(second.stdout)["done"]["free"])
    assert told == [told[0]] * 3
    rows = symphony.answer("artifacts", "list", "--archived")["archived"]
    assert next(row["bytes"] for row in rows if row["ref"] == folder["ref"]) == 3000


def test_whatever_a_run_needs_of_the_archive_comes_back_by_itself(
    old: Symphony, tmp_path: Path
) -> None:
    async def stage() -> list[Any]:
        kernel = Kernel(Settings(Places.find(old.home, old.environment)))
        await kernel.start()
        try:
            await kernel.settled(20)
            await kernel.artifacts.stage(tmp_path, [(old.ref, "input")])
            return [(tmp_path / "input").read_text()]
        finally:
            await kernel.close()

    assert asyncio.run(stage()) == ["worth keeping"]
    assert old.kernel("artifacts", "get", old.ref).stdout == "worth keeping"
