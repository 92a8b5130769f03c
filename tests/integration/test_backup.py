"""`backup`, `restore`, `verify`: what a backup holds, when it is refused, and that it is whole."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_harness import LIMIT_S, PLAYERS, Symphony
from interface_checks import check_answer, check_error_json, check_errors

SERVED = pytest.mark.parametrize("served", [False, True], ids=["no kernel", "kernel running"])


def play(symphony: Symphony, text: str = "ok") -> dict[str, str]:
    """A run of a text, a file and a folder; output name → reference, and `run`."""
    steps: list[dict[str, Any]] = [
        {"id": "a", "inputs": {"plan": [text]}},
        {"id": "b", "capability": "test.shout/1", "inputs": {"source": "$steps.a.answer"}},
    ]
    outputs = {"a": "$steps.a.answer", "b": "$steps.b.shouted", "c": "$steps.b.folder"}
    code, events = symphony.play(symphony.melody(*steps, outputs=outputs))
    assert code == 0, [e for e in events if "error" in e][:1]
    found = {name: value["reference"] for name, value in events[-1]["artifacts"].items()}
    return found | {"run": events[-1]["run"]}


@pytest.fixture
def new(symphony: Symphony) -> Path:
    """A home that is not there yet, ended with the test."""
    return symphony.folder / "new home"


def listing(backup: Path) -> dict[str, dict[str, Any]]:
    lines = (backup / "files.jsonl").read_text().splitlines()
    return {line["path"]: line for line in map(json.loads, lines)}


def swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if ".unfinished" in path.name)


@SERVED
def test_a_home_comes_back_whole(symphony: Symphony, new: Path, served: bool) -> None:
    made = play(symphony)
    if served:
        symphony.serve()
    backup = symphony.folder / "monday"
    manifest = check_answer("backup", symphony.kernel("backup", backup, "--json"))
    assert manifest["artifacts"] > 0
    assert {s["folder"] for s in manifest["stores"]} == {
        *("dag", "artifacts", "stale", "arbitration", "pool"),
    }
    assert json.loads((backup / "manifest.json").read_text()) == manifest
    assert backup.stat().st_mode & 0o077 == 0
    checked = check_answer("checked-backup", symphony.kernel("verify", backup, "--json"))
    assert (checked["files"], checked["bytes"]) == (manifest["files"], manifest["bytes"])
    restored = symphony.kernel("restore", backup, "--home", new, "--json")
    assert check_answer("restored", restored)["home"] == str(new)
    sound = check_answer("sound", symphony.kernel("verify", "--home", new, "--json"))
    assert sound["runs"] == 1
    assert sound["named"] >= 3
    runs = json.loads(symphony.kernel("runs", "list", "--home", new, "--json").stdout)
    assert [run["run"] for run in runs["runs"]] == [made["run"]]
    assert symphony.kernel("artifacts", "get", made["b"], "--home", new).stdout == "OK"


def test_what_is_in_it_and_what_is_not(symphony: Symphony, new: Path) -> None:
    play(symphony)
    assert symphony.kernel("keys", "new", "laptop").returncode == 0
    (symphony.home / "pit.toml").write_text("[pool]\ninstances = 7\n")
    keys = symphony.home / "artifacts.keys"
    keys.write_text("ab" * 32)
    keys.chmod(0o600)
    shutil.copytree(PLAYERS / "files", symphony.home / "extensions" / "copied")
    (symphony.home / "extensions" / "linked").symlink_to(PLAYERS / "trouble")
    letters = sqlite3.connect(symphony.home / "deadletters.db")
    letters.execute("CREATE TABLE IF NOT EXISTS proof (word TEXT)")
    letters.execute("INSERT INTO proof VALUES ('kept')")
    letters.commit()

    done = symphony.kernel("backup", "all")
    assert done.returncode == 0, done.stderr
    assert "logs" in done.stdout
    manifest = symphony.answer("backup", "public", "--without-secrets")
    assert {"artifacts.keys", "keys"} <= {note["path"] for note in manifest["left_out"]}
    public = listing(symphony.folder / "public")
    assert not [path for path in public if path.startswith(("keys", "artifacts.keys"))]

    every = listing(symphony.folder / "all")
    assert every["artifacts.keys"]["mode"] == 0o600
    assert every["extensions/linked"]["target"] == str(PLAYERS / "trouble")
    assert not [path for path in every if path.startswith(("logs", "instances", "kernel.lock"))]
    assert symphony.kernel("restore", "all", "--home", new).returncode == 0
    assert (new / "pit.toml").read_text() == "[pool]\ninstances = 7\n"
    assert (new / "artifacts.keys").stat().st_mode & 0o777 == 0o600
    assert (new / "extensions" / "linked").readlink() == PLAYERS / "trouble"
    assert (new / "extensions" / "copied" / "main.py").is_file()
    back = sqlite3.connect(new / "deadletters.db")
    assert back.execute("SELECT word FROM proof").fetchall() == [("kept",)]
    keys_there = json.loads(symphony.kernel("keys", "list", "--home", new, "--json").stdout)
    assert [key["name"] for key in keys_there["keys"]] == ["laptop"]


def test_places_that_are_refused(symphony: Symphony) -> None:
    play(symphony)
    full = symphony.folder / "full"
    full.mkdir()
    (full / "mine").write_text("stays")
    file = symphony.write("file", "stays")
    (symphony.folder / "link").symlink_to(symphony.home)
    for place, code, word in (
        (symphony.home / "inside", 2, "the home"),
        (symphony.folder / "link" / "inside", 2, "the home"),
        (symphony.home, 2, "the home"),
        (full, 2, "not empty"),
        (file, 2, "something"),
        (symphony.folder / "no" / "parent", 6, "no such folder"),
    ):
        done = symphony.kernel("backup", place, "--json")
        check_errors(done, code, word)
        check_error_json(done)
    assert (full / "mine").read_text() == "stays"
    assert beside(symphony.folder) == []
    assert not (symphony.home / "inside").exists()


def test_an_empty_folder_will_do(symphony: Symphony) -> None:
    play(symphony)
    (symphony.folder / "empty").mkdir()
    assert symphony.kernel("backup", "empty").returncode == 0
    assert symphony.kernel("verify", "empty").returncode == 0


@pytest.fixture
def small(symphony: Symphony) -> Iterator[Path]:
    """A disk of half a MiB."""
    place = symphony.folder / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "symphony-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root's right to")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def lines(number: int) -> str:
    """So many bytes that no compression makes less of."""
    return os.urandom(number // 2).hex()


@pytest.mark.parametrize("store", ["artifacts", "journals"])
def test_a_full_disk_is_told_and_nothing_half_is_left(
    symphony: Symphony, small: Path, store: str
) -> None:
    if store == "journals":  # the answer is in the journal too, as a value
        for _ in range(3):
            play(symphony, lines(240_000))
        journals = list((symphony.home / "dag" / "runs").glob("*.journal"))
        assert sum(path.stat().st_size for path in journals) > 512 * 1024
    else:
        play(symphony)
        big = symphony.write("big.txt", lines(1_000_000))
        melody = symphony.melody(
            {"id": "a", "capability": "test.shout/1", "inputs": {"source": "$inputs.text"}},
            inputs={"text": {"type": "file", "media": "text/plain"}},
        )
        assert symphony.play(melody, "--input", f"text={big}")[0] == 0
    done = symphony.kernel("backup", small / "monday", "--json")
    check_errors(done, 6)
    assert check_error_json(done)["fault"] == "environment"
    assert list(small.iterdir()) == []


def test_a_mounted_disk_itself_is_no_place(symphony: Symphony, small: Path) -> None:
    play(symphony)
    check_errors(symphony.kernel("backup", small), 2, "mounted", "new folder in it")


def test_an_interrupted_backup_leaves_nothing(symphony: Symphony) -> None:
    play(symphony)
    slow = slow_programs(symphony)
    process = symphony.start("backup", "monday")
    slow.wait()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 143, said
    assert beside(symphony.folder) == []
    assert not (symphony.folder / "monday").exists()


def test_a_kernel_that_is_killed_meanwhile_leaves_no_half_backup(symphony: Symphony) -> None:
    play(symphony)
    slow = slow_programs(symphony, "symphony-dag-tracker")
    kernel = symphony.serve()
    process = symphony.start("backup", "monday", "--json")
    slow.wait()
    kernel.kill()
    kernel.wait()
    slow.go()  # to the store, which nobody leads to any more
    answer, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 5, said
    assert json.loads(answer)["error"]["code"] == "unavailable"
    assert beside(symphony.folder) == []
    assert not (symphony.folder / "monday").exists()
    slow.release()
    assert symphony.kernel("backup", "monday").returncode == 0


def test_what_a_killed_backup_left_goes_with_the_next_one(symphony: Symphony) -> None:
    play(symphony)
    slow = slow_programs(symphony)
    process = symphony.start("backup", "monday")
    slow.wait()
    other = symphony.folder / "other"
    assert symphony.kernel("runs", "list", "--home", other).returncode == 0
    done = symphony.kernel("backup", "monday", "--home", other)
    check_errors(done, 3, "another backup")
    process.kill()
    process.wait()
    assert beside(symphony.folder) == [".monday.unfinished"]
    slow.release()
    done = symphony.kernel("backup", "monday")
    assert done.returncode == 0, done.stderr
    assert beside(symphony.folder) == []


class slow_programs:  # noqa: N801 - used as a function
    """One member's store is copied by a program that waits until it is released."""

    def __init__(self, symphony: Symphony, name: str = "symphony-arbitration") -> None:
        real = Path(symphony.environment.get("SYMPHONY_PROGRAMS") or Path(sys.executable).parent)
        folder = symphony.folder / "programs"
        folder.mkdir()
        for program in real.glob("symphony-*"):
            if program.name != name and os.access(program, os.X_OK):
                (folder / program.name).symlink_to(program)
        self._begun, self._go = symphony.folder / "begun", symphony.folder / "go"
        os.mkfifo(self._begun)
        os.mkfifo(self._go)
        script = symphony.write(
            f"programs/{name}",
            f"#!{sys.executable}\n"
            "import ctypes, os, sys\n"
            "if '--copy-to' in sys.argv:\n"
            "    ctypes.CDLL(None).prctl(1, 9)  # as the real one: it ends with its backup\n"
            f"    open({str(self._begun)!r}, 'w').write('x')\n"
            f"    open({str(self._go)!r}).read()\n"
            f"os.execv({str(real / name)!r}, sys.argv)\n",
        )
        script.chmod(0o755)
        self._script = script
        self._program = real / name
        symphony.environment = {**symphony.environment, "SYMPHONY_PROGRAMS": str(folder)}

    def wait(self) -> None:
        """Until it is being copied."""
        assert self._begun.read_text() == "x"

    def replace(self, code: str) -> None:
        """From now on it does something else, unless it is to serve."""
        serve = f"os.execv({str(self._program)!r}, sys.argv)"
        self._script.write_text(
            f"#!{sys.executable}\nimport os, sys\n"
            f"if {{'--check', '--copy-to'}}.isdisjoint(sys.argv): {serve}\n{code}\n"
        )

    def go(self) -> None:
        """It goes on."""
        self._go.write_text("")

    def release(self) -> None:
        """From now on it does not wait."""
        self._script.unlink()
        self._script.symlink_to(self._program)


def test_a_home_that_is_in_use_is_not_overwritten(symphony: Symphony, new: Path) -> None:
    play(symphony)
    assert symphony.kernel("backup", "monday").returncode == 0
    before = sorted(path.name for path in symphony.home.iterdir())
    check_errors(symphony.kernel("restore", "monday"), 3, "in use", "--home")
    assert sorted(path.name for path in symphony.home.iterdir()) == before
    symphony.serve("--home", new)
    check_errors(symphony.kernel("restore", "monday", "--home", new), 3)


def test_no_kernel_and_no_other_restore_comes_between(symphony: Symphony, new: Path) -> None:
    play(symphony)
    assert symphony.kernel("backup", "monday").returncode == 0
    new.mkdir()
    with (new / "kernel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        done = symphony.kernel("restore", "monday", "--home", new)
        check_errors(done, 3, str(os.getpid()))
    assert [path.name for path in new.iterdir()] == ["kernel.lock"]
    assert symphony.kernel("restore", "monday", "--home", new).returncode == 0


def test_a_home_that_was_only_begun_is_new(symphony: Symphony, new: Path) -> None:
    play(symphony)
    assert symphony.kernel("backup", "monday").returncode == 0
    for name in ("logs", "trash", "spool"):
        (new / name).mkdir(parents=True)
    assert symphony.kernel("restore", "monday", "--home", new).returncode == 0
    assert symphony.kernel("verify", "--home", new).returncode == 0


def damage(path: Path, at: int = -1) -> None:
    """Another byte (the last one), in a file of its own: a store and its backup may share one."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_what_is_damaged_in_the_home_is_kept_and_told(symphony: Symphony, new: Path) -> None:
    made = play(symphony)
    blobs = symphony.home / "artifacts" / "blobs"
    emptied, *gone = (path for path in sorted(blobs.rglob("*")) if path.is_file())
    for path in gone:
        path.unlink()
    emptied.write_bytes(b"")
    journal = symphony.home / "dag" / "runs" / f"{made['run']}.journal"
    damage(journal, journal.stat().st_size // 2)
    done = symphony.kernel("backup", "monday", "--json")
    assert done.returncode == 6
    manifest = json.loads(done.stdout)
    whys = {note["path"]: note["why"] for note in manifest["damaged"]}
    places = {path: str(path.relative_to(symphony.home)) for path in (emptied, journal, *gone)}
    assert set(whys) == set(places.values())
    assert whys[places[emptied]].startswith("0 bytes instead of ")
    assert {whys[places[path]] for path in gone} == {"this file is missing"}
    assert all(f"{path}: {why}" in done.stderr for path, why in whys.items())
    assert manifest["artifacts"] == len(gone) + 1
    assert symphony.kernel("backup", "tuesday").returncode == 6
    assert symphony.kernel("verify", "monday").returncode == 0, "as it was written"
    assert symphony.kernel("restore", "monday", "--home", new).returncode == 0
    check_errors(symphony.kernel("verify", "--home", new), 6, str(made["run"]))


@SERVED
@pytest.mark.parametrize("what", ["format", "swapped journals"])
def test_a_store_that_its_member_refuses_is_named(
    symphony: Symphony, what: str, served: bool
) -> None:
    play(symphony)
    pool, stale = symphony.home / "pool", symphony.home / "stale"
    if what == "format":
        (stale / "format").write_text("symphony-pool 1\n")
        refused = {"stale"}
    else:
        ours, theirs = pool / "leases.journal", stale / "curator.journal"
        for one, other in ((ours, theirs), *[(f"{it}.synced" for it in (ours, theirs))]):
            swap(Path(one), Path(other))
        refused = {"pool", "stale"}
    if served:
        symphony.serve()
    done = symphony.kernel("backup", "monday", "--json")
    assert done.returncode == 6, done.stderr
    noted = {note["path"]: note["why"] for note in json.loads(done.stdout)["damaged"]}
    assert set(noted) == refused
    assert all("does not work with this store" in why for why in noted.values())


@pytest.mark.parametrize("way", ["changed", "missing", "list", "manifest", "newer", "elsewhere"])
def test_a_damaged_backup_is_named_and_not_restored(
    symphony: Symphony, new: Path, way: str
) -> None:
    made = play(symphony)
    backup = symphony.folder / "monday"
    assert symphony.kernel("backup", backup).returncode == 0
    journal = backup / "home" / "dag" / "runs" / f"{made['run']}.journal"
    named = str(journal)
    match way:
        case "changed":
            damage(journal)
        case "missing":
            journal.unlink()
        case "list":
            named = str(backup / "files.jsonl")
            damage(backup / "files.jsonl")
        case "manifest":
            named = str(backup / "manifest.json")
            (backup / "manifest.json").write_text("{")
        case "newer":
            named = "newer format 9"
            manifest = json.loads((backup / "manifest.json").read_text())
            (backup / "manifest.json").write_text(json.dumps({**manifest, "format": 9}))
        case "elsewhere":
            named = "lies elsewhere"
            forge(backup, "../../outside")
    for command in (("verify", backup), ("restore", backup, "--home", new)):
        done = symphony.kernel(*command, "--json")
        check_errors(done, 6, named)
        check_error_json(done)
    assert not new.exists()
    assert not (symphony.folder / "outside").exists()


def forge(backup: Path, path: str) -> None:
    """A list that names another place, with the manifest to it."""
    from blake3 import blake3

    write_list(backup, json.dumps({"path": path, "bytes": 0, "blake3": blake3(b"").hexdigest()}))


def write_list(backup: Path, line: str) -> None:
    """A list of this line, with the manifest to it."""
    from blake3 import blake3

    (backup / "files.jsonl").write_text(line + "\n")
    manifest = json.loads((backup / "manifest.json").read_text())
    manifest["list_blake3"] = blake3((line + "\n").encode()).hexdigest()
    (backup / "manifest.json").write_text(json.dumps(manifest))


def test_what_is_no_backup_is_told(symphony: Symphony, new: Path) -> None:
    for place in (symphony.folder, symphony.write("file", "x"), symphony.folder / "nowhere"):
        check_errors(symphony.kernel("restore", place, "--home", new), 4)
        check_errors(symphony.kernel("verify", place), 4)
    assert not new.exists()


def test_a_restore_that_was_killed_is_given_again(symphony: Symphony, new: Path) -> None:
    made = play(symphony)
    assert symphony.kernel("backup", "monday").returncode == 0
    (new / "restoring" / "dag").mkdir(parents=True)
    (new / "artifacts").mkdir()  # moved up already
    check_errors(symphony.kernel("runs", "list", "--home", new), 3, "restore")
    assert symphony.kernel("restore", "monday", "--home", new).returncode == 0
    assert symphony.kernel("artifacts", "get", made["a"], "--home", new).stdout == "ok"


def test_programs_of_another_version_are_named(symphony: Symphony) -> None:
    play(symphony)
    slow = slow_programs(symphony)
    slow.replace("import sys; sys.exit(2)")
    for command in (("backup", "monday"), ("verify",)):
        check_errors(symphony.kernel(*command), 5, "another version", "symphony-arbitration")
    assert beside(symphony.folder) == []


@pytest.mark.parametrize("name", ["manifest.json", "files.jsonl", "home/pit.toml"])
def test_nothing_is_waited_for_that_is_no_file(symphony: Symphony, new: Path, name: str) -> None:
    play(symphony)
    (symphony.home / "pit.toml").write_text("resources = { cpu = 1 }\n")
    backup = symphony.folder / "monday"
    assert symphony.kernel("backup", backup).returncode == 0
    (backup / name).unlink()
    os.mkfifo(backup / name)
    for command in (("verify", backup), ("restore", backup, "--home", new)):
        check_errors(symphony.kernel(*command), 6, str(backup / name), "no plain file")
    assert not new.exists()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"path":', "cannot be read"),
        ('{"path": "x", "mode": 2048}', "cannot be read"),
        ('{"path": "kernel.lock"}', "lies elsewhere"),
        ('{"path": "evil", "kind": "link", "target": "/etc"}', "leads elsewhere"),
        ('{"path": "x"}\n{"path": "x"}', "twice"),
    ],
)
def test_a_forged_list_is_refused(symphony: Symphony, new: Path, line: str, told: str) -> None:
    play(symphony)
    backup = symphony.folder / "monday"
    assert symphony.kernel("backup", backup).returncode == 0
    write_list(backup, line)
    for command in (("verify", backup), ("restore", backup, "--home", new)):
        check_errors(symphony.kernel(*command), 6, str(backup / "files.jsonl"), told)
    assert not new.exists()


def test_a_store_of_ones_own_is_copied_too(symphony: Symphony, new: Path) -> None:
    examples = Path(__file__).resolve().parents[2] / "examples"
    shutil.copytree(examples / "folder-store", symphony.home / "extensions" / "folder-store")
    line = 'members = { "pit.artifacts/1" = "folder-store" }\n'
    (symphony.home / "pit.toml").write_text(line)
    play(symphony)
    assert symphony.kernel("backup", "monday").returncode == 0
    assert symphony.kernel("restore", "monday", "--home", new).returncode == 0
    done = symphony.kernel("verify", "--home", new)
    assert done.returncode == 0, done.stderr
