"""What players and results must be kept away from: the home, the sockets, odd paths."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_harness import PLAYERS, Symphony, of
from interface_checks import check_errors

GIVEN = ("--extensions", PLAYERS)
CALL = ("call", "output.deliver/1", "--method", "undo")


@pytest.fixture
def served(symphony: Symphony) -> Iterator[Path]:
    """A kernel serves; gives the folder of its sockets, which lies in one of the test's own."""
    with tempfile.TemporaryDirectory(prefix="sy-", dir="/tmp") as sockets:
        symphony.environment = {**symphony.environment, "TMPDIR": sockets}
        symphony.serve()
        (runtime,) = Path(sockets).glob("symphony-*")
        yield runtime
        symphony.close()


def test_a_folder_around_the_home_or_the_sockets_is_not_shown_to_a_player(
    symphony: Symphony, served: Path
) -> None:
    """Whoever reads the console's ticket there can have any code run outside of a sandbox."""
    (symphony.folder / "link").symlink_to(served.parent)
    for out in (served, served.parent, symphony.home, symphony.home.parent, "/", "link"):
        said = check_errors(symphony.ext(*CALL, "--out", out), 2, "--out")
        assert "choose" in said
    inside = served / "mine"
    check_errors(symphony.ext(*CALL, "--out", inside), 2, "--out")


def test_an_extension_whose_folder_holds_the_sockets_is_not_attached(
    symphony: Symphony, served: Path
) -> None:
    for folder in (served.parent, served):
        manifest = (PLAYERS / "trouble/extension.toml").read_text()
        (folder / "extension.toml").write_text(manifest)
        (folder / "main.py").write_text((PLAYERS / "trouble/main.py").read_text())
        said = check_errors(symphony.ext("attach", folder, "--background"), 2, str(served))
        assert "folder of its own" in said
        (folder / "extension.toml").unlink()
        (folder / "main.py").unlink()
    symphony.write("extension.toml", (PLAYERS / "trouble/extension.toml").read_text())
    symphony.write("main.py", "")
    run = ("run", symphony.melody(), "--extensions", symphony.folder)
    check_errors(symphony.kernel(*run, "--home", symphony.folder / "other"), 2, "other")


@pytest.mark.parametrize("around", ["home", "parent"])
def test_a_resumed_run_keeps_away_too(symphony: Symphony, around: str) -> None:
    """Also where the folder was harmless when the run began."""
    out = symphony.folder / "out"
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["hang"]}})
    process = symphony.start("run", melody, *GIVEN, "--out", out, "--json", "-")
    assert process.stdout is not None
    events = []
    while not of(events, "step.started"):
        events.append(json.loads(process.stdout.readline()))
    process.terminate()
    process.communicate()
    out.rmdir()
    out.symlink_to(symphony.home if around == "home" else symphony.home.parent)
    done = symphony.kernel("run", "--resume", events[0]["run"], *GIVEN)
    check_errors(done, 2, "--out")


def test_a_second_mount_of_the_home_is_the_home(symphony: Symphony) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    other = symphony.folder / "mounted"
    other.mkdir()
    script = 'mount --bind "$0" "$1" && exec "$2" -m symphony.kernel.cli.kernel run "$3" --out "$4"'
    for out in (other, other / "mine"):
        done = subprocess.run(
            [
                *("unshare", "-m", "sh", "-c", script, str(symphony.home), str(other)),
                *(sys.executable, str(symphony.melody()), str(out)),
            ],
            env=symphony.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        check_errors(done, 2, "--out")


def test_an_artifact_is_not_written_into_the_home(symphony: Symphony) -> None:
    step = {"id": "a", "inputs": {"plan": ["ok"]}}
    code, events = symphony.play(symphony.melody(step))
    assert code == 0
    ref = of(events, "step.finished")[0]["outputs"]["answer"]
    for out in (symphony.home / "new", symphony.home / "artifacts/new", symphony.home):
        done = symphony.kernel("artifacts", "get", ref, "--out", out)
        check_errors(done, 2, "--out")
    assert not (symphony.home / "new").exists()
    assert symphony.kernel("artifacts", "get", ref, "--out", "/tmp").returncode in (0, 2)
    assert symphony.kernel("artifacts", "get", ref, "--out", "here").returncode == 0


def test_a_call_has_the_level_that_was_asked_for(symphony: Symphony) -> None:
    """Also where an instance of another level is attached."""
    symphony.serve()
    done = symphony.ext(
        "attach", PLAYERS / "trouble", "--sandbox", "none", "--background", "--json"
    )
    attached = json.loads(done.stdout)
    plan = ("--json", '{"plan": ["ok"]}', "--player", "trouble")

    def logs() -> set[str]:
        return {path.name for path in (symphony.home / "logs").glob("trouble-*.log")}

    before = logs()
    assert symphony.ext("call", "test.act/1", *plan).returncode == 0
    assert symphony.ext("call", "test.act/1", *plan, "--sandbox", "none").returncode == 0
    assert logs() == before == {f"{attached['instance']}.log"}
    assert symphony.ext("call", "test.act/1", *plan, "--sandbox", "strict").returncode == 0
    assert len(logs()) == 2
    check_errors(symphony.ext("call", "test.act/1", *plan, "--sandbox", "minimal"), 3, "minimal")


@pytest.mark.parametrize("out", ["/proc", "/sys/fs", "/proc/mine"])
def test_a_folder_in_which_nothing_can_be_written_is_found_before_the_start(
    symphony: Symphony, out: str
) -> None:
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})
    done = symphony.kernel("run", melody, *GIVEN, "--out", out, "--json", "events.jsonl")
    check_errors(done, 6, out)
    events = symphony.folder / "events.jsonl"
    assert not events.exists() or not events.read_text()


def test_a_home_without_a_name(symphony: Symphony) -> None:
    for command in (("status",), ("run", symphony.melody()), ("runs", "list")):
        check_errors(symphony.kernel(*command, "--home", ""), 2, "--home")
    check_errors(symphony.ext("list", "--home", ""), 2, "--home")
    assert not (symphony.folder / "kernel.lock").exists()


def test_paths_that_are_no_text_are_named(symphony: Symphony) -> None:
    symphony.serve()
    odd = os.fsdecode(b"b\xff.md")
    (symphony.folder / odd).write_text("x")
    step = {"id": "a", "capability": "test.shout/1", "inputs": {"source": "$inputs.text"}}
    melody = symphony.melody(step, inputs={"text": {"type": "file"}})
    other = ("--home", symphony.folder / "other", *GIVEN)
    done = symphony.kernel("run", melody, "--input", f"text={odd}", *other)
    check_errors(done, 2, "--input", "UTF-8")
    plain = symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}})
    folder = os.fsdecode(b"o\xff")
    check_errors(symphony.kernel("run", plain, "--out", folder, *other), 2, "--out", "UTF-8")
    assert not (symphony.folder / folder).exists()
    (symphony.folder / folder).mkdir()
    check_errors(symphony.ext(*CALL, "--out", folder), 2, "--out", "UTF-8")
    check_errors(symphony.ext("attach", folder), 2, "folder", "UTF-8")
    got = symphony.kernel("artifacts", "get", "blake3:" + "0" * 64, "--out", folder)
    assert got.returncode in (2, 4)


@pytest.mark.parametrize("part", ["dag", "artifacts", "logs", "spool"])
def test_a_part_of_the_home_that_is_a_link_is_not_followed(symphony: Symphony, part: str) -> None:
    elsewhere = symphony.folder / "elsewhere"
    elsewhere.mkdir()
    (symphony.home / part).symlink_to(elsewhere)
    done = symphony.kernel("runs", "list")
    check_errors(done, 3, str(symphony.home / part))
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_mode & 0o777 != 0o700


@pytest.mark.parametrize("damage", ["noise", "short", "pipe"])
def test_looking_at_a_damaged_journal_leaves_it_as_it_is(symphony: Symphony, damage: str) -> None:
    code, events = symphony.play(symphony.melody({"id": "a", "inputs": {"plan": ["ok"]}}))
    assert code == 0
    run = events[0]["run"]
    journal = symphony.home / "dag/runs" / f"{run}.journal"
    content = journal.read_bytes()[:200] if damage == "short" else bytes(range(256)) * 20
    journal.unlink()
    if damage == "pipe":
        os.mkfifo(journal)
    else:
        journal.write_bytes(content)
    listed = json.loads(symphony.kernel("runs", "list", "--json").stdout)
    assert "corrupt" in json.dumps(listed)
    check_errors(symphony.kernel("runs", "show", run), 6, run)
    check_errors(symphony.kernel("run", "--resume", run), 6, run)
    assert damage == "pipe" or journal.read_bytes() == content
