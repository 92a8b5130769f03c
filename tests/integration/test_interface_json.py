"""`--json`: each answer is one value of the schema that `symphony-kernel schema` prints."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from command_harness import PLAYERS, Symphony
from interface_checks import REPOSITORY, check_answer, schema

EXTENSIONS = ("--extensions", PLAYERS)


def play(symphony: Symphony) -> tuple[str, str]:
    step = {"id": "a", "inputs": {"plan": ["ok"]}}
    code, events = symphony.play(symphony.melody(step, outputs={"x": "$steps.a.answer"}))
    assert code == 0
    return events[-1]["run"], events[-1]["artifacts"]["x"]["reference"]


def test_schemas_are_listed_and_each_is_printed(symphony: Symphony) -> None:
    names = json.loads(symphony.kernel("schema", "--json").stdout)["schemas"]
    assert {"melody", "manifest", "events", "status"} <= set(names)
    assert symphony.kernel("schema").stdout.split() == names
    for name in names:
        assert schema(name)["title"]


@pytest.mark.parametrize(
    ("name", "files"),
    [("manifest", "extensions/*/extension.toml"), ("melody", "examples/*/*.melody.toml")],
)
def test_what_users_write_fits_its_schema(name: str, files: str) -> None:
    import tomllib

    paths = list(REPOSITORY.glob(files))
    assert paths
    for path in paths:
        jsonschema.validate(tomllib.loads(path.read_text()), schema(name))


def test_status(symphony: Symphony) -> None:
    process = symphony.serve(*map(str, EXTENSIONS))
    attached = symphony.ext("attach", PLAYERS / "understudy", "--background", "--json")
    status = check_answer("status", symphony.kernel("status", "--json"))
    assert status.keys() >= {
        *("state", "version", "pid", "uptime_s", "runs", "extensions", "degraded"),
    }
    assert status["pid"] == process.pid
    assert (status["state"], status["degraded"]) == ("running", [])
    (entry,) = (e for e in status["extensions"] if e["name"] == "understudy")
    assert entry.keys() >= {"name", "version", "instance", "state", "sandbox", "pid", "provides"}
    assert entry["sandbox"] == "strict"
    assert entry["instance"] == json.loads(attached.stdout)["instance"]


def test_status_while_a_run_is_played(symphony: Symphony) -> None:
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["hang"]}})
    process = symphony.start("run", melody, *EXTENSIONS, "--json", "-")
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "step.progress":
            break
    status = check_answer("status", symphony.kernel("status", "--json"))
    assert [run["state"] for run in status["runs"]] == ["running"]
    listed = check_answer("runs", symphony.kernel("runs", "list", "--json"))
    assert [run["state"] for run in listed["runs"]] == ["running"]
    assert symphony.kernel("stop").returncode == 0
    _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "symphony-kernel run --resume" in said.splitlines()[-1]


@pytest.mark.parametrize("served", [False, True], ids=["no kernel", "kernel running"])
def test_runs_and_artifacts(symphony: Symphony, served: bool) -> None:
    run, reference = play(symphony)
    if served:
        symphony.serve()
    listed = check_answer("runs", symphony.kernel("runs", "list", "--json"))
    assert [(entry["run"], entry["state"]) for entry in listed["runs"]] == [(run, "succeeded")]
    shown = check_answer("run", symphony.kernel("runs", "show", run, "--json"))
    assert [(step["id"], step["state"]) for step in shown["step_list"]] == [("a", "succeeded")]
    assert shown["artifacts"]["x"]["reference"] == reference
    artifacts = check_answer("artifacts", symphony.kernel("artifacts", "list", "--json"))
    assert reference in {entry["ref"] for entry in artifacts["artifacts"]}
    artifact = check_answer("artifact", symphony.kernel("artifacts", "show", reference, "--json"))
    assert artifact["made"]["run"] == run
    assert artifact["made"]["step"] == "a"
    got = symphony.kernel("artifacts", "get", reference, "--out", "copy", "--json")
    assert json.loads(got.stdout)["path"] == str(symphony.folder / "copy")
    assert (symphony.folder / "copy").read_text() == "ok"
    assert symphony.kernel("artifacts", "get", reference).stdout == "ok"


def test_the_same_for_people(symphony: Symphony) -> None:
    run, reference = play(symphony)
    for words in (["runs", "list"], ["runs", "show", run]):
        done = symphony.kernel(*words)
        assert done.returncode == 0
        assert run in "".join(done.stdout.split())
    for words in (["artifacts", "list"], ["artifacts", "show", reference]):
        assert "answer" in symphony.kernel(*words).stdout


def test_extensions_list(symphony: Symphony) -> None:
    listed = check_answer("extensions", symphony.ext("list", *EXTENSIONS, "--json"))
    found = {entry["name"]: entry for entry in listed["extensions"]}
    assert found["trouble"]["origin"] == "attached"
    assert found["enhance-prompt"]["origin"] == "bundled"
    assert found["enhance-prompt"]["sandbox"] == "strict"
    assert "trouble" in symphony.ext("list", *EXTENSIONS).stdout


def test_extensions_list_shows_what_is_broken(symphony: Symphony) -> None:
    broken = symphony.home / "extensions" / "broken"
    broken.mkdir(parents=True)
    (broken / "extension.toml").write_text("[extension]\n")
    listed = check_answer("extensions", symphony.ext("list", "--json"))
    assert [entry["name"] for entry in listed["broken"]] == ["broken"]
    assert listed["broken"][0]["problems"]


def test_check(symphony: Symphony) -> None:
    answer = check_answer("check", symphony.ext("check", PLAYERS / "trouble", "--json"))
    assert answer["ok"] is True
    assert answer["provides"] == ["test.act/1"]
    symphony.write("bad/extension.toml", "[extension]\n")
    bad = symphony.ext("check", "bad", "--json")
    jsonschema.validate(json.loads(bad.stdout), schema("check"))


def test_create(symphony: Symphony) -> None:
    done = symphony.ext("create", "shout", "--json")
    assert done.returncode == 0, done.stderr
    folder = Path(json.loads(done.stdout)["folder"])
    assert (symphony.folder / folder / "extension.toml").is_file()
