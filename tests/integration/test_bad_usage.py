"""What is wrong with an option, a file or a store is told by its name and with what helps."""

from __future__ import annotations

import json

import pytest
from command_harness import Symphony
from interface_checks import check_errors

ODD = "odd-\udcff"  # as Python reads a byte that is no UTF-8


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("run", "no.melody.toml", "--tenant", ODD), "--tenant"),
        (("run", "no.melody.toml", "--input", f"a={ODD}"), "--input"),
        (("budget", "--run", ODD), "--run"),
        (("runs", "show", ODD), "RUN"),
        (("stale", "pin", "r", "--why", ODD), "--why"),
        (("artifacts", "list", "--name", ODD), "--name"),
        (("artifacts", "audit", "--after", "9" * 26), "--after"),
        (("runs", "list", "--limit", "9" * 5000), "--limit"),
        (("backup", ""), "DEST"),
        (("restore", ""), "BACKUP"),
        (("stale", "pin", "r", "--why", ""), "--why"),
        (("stale", "hold", "case-7", "r", "--why", " "), "--why"),
        (("stale", "release", "case-7", "--why", ""), "--why"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_argument_that_nobody_could_send_or_mean_is_named(
    symphony: Symphony, words: tuple[str, ...], named: str
) -> None:
    said = check_errors(symphony.kernel(*words), 2, f"Invalid value for '{named}'")
    assert len(said) < 1000
    assert not (symphony.home / "dag").exists(), "nothing was started"


def test_tools_without_links_are_told(symphony: Symphony) -> None:
    tools = {"nodes": [{"id": "a"}, {"id": "b"}]}
    file = symphony.write("tool_desc.json", json.dumps(tools))
    done = symphony.kernel("import", file, "--out", "out", "--json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["melodies"]) == 1
    assert "has 2 steps that do not wait for each other" in done.stderr
    linked = {**tools, "links": [{"source": "a", "target": "b"}]}
    file = symphony.write("graph_desc.json", json.dumps(linked))
    assert symphony.kernel("import", file, "--out", "out").stderr == ""


def test_a_player_that_never_has_room_is_told_before_the_run(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text('[pool]\nmemory = "64MiB"\n')
    melody = symphony.melody({"id": "a", "capability": "time.wait/1", "inputs": {"ms": 0}})
    said = check_errors(symphony.kernel("run", melody), 2, "a process of wait takes 128 MiB")
    assert "pool.memory" in said
    assert symphony.answer("runs", "list")["runs"] == []


def test_a_damaged_format_file_is_told_with_what_belongs_there(symphony: Symphony) -> None:
    melody = symphony.melody({"id": "a", "capability": "time.wait/1", "inputs": {"ms": 0}})
    assert symphony.kernel("run", melody).returncode == 0
    file = symphony.home / "dag" / "format"
    right = file.read_text()
    file.write_text(right.replace("s", "S", 1))
    said = check_errors(symphony.kernel("run", melody), 6, "cannot open its store")
    assert f'write "{right.strip()}" into its file format' in said
    assert said.count(str(file.parent)) == 1
    file.write_text(right)
    assert symphony.kernel("run", melody).returncode == 0
