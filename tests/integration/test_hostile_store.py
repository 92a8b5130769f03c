"""An Artifact Store of somebody's own that lies: told as its fault, never believed, never a bug of
ours, and nothing of what it says becomes a reference or a path."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from command_harness import PLAYERS, Symphony, of
from interface_checks import check_error_json, check_errors

STORE = Path(__file__).resolve().parents[2] / "examples" / "folder-store"
LIES = '''
import os
import shutil


def _lie(store, name, good, args):
    """What it answers instead, as the file `lie` beside it says: METHOD KIND."""
    method, kind = (Path(__file__).parent / "lie").read_text().split()
    if method != name:
        return good

    def each(value, change):
        if isinstance(value, dict):
            return {key: each(below, change) for key, below in value.items()}
        if isinstance(value, list):
            return [each(below, change) for below in value]
        return change(value)

    def is_ref(value):
        return isinstance(value, str) and value.startswith("blake3:")

    match kind:
        case "empty":
            return {}
        case "number":
            return 7
        case "types":
            return {key: {"what": 1} for key in good}
        case "fewer":
            return {k: v[:-1] if isinstance(v, list) else v for k, v in good.items()}
        case "evil":
            return each(good, lambda v: "blake3:../../etc/passwd" if is_ref(v) else v)
        case "others":
            return each(good, lambda v: "blake3:" + v[:6:-1] if is_ref(v) else v)
        case "bytes":
            return each(good, lambda v: v[::-1] if isinstance(v, bytes) else v)
        case "always-dies":
            os._exit(9)
        case "dies":
            (Path(__file__).parent / "lie").write_text("no lie")
            os._exit(9)
        case "written":
            for item in good["items"]:
                staged = Path(args["folder"]) / item["path"]
                staged.chmod(0o600)
                staged.write_text("lies")
            return good
        case "code":
            raise BusError("unheard-of", "what?")
        case "special":
            for item in good["items"]:
                (Path(args["folder"]) / item["path"]).chmod(0o4755)
            return good
        case "endless":
            return {**good, "data": b"more", "more": True}
        case "gone" | "link" | "pipe":
            for item in good["items"]:
                staged = Path(args["folder"]) / item["path"]
                staged.unlink()
                if kind == "link":
                    staged.symlink_to("/etc/hostname")
                elif kind == "pipe":
                    os.mkfifo(staged)
            return good
        case "circle":
            return {**good, "next": "1"}
        case "nothing":
            shutil.rmtree(args["to"])
            return good
        case "shortcut":
            (Path(args["to"]) / "all").symlink_to("/etc")
            return good
        case "noise":
            os.close(os.open(os.fsencode(args["to"]) + b"/\\xff", os.O_CREAT))
            return good


'''


@pytest.fixture
def liar(symphony: Symphony) -> Symphony:
    """A home with such a store, which does not lie yet, and an artifact `symphony.ref` in it."""
    folder = symphony.home / "extensions" / "folder-store"
    shutil.copytree(STORE, folder, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    program = (folder / "main.py").read_text()
    returned = "return target(ctx, **args)"
    assert program.count(returned) == 1
    program = program.replace(returned, "return _lie(store, name, target(ctx, **args), args)")
    (folder / "main.py").write_text(program.replace("def _served", f"{LIES}def _served", 1))
    (folder / "lie").write_text("no lie")
    (symphony.home / "pit.toml").write_text('members = { "pit.artifacts/1" = "folder-store" }\n')
    step = {"id": "a", "inputs": {"plan": ["true words"]}}
    symphony.path = symphony.melody(step, outputs={"x": "$steps.a.answer"})
    code, events = symphony.play(symphony.path)
    assert code == 0, events
    symphony.ref = events[-1]["artifacts"]["x"]["reference"]
    return symphony


def lie(symphony: Symphony, words: str) -> None:
    (symphony.home / "extensions" / "folder-store" / "lie").write_text(words)


def test_no_run_goes_on_with_what_it_says(liar: Symphony) -> None:
    for kind in ("empty", "fewer", "others"):
        lie(liar, f"put_many {kind}")
        done = liar.kernel("run", liar.path, "--extensions", PLAYERS)
        check_errors(done, 5, "`put_many` of pit.artifacts/1", "symphony-ext test")


def test_no_command_shows_what_it_says(liar: Symphony) -> None:
    liar.serve()
    asked = {
        "list": ("list",),
        "stat": ("show", liar.ref),
        "search": ("search", "words"),
        "lineage": ("lineage", liar.ref),
        "verify": ("verify",),
        "audit": ("audit",),
    }
    kinds = {"list": ("evil",), "stat": ("fewer", "types")}
    for method, words in asked.items():
        for kind in ("empty", *kinds.get(method, ())):
            lie(liar, f"{method} {kind}")
            done = liar.kernel("artifacts", *words, "--json")
            check_errors(done, 5, f"`{method}` of pit.artifacts/1")
            assert check_error_json(done)["fault"] == "provider"
    lie(liar, "list circle")
    check_errors(liar.kernel("artifacts", "list", "--limit", "1000"), 5, "do not go on")


def test_one_that_ends_before_it_answers_costs_no_attempt(liar: Symphony) -> None:
    steps = [
        {"id": "a", "inputs": {"plan": ["loud"]}},
        {"id": "b", "capability": "test.shout/1", "inputs": {"source": "$steps.a.answer"}},
    ]
    melody = liar.melody(*steps, outputs={"x": "$steps.b.shouted"})
    for method in ("stage", "put_many", "collect"):
        lie(liar, f"{method} dies")
        code, events = liar.play(melody)
        assert code == 0, events
        assert not of(events, "step.failed"), method


@pytest.mark.parametrize("words", ["put_many code", "collect code", "stage code"])
def test_an_error_that_its_contract_does_not_know_is_its_own(liar: Symphony, words: str) -> None:
    lie(liar, words)
    check_it_is_the_stores(liar, words.split()[0])


@pytest.mark.parametrize("kind", ["gone", "link", "pipe", "special"])
def test_what_it_says_it_staged_must_be_there(liar: Symphony, kind: str) -> None:
    lie(liar, f"stage {kind}")
    check_it_is_the_stores(liar, "staged")
    lie(liar, f"stage {kind}")
    done = liar.kernel("artifacts", "get", liar.ref, "--out", "x", "--json")
    check_errors(done, 5, str(liar.folder / "x"))
    assert check_error_json(done)["fault"] == "environment"
    assert not os.path.lexists(liar.folder / "x")


def check_it_is_the_stores(liar: Symphony, said: str) -> None:
    """A run that needs all of it is left, and goes on with a store that tells the truth."""
    steps = [
        {"id": "a", "inputs": {"plan": ["loud"]}},
        {"id": "b", "capability": "test.shout/1", "inputs": {"source": "$steps.a.answer"}},
    ]
    melody = liar.melody(*steps, outputs={"x": "$steps.b.shouted"})
    done = liar.kernel("run", melody, "--extensions", PLAYERS, "--json", "-")
    check_errors(done, 5, "Artifact Store is not available", said, "run --resume")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    events = [event for event in events if "event" in event]
    assert not of(events, "step.failed")
    lie(liar, "no lie")
    done = liar.kernel("run", "--resume", events[0]["run"], "--extensions", PLAYERS)
    assert done.returncode == 0, done.stderr


def test_one_that_ends_at_each_call_is_given_up_and_the_run_is_kept(liar: Symphony) -> None:
    lie(liar, "put_many always-dies")
    done = liar.kernel("run", liar.path, "--extensions", PLAYERS)
    check_errors(done, 5, "Artifact Store", "run --resume")


def test_other_bytes_are_noticed(liar: Symphony) -> None:
    lie(liar, "get bytes")
    check_errors(liar.kernel("artifacts", "get", liar.ref), 6, "other bytes", liar.ref)
    check_errors(liar.kernel("artifacts", "verify", liar.ref), 6, "damaged", liar.ref)
    lie(liar, "get endless")
    check_errors(liar.kernel("artifacts", "get", liar.ref), 5, "never end", "pit.artifacts/1")
    lie(liar, "stage written")
    check_it_is_the_stores(liar, "is blake3:")
    lie(liar, "stage written")
    done = liar.kernel("artifacts", "get", liar.ref, "--out", "x")
    check_errors(done, 6, "other bytes", liar.ref)
    assert not (liar.folder / "x").exists()
    lie(liar, "no lie")
    assert liar.kernel("artifacts", "get", liar.ref, "--out", "x").returncode == 0
    assert (liar.folder / "x").read_text() == "true words"


@pytest.mark.parametrize(
    ("kind", "said"),
    [("nothing", "there is nothing"), ("shortcut", "no plain file"), ("noise", "is no text")],
)
def test_a_backup_of_it_is_looked_at(liar: Symphony, kind: str, said: str) -> None:
    lie(liar, f"backup {kind}")
    done = liar.kernel("backup", "monday", "--json")
    check_errors(done, 5, "folder-store says that it copied its store, but", said)
    assert check_error_json(done)["fault"] == "environment"
    assert not list(liar.folder.glob("*monday*"))
    lie(liar, "no lie")
    assert liar.kernel("backup", "monday").returncode == 0


def test_a_console_asks_again_whoever_ends_over_its_question(liar: Symphony) -> None:
    liar.serve()
    for method, words in {
        "list": ("artifacts", "list"),
        "backup": ("backup", "copy"),
        "verify": ("artifacts", "verify"),
    }.items():
        lie(liar, f"{method} dies")
        done = liar.kernel(*words)
        assert done.returncode == 0, (words, done.stderr)
    lie(liar, "list always-dies")
    check_errors(liar.kernel("artifacts", "list"), 5, "Artifact Store", "ended")


def test_a_stale_run_goes_on_when_the_store_is_back(liar: Symphony) -> None:
    liar.serve()
    lie(liar, "list dies")
    done = liar.kernel("stale", "run")
    assert done.returncode == 0, done.stderr
    lie(liar, "list always-dies")
    check_errors(liar.kernel("stale", "run"), 5, "Artifact Store")
