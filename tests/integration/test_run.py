"""Whole runs through the real commands: order, files, conditions, gates, fallbacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_harness import Symphony, of


def test_a_chain_a_branch_and_a_join(symphony: Symphony) -> None:
    plan = {"plan": ["ok"]}
    code, events = symphony.play(
        symphony.melody(
            {"id": "a", "inputs": plan},
            {"id": "b", "inputs": plan, "after": ["a"]},
            {"id": "c", "inputs": plan, "after": ["a"]},
            {"id": "d", "inputs": plan, "after": ["b", "c"]},
        )
    )
    assert code == 0
    order = [event["step"] for event in of(events, "step.finished")]
    assert order[0] == "a"
    assert order[-1] == "d"
    started = {event["step"]: event for event in of(events, "step.started")}
    assert started["d"]["seq"] > max(e["seq"] for e in of(events, "step.finished")[:-1])
    assert {event["sandbox"] for event in started.values()} == {"strict"}
    assert of(events, "run.finished")[0]["outcome"] == "succeeded"


def test_files_and_folders_travel(symphony: Symphony) -> None:
    symphony.write("in.txt", "one\ntwo\n")
    melody = symphony.melody(
        {"id": "first", "capability": "test.shout/1", "inputs": {"source": "$inputs.text"}},
        {
            "id": "again",
            "capability": "test.shout/1",
            "inputs": {"source": "$steps.first.shouted"},
        },
        inputs={"text": {"type": "file"}},
        outputs={"text": "$steps.again.shouted", "pages": "$steps.again.folder"},
    )
    code, events = symphony.play(melody, "--input", "text=in.txt", "--out", "result")
    assert code == 0
    out = symphony.folder / "result"
    assert (out / "shouted.txt").read_text() == "ONE\nTWO\n"
    assert (out / "pages" / "deep" / "1.txt").read_text() == "TWO"
    artifacts = of(events, "run.finished")[0]["artifacts"]
    assert artifacts["text"]["path"] == str(out / "shouted.txt")
    got = symphony.kernel("artifacts", "get", artifacts["text"]["reference"])
    assert got.stdout == "ONE\nTWO\n"
    begun = symphony.kernel("artifacts", "get", artifacts["text"]["reference"][:16])
    assert begun.stdout == "ONE\nTWO\n"
    folder = symphony.kernel("artifacts", "get", artifacts["pages"]["reference"], "--out", "copy")
    assert folder.returncode == 0, folder.stderr
    assert (symphony.folder / "copy" / "deep" / "0.txt").read_text() == "ONE"


def test_a_second_delivery_keeps_the_former_one(symphony: Symphony) -> None:
    symphony.write("in.txt", "one\n")
    melody = symphony.melody(
        {"id": "first", "capability": "test.shout/1", "inputs": {"source": "$inputs.text"}},
        inputs={"text": {"type": "file"}},
        outputs={"text": "$steps.first.shouted"},
    )
    for content in ("one\n", "two\n"):
        symphony.write("in.txt", content)
        assert symphony.play(melody, "--input", "text=in.txt", "--out", "result")[0] == 0
    out = symphony.folder / "result"
    assert (out / "shouted.txt").read_text() == "TWO\n"
    assert (out / "shouted.txt~").read_text() == "ONE\n"
    assert symphony.play(melody, "--input", "text=in.txt", "--out", "result")[0] == 0
    assert (out / "shouted.txt~").read_text() == "ONE\n", "what was kept is not lost"
    assert sorted(path.name for path in out.iterdir()) == [
        "shouted.txt",
        "shouted.txt~",
        "shouted.txt~2",
    ]


@pytest.mark.parametrize(("number", "state"), [(5, "step.finished"), (1, "step.skipped")])
def test_conditions(symphony: Symphony, number: int, state: str) -> None:
    melody = symphony.melody(
        {"id": "a", "inputs": {"plan": ["ok"]}, "condition": "inputs.number > 3"},
        inputs={"number": {"type": "integer"}},
    )
    code, events = symphony.play(melody, "--input", f"number={number}")
    assert code == 0
    assert of(events, state, step="a")


def test_a_condition_on_an_earlier_result(symphony: Symphony) -> None:
    melody = symphony.melody(
        {"id": "a", "inputs": {"plan": ["ok"]}},
        {"id": "good", "inputs": {"plan": ["ok"]}, "condition": "steps.a.score > 0.5"},
        {"id": "bad", "inputs": {"plan": ["ok"]}, "condition": "steps.a.score < 0.5"},
    )
    code, events = symphony.play(melody)
    assert code == 0
    assert of(events, "step.finished", step="good")
    assert of(events, "step.skipped", step="bad")


def test_a_gate_refuses_then_a_better_attempt_passes(symphony: Symphony) -> None:
    gate = {"expression": "outputs.score > 0.5"}
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["poor", "ok"]}, "gate": gate})
    code, events = symphony.play(melody)
    assert code == 0
    assert [event["passed"] for event in of(events, "gate")] == [False, True]
    assert of(events, "step.finished")[0]["attempt"] == 2


def test_fallback_player(symphony: Symphony) -> None:
    melody = symphony.melody(
        {
            "id": "a",
            "inputs": {"plan": ["raise"]},
            "fallbacks": ["understudy"],
            "retry": {"attempts": 2, "backoff_s": 0},
        }
    )
    code, events = symphony.play(melody)
    assert code == 0
    assert [event["player"] for event in of(events, "step.started")] == [
        "trouble",
        "trouble",
        "understudy",
    ]
    actions = [event["action"] for event in of(events, "decision")]
    assert actions == ["activate", "retry", "fallback"]


def test_an_optional_step_is_skipped_and_the_run_goes_on(symphony: Symphony) -> None:
    melody = symphony.melody(
        {
            "id": "a",
            "inputs": {"plan": ["raise"]},
            "importance": "optional",
            "retry": {"attempts": 1},
        },
        {"id": "b", "inputs": {"plan": ["ok"]}, "after": ["a"]},
    )
    code, events = symphony.play(melody)
    assert code == 0
    assert of(events, "step.skipped", step="a")
    assert of(events, "step.finished", step="b")


def test_a_required_step_that_needs_a_failed_optional_one_fails_the_run(
    symphony: Symphony,
) -> None:
    melody = symphony.melody(
        {
            "id": "a",
            "inputs": {"plan": ["raise"]},
            "importance": "optional",
            "retry": {"attempts": 1},
        },
        {"id": "b", "inputs": {"plan": "$steps.a.answer"}},
    )
    code, events = symphony.play(melody)
    assert code == 1
    assert of(events, "step.skipped", step="b")
    assert "it needs a" in of(events, "decision", action="fail", step="b")[0]["reason"]


def test_a_failed_step_fails_the_run_with_the_reason(symphony: Symphony, tmp_path: Path) -> None:
    melody = symphony.melody(
        {"id": "a", "inputs": {"plan": ["raise"]}, "retry": {"attempts": 2, "backoff_s": 0}},
        {"id": "b", "inputs": {"plan": ["ok"]}},
        {"id": "c", "inputs": {"plan": "$steps.a.answer"}},
    )
    done = symphony.kernel(
        "run", melody, "--extensions", Path(__file__).parent / "players", "--junit", "r.xml"
    )
    # c needs the answer of a as JSON: text is JSON data, so this Melody is valid.
    assert done.returncode == 1
    assert "told to raise" in done.stderr or "step a" in done.stderr
    run = done.stderr.split()[1]
    shown = json.loads(symphony.kernel("runs", "show", run, "--json").stdout)
    states = {step["id"]: step["state"] for step in shown["step_list"]}
    assert states["a"] == "failed"
    assert states["c"] == "skipped"
    assert 'failures="1"' in (symphony.folder / "r.xml").read_text()
