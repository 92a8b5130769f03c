"""`verify`: a sound home, and whatever is damaged in one or missing from it, by name."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_harness import LIMIT_S, PLAYERS, Symphony
from interface_checks import check_answer, check_error_json, check_errors
from test_archive_member import LATER
from test_backup import SERVED, damage, play

KEEP = "[stale]\nlocal_days = 0\nvaluable = 100\n"


def later(symphony: Symphony, days: int, *words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", LATER, str(days), *words, "--json"],
        env=symphony.environment,
        timeout=LIMIT_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def blob(symphony: Symphony, reference: str) -> Path:
    digits = reference.removeprefix("blake3:")
    return symphony.home / "artifacts" / "blobs" / digits[:2] / digits[2:]


@SERVED
def test_a_sound_home(symphony: Symphony, served: bool) -> None:
    play(symphony)
    if served:
        symphony.serve()
    sound = check_answer("sound", symphony.kernel("verify", "--json"))
    assert sound["runs"] == 1
    assert sound["records"] > 5
    assert sound["gone"] == 0
    assert "all accounted for" in symphony.kernel("verify").stdout


def test_what_a_user_writes_is_no_reference(symphony: Symphony) -> None:
    seeming = {"ref": f"blake3:{'0' * 64}", "kind": "file", "more": {"ref": f"blake3:{'z' * 64}"}}
    melody = symphony.melody(
        {"id": "a", "inputs": {"plan": ["ok"]}}, inputs={"x": {"type": "json"}}
    )
    code, _ = symphony.play(melody, "--input", f"x={json.dumps(seeming)}")
    assert code == 0
    sound = check_answer("sound", symphony.kernel("verify", "--json"))
    assert sound["named"] == 2, "the two outputs of the step"


def test_a_home_in_which_nothing_is_is_no_sound_one(symphony: Symphony) -> None:
    for command in (("verify",), ("backup", "monday")):
        check_errors(symphony.kernel(*command), 4, "nothing in this home", "--home")
    assert not (symphony.folder / "monday").exists()
    assert symphony.kernel("runs", "list").returncode == 0
    assert check_answer("sound", symphony.kernel("verify", "--json"))["runs"] == 0


@SERVED
@pytest.mark.parametrize("what", ["artifact", "journal"])
def test_damage_is_named(symphony: Symphony, what: str, served: bool) -> None:
    made = play(symphony)
    play(symphony, "another")
    if served:
        symphony.serve()
    if what == "artifact":
        named = made["a"]
        damage(blob(symphony, named))
    else:
        path = symphony.home / "dag" / "runs" / f"{made['run']}.journal"
        named = str(path)
        content = bytearray(path.read_bytes())
        content[40] ^= 1
        path.write_bytes(content)
    done = symphony.kernel("verify", "--json")
    check_errors(done, 6, named)
    error = check_error_json(done)
    assert error["code"] == "corrupt"
    assert named in {problem["where"] for problem in error["problems"]}


@pytest.mark.parametrize("path", ["dag/format", "arbitration/ledger.journal", "journal"])
def test_a_pipe_where_a_file_was_is_damage_and_nothing_waits_at_it(
    symphony: Symphony, path: str
) -> None:
    made = play(symphony)
    play(symphony, "another")
    place = symphony.home / (f"dag/runs/{made['run']}.journal" if path == "journal" else path)
    place.unlink()
    os.mkfifo(place)
    check_errors(symphony.kernel("verify"), 6, str(place))
    copied = symphony.kernel("backup", "monday")
    assert copied.returncode == 6
    assert place.name in copied.stderr


@SERVED
@pytest.mark.parametrize("part", ["dag", "arbitration", "pool", "stale", "stale/archive"])
def test_a_store_without_its_format_is_told_and_not_marked_anew(
    symphony: Symphony, part: str, served: bool
) -> None:
    (symphony.home / "pit.toml").write_text(KEEP)
    play(symphony)
    later(symphony, 2, "stale", "run")
    if served:
        symphony.serve()
    path = symphony.home / part / "format"
    path.unlink()
    done = symphony.kernel("verify")
    check_errors(done, 6, str(path), "its format file is missing")
    if not served:
        name = f"symphony-{path.parent.name}"
        assert f'write "{name} {2 if part == "dag" else 1}" into it' in done.stderr
    assert not path.exists()


STORES = {  # what is taken away: the path that is named for it
    "dag/runs": "dag/runs",
    "artifacts": "artifacts/index.redb",
    "arbitration": "arbitration/ledger.journal",
    "pool": "pool/leases.journal",
    "stale/curator.journal*": "stale/curator.journal",
}


@pytest.mark.parametrize("gone", [{"dag": "dag/runs"}, {"stale": "stale/curator.journal"}, STORES])
@pytest.mark.parametrize("meanwhile", [False, True])
def test_stores_that_are_gone_are_named_although_their_members_begin_others(
    symphony: Symphony, gone: dict[str, str], meanwhile: bool
) -> None:
    play(symphony)
    for path in [path for pattern in gone for path in symphony.home.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if meanwhile:
        symphony.kernel("runs", "list")
    named = {str(symphony.home / held) for held in gone.values()}
    for _ in range(2):
        done = symphony.kernel("verify", "--json")
        check_errors(done, 6, *named, "what this held is gone", "stores.seen")
        error = check_error_json(done)
        assert named <= {problem["where"] for problem in error.get("problems", [error])}
    done = symphony.kernel("backup", "monday", "--json")
    assert done.returncode == 6
    noted = {note["path"]: note["why"] for note in json.loads(done.stdout)["damaged"]}
    for held in gone.values():
        assert noted[held].startswith("what this held is gone")
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})
    said = symphony.kernel("run", melody, "--extensions", PLAYERS).stderr
    for where in [*named, "stores.seen"]:
        assert where in said


def test_what_was_put_back_is_expected_again_and_what_is_given_up_is_not(
    symphony: Symphony,
) -> None:
    play(symphony)
    (symphony.home / "pool").rename(symphony.folder / "pool")
    check_errors(symphony.kernel("verify"), 6, "leases.journal")
    shutil.rmtree(symphony.home / "pool")
    (symphony.folder / "pool").rename(symphony.home / "pool")
    check_errors(symphony.kernel("verify"), 6, "leases.journal")
    (symphony.home / "stores.seen").unlink()
    assert symphony.kernel("verify").returncode == 0
    shutil.rmtree(symphony.home / "pool")
    check_errors(symphony.kernel("verify"), 6, "leases.journal")


def test_a_store_that_goes_beneath_a_kernel_is_named(symphony: Symphony) -> None:
    play(symphony)
    symphony.serve()
    shutil.rmtree(symphony.home / "pool")
    check_errors(symphony.kernel("verify"), 6, str(symphony.home / "pool" / "leases.journal"))


NO_PATHS = [{"seen": [path]} for path in ("a\0b", "/etc/passwd", "../../etc/passwd", "")]


@pytest.mark.parametrize("what", ["folder", "pipe", "[", *map(json.dumps, NO_PATHS)])
def test_a_list_of_stores_that_cannot_be_read_stops_nothing(symphony: Symphony, what: str) -> None:
    play(symphony)
    path = symphony.home / "stores.seen"
    path.unlink()
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case text:
            path.write_text(text)
    assert symphony.kernel("verify", timeout=60).returncode == 0
    assert path.is_file() == (what != "folder")
    assert str(path) in (symphony.home / "logs" / "kernel.log").read_text()


def test_a_journal_under_another_runs_name_is_named(symphony: Symphony) -> None:
    made = play(symphony)
    runs = symphony.home / "dag" / "runs"
    for path in runs.glob(f"{made['run']}.journal*"):
        path.rename(runs / path.name.replace(made["run"], "another-20261123-abcdef"))
    done = symphony.kernel("verify")
    check_errors(done, 6, "another-20261123-abcdef", f"that of the run {made['run']}")


def test_a_run_is_not_told_from_anothers_journal(symphony: Symphony) -> None:
    one, other = (play(symphony, words)["run"] for words in ("one", "another"))
    runs = symphony.home / "dag" / "runs"
    for end in ("journal", "journal.synced"):
        (runs / f"{one}.{end}").rename(runs / "kept")
        (runs / f"{other}.{end}").rename(runs / f"{one}.{end}")
        (runs / "kept").rename(runs / f"{other}.{end}")
    for words in (("run", "--extensions", PLAYERS, "--resume"), ("runs", "show")):
        done = symphony.kernel(*words, one)
        check_errors(done, 6, f"{one}.journal", f"it is that of the run {other}")


@pytest.mark.parametrize(
    "name", ["dag/runs/{run}.journal", "dag/runs", "arbitration/ledger.journal"]
)
def test_what_says_how_much_was_acknowledged_is_named_when_it_cannot_be_read(
    symphony: Symphony, name: str
) -> None:
    run = play(symphony)["run"]
    path = symphony.home / f"{name.format(run=run)}.synced"
    path.write_bytes(b"\7" * 24)
    for _ in range(2):
        check_errors(symphony.kernel("verify"), 6, str(path), "cannot be read", "remove")
        assert symphony.kernel("run", "--resume", run, "--extensions", PLAYERS).returncode == 0
    path.unlink()
    assert symphony.kernel("verify").returncode == 0


def test_an_artifact_that_a_run_names_and_nobody_has_is_named(symphony: Symphony) -> None:
    made = play(symphony)
    shutil.rmtree(symphony.home / "artifacts")
    done = symphony.kernel("verify", "--json")
    check_errors(done, 6, made["run"])
    problems = check_error_json(done)["problems"]
    assert {made["a"], made["b"], made["c"]} <= {problem["where"] for problem in problems}


def test_what_was_freed_with_a_proof_is_accounted_for(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text(KEEP)
    made = play(symphony)
    symphony.serve()
    for day in (2, 4, 6, 8):
        assert later(symphony, day, "stale", "run")["stopped"] is None
    assert not blob(symphony, made["a"]).exists()
    sound = check_answer("sound", symphony.kernel("verify", "--json"))
    assert sound["gone"] >= 3
    assert sound["archived"] >= 3

    assert symphony.kernel("backup", "monday").returncode == 0
    new = symphony.folder / "new home"
    assert symphony.kernel("restore", "monday", "--home", new).returncode == 0
    again = json.loads(symphony.kernel("verify", "--home", new, "--json").stdout)
    assert (again["gone"], again["archived"]) == (sound["gone"], sound["archived"])

    archived = symphony.home / "stale" / "archive" / made["a"].removeprefix("blake3:")
    damage(archived)
    check_errors(symphony.kernel("verify"), 6, str(archived))
    archived.unlink()
    said = check_errors(symphony.kernel("verify"), 6, made["a"], made["run"], str(archived))
    assert "the archive has lost" in said


def test_what_was_added_to_a_backup_is_named(symphony: Symphony, tmp_path: Path) -> None:
    play(symphony)
    backup, outside = symphony.folder / "backup", tmp_path / "outside"
    symphony.kernel("backup", backup)
    check_answer("checked-backup", symphony.kernel("verify", backup, "--json"))
    outside.mkdir()
    (outside / "not-looked-at").touch()
    added = ["note.txt", "home/extensions/evil", "home/dag/x", "home/elsewhere"]
    for name in added[:3]:
        (backup / name).parent.mkdir(exist_ok=True)
        (backup / name).write_text("hello")
    (backup / added[3]).symlink_to(outside)
    added.append("home/extensions")
    done = symphony.kernel("verify", backup, "--json")
    check_errors(done, 6, "it was added")
    found = {problem["where"] for problem in check_error_json(done)["problems"]}
    assert found == {str(backup / name) for name in added}
    new = symphony.folder / "new"  # which takes nothing of that
    assert symphony.kernel("restore", backup, "--home", new).returncode == 0
    assert not (new / "elsewhere").exists()


def test_long_reading_is_followed_in_a_terminal(symphony: Symphony) -> None:
    play(symphony)
    for command in (("verify",), ("artifacts", "verify")):
        ours, theirs = pty.openpty()
        process = symphony.start(*command, stderr_to=theirs)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while part := os.read(ours, 4096):
                shown += part
        os.close(ours)
        said, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0
        assert any(phase in shown for phase in (b"read", b"looking for what runs name"))
        assert "as they were put" in said
        assert "\x1b" not in said, "what is not a terminal gets plain text"


GONE = {
    "empty ledger": "arbitration/ledger.journal",
    "empty leases": "pool/leases.journal",
    "empty curator": "stale/curator.journal",
    "no ledger": "arbitration/ledger.journal",
    "no runs": "dag/runs",
    "half a run": "dag/runs/{run}.journal",
    "no run": "dag/runs/{run}.journal",
    "damaged statistic": "dag/runs/learned",
    "link": "stale",
}


@pytest.mark.parametrize("what", GONE)
def test_what_is_gone_or_refused_is_named(symphony: Symphony, what: str) -> None:
    made = play(symphony)
    named = symphony.home / GONE[what].format(run=made["run"])
    match what.split():
        case ["empty", _]:
            os.truncate(named, 0)
        case ["no", "runs"]:
            shutil.rmtree(named)
        case ["no", _]:
            named.unlink()
        case ["half", *_]:
            content = named.read_bytes()
            end = 0
            while end < len(content) // 2:  # whole records: no torn end tells of it
                end += 8 + int.from_bytes(content[end : end + 4], "little")
            os.truncate(named, end)
        case ["link"]:
            shutil.rmtree(named)
            named.symlink_to("/etc")
        case _:
            damage(named)
    done = symphony.kernel("verify", "--json")
    check_errors(done, 6, str(named))
    error = check_error_json(done)
    assert str(named) in {problem["where"] for problem in error["problems"]}
