"""`artifacts diff | lineage | search | verify | audit`, beside a running kernel and without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_harness import PLAYERS, Symphony
from interface_checks import check_answer, check_error_json, check_errors

FIRST = "one\ntwo walrus\nthree\n"
SECOND = "one\ntwo narwhal\nthree\n"


@pytest.fixture(params=[False, True], ids=["no kernel", "kernel running"])
def home(symphony: Symphony, request: pytest.FixtureRequest) -> Symphony:
    """A home with some artifacts: `a` and `b` make a text each, `c` a
    louder one and, as `d`, a folder from that of `a`."""
    steps: list[dict[str, Any]] = [
        {"id": "a", "inputs": {"plan": [FIRST]}},
        {"id": "b", "inputs": {"plan": [SECOND]}},
        {"id": "c", "capability": "test.shout/1", "inputs": {"source": "$steps.a.answer"}},
    ]
    outputs = {"a": "$steps.a.answer", "b": "$steps.b.answer"}
    outputs |= {"c": "$steps.c.shouted", "d": "$steps.c.folder"}
    code, events = symphony.play(symphony.melody(*steps, outputs=outputs))
    assert code == 0, events
    symphony.run = events[-1]["run"]
    symphony.refs = {n: value["reference"] for n, value in events[-1]["artifacts"].items()}
    if request.param:
        symphony.serve()
    return symphony


def blob(home: Symphony, name: str) -> Path:
    digits = home.refs[name].removeprefix("blake3:")
    return home.home / "artifacts" / "blobs" / digits[:2] / digits[2:]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def test_diff(home: Symphony) -> None:
    a, b = home.refs["a"], home.refs["b"]
    found = check_answer("diff", home.kernel("artifacts", "diff", a[:20], b, "--json"))
    assert (found["same"], found["added"], found["removed"]) == (False, 1, 1)
    assert "-two walrus\n+two narwhal\n" in found["diff"]
    shown = home.kernel("artifacts", "diff", a, b)
    assert "\n-two walrus\n+two narwhal\n" in shown.stdout
    assert check_answer("diff", home.kernel("artifacts", "diff", a, a, "--json"))["same"] is True


def test_versions_are_named_by_number(home: Symphony) -> None:
    names = {info["name"] for info in home.answer("artifacts", "list")["artifacts"]}
    (name,) = (name for name in names if "answer" in name)
    first = check_answer("artifact", home.kernel("artifacts", "show", f"{name}@1", "--json"))
    second = check_answer("artifact", home.kernel("artifacts", "show", f"{name}@2", "--json"))
    assert {first["ref"], second["ref"]} == {home.refs["a"], home.refs["b"]}
    check_errors(home.kernel("artifacts", "show", f"{name}@99"), 4, "no such artifact")


def test_the_beginning_of_a_reference_must_be_of_one(home: Symphony) -> None:
    check_errors(home.kernel("artifacts", "show", "blake3:"), 4, "several", "more of its digits")
    shown = home.kernel("artifacts", "show", home.refs["a"][:24] + "…", "--json")
    assert check_answer("artifact", shown)["ref"] == home.refs["a"]


def test_lineage(home: Symphony) -> None:
    asked = ("artifacts", "lineage", home.refs["c"])
    found = check_answer("lineage", home.kernel(*asked, "--json"))
    assert home.refs["a"] in {node["ref"] for node in found["nodes"]}
    (edge,) = (e for e in found["edges"] if e["to"] == home.refs["c"])
    assert (edge["from"], edge["made"]["run"]) == (home.refs["a"], home.run)
    assert home.run in home.kernel(*asked).stdout
    alone = check_answer("lineage", home.kernel(*asked, "--way", "outputs", "--json"))
    assert [node["ref"] for node in alone["nodes"]] == [home.refs["c"]]


def test_lineage_as_openlineage(home: Symphony) -> None:
    done = home.kernel("artifacts", "lineage", home.refs["c"], "--openlineage")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    made = [e for e in events if home.refs["c"] in {d["name"] for d in e["outputs"]}]
    assert [e["eventType"] for e in made] == ["COMPLETE"]
    assert home.refs["a"] in {dataset["name"] for dataset in made[0]["inputs"]}


def test_search(home: Symphony) -> None:
    found = check_answer("search", home.kernel("artifacts", "search", "NARWHAL one", "--json"))
    assert [item["ref"] for item in found["artifacts"]] == [home.refs["b"]]
    assert "trouble" in home.kernel("artifacts", "search", "narwhal").stdout
    by_player = ("artifacts", "search", "--player", "trouble")
    every = check_answer("search", home.kernel(*by_player, "--json"))
    assert {home.refs["a"], home.refs["b"]} <= {item["ref"] for item in every["artifacts"]}
    one = check_answer("search", home.kernel(*by_player, "--limit", "1", "--json"))
    assert (len(one["artifacts"]), one["more"]) == (1, True)
    none = check_answer("search", home.kernel("artifacts", "search", "--tag", "no", "--json"))
    assert none == {"artifacts": [], "more": False}


def test_search_for_nothing_is_refused(symphony: Symphony) -> None:
    check_errors(symphony.kernel("artifacts", "search"), 2, "nothing to search for")


def test_a_list_goes_on_to_its_limit(home: Symphony) -> None:
    listed = home.answer("artifacts", "list", "--limit", "1000")["artifacts"]
    assert len(home.answer("artifacts", "list", "--limit", "2")["artifacts"]) == 2
    assert len(listed) > 2


def test_verify(home: Symphony) -> None:
    whole = check_answer("verified", home.kernel("artifacts", "verify", "--json"))
    assert whole["artifacts"] >= 3
    some = home.kernel("artifacts", "verify", home.refs["a"], home.refs["b"], "--json")
    assert check_answer("verified", some)["artifacts"] == 2
    folder = check_answer("verified", home.kernel("artifacts", "verify", home.refs["d"], "--json"))
    assert folder["artifacts"] == 4, "its listing and three files"
    assert "all as they were put" in home.kernel("artifacts", "verify").stdout


@pytest.mark.parametrize("names", [(), ("a", "b")], ids=["all", "by name"])
def test_verify_names_what_is_damaged(home: Symphony, names: tuple[str, ...]) -> None:
    damage(blob(home, "b"))
    asked = [home.refs[name] for name in names]
    done = home.kernel("artifacts", "verify", *asked, "--json")
    check_errors(done, 6, home.refs["b"], "backup")
    error = check_error_json(done)
    assert (error["code"], error["where"]) == ("corrupt", home.refs["b"])
    assert [problem["where"] for problem in error["problems"]] == [home.refs["b"]]


def test_audit(home: Symphony) -> None:
    first = check_answer("audit", home.kernel("artifacts", "audit", "--limit", "2", "--json"))
    assert [record["number"] for record in first["records"]] == [1, 2]
    following = ("artifacts", "audit", "--after", str(first["next"]))
    rest = check_answer("audit", home.kernel(*following, "--json"))
    assert rest["records"][0]["number"] == 3
    records = first["records"] + rest["records"]
    assert home.refs["a"] in {ref for record in records for ref in record["refs"]}
    assert all(len(record["hash"]) == 64 for record in records)
    shown = home.kernel("artifacts", "audit")
    assert "put_many" in shown.stdout or "collect" in shown.stdout


def test_what_a_command_reads_is_audited_under_its_user(home: Symphony) -> None:
    assert home.kernel("artifacts", "get", home.refs["a"]).stdout == FIRST
    home.kernel("artifacts", "get", home.refs["b"], "--out", "b.txt")
    records = home.answer("artifacts", "audit")["records"]
    readers = {(record["method"], (record.get("by") or "").split(" ")[0]) for record in records}
    assert readers >= {("get", "console"), ("stage", "console")}


def test_text_of_players_cannot_write_to_the_terminal(symphony: Symphony) -> None:
    evil = "\x1b]0;owned\x07line\u202e"
    melody = symphony.melody(
        {"id": "a", "inputs": {"plan": [evil]}},
        {"id": "b", "inputs": {"plan": ["plain"]}},
        outputs={"a": "$steps.a.answer", "b": "$steps.b.answer"},
    )
    code, events = symphony.play(melody, "--extensions", PLAYERS)
    assert code == 0
    found = events[-1]["artifacts"]
    done = symphony.kernel("artifacts", "diff", found["b"]["reference"], found["a"]["reference"])
    assert done.returncode == 0, done.stderr
    assert "\\x1b]0;owned\\x07line\\u202e" in done.stdout
    assert "\x1b]" not in done.stdout
