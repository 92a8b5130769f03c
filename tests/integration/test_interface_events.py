"""Events: every row of the table, every line by the printed schema, `seq` over a whole life."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command_harness import PLAYERS, Symphony, of, symphony_in
from interface_checks import schema

Events = list[dict[str, Any]]
ROWS = {
    "run.opened": {"melody", "version", "inputs"},
    "run.resumed": {"melody", "version", "inputs", "from_seq"},
    "step.started": {"step", "attempt", "player", "instance", "pid", "sandbox"},
    "step.progress": {"step", "done", "total", "message"},
    "step.finished": {"step", "attempt", "outputs", "quality"},
    "step.failed": {"step", "attempt", "error", "exit"},
    "step.skipped": {"step", "reason"},
    "decision": {"action", "step", "player", "by", "reason"},
    "gate": {"step", "gate", "passed", "score", "reason"},
    "run.finished": {"outcome", "artifacts", "metrics"},
}
ALWAYS = {"seq", "ts", "run", "event"}
REFERENCE = re.compile(r"blake3:[0-9a-f]{64}")


def step(name: str, *plan: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "inputs": {"plan": list(plan)}, **more}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Events]:
    """One run in which everything happens, interrupted once."""
    with symphony_in(tmp_path_factory.mktemp("story")) as symphony:
        melody = symphony.melody(
            step("crashes", "crash", "ok"),
            step("judged", "poor", "ok", gate={"expression": "outputs.score > 0.5"}),
            step("unwanted", "ok", condition="inputs.number > 3"),
            step("waits", "hang", "ok", after=["crashes", "judged", "unwanted"]),
            inputs={"number": {"type": "integer"}},
            outputs={"answer": "$steps.waits.answer"},
        )
        path = symphony.folder / "events.jsonl"
        given = ("--extensions", PLAYERS, "--json", path, "--headless")
        out = ("--input", "number=1", "--out", "result")
        process = symphony.start("run", melody, *given, *out)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("waits: running"):
                break
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        run = said.partition("--resume ")[2].split()[0]
        done = symphony.kernel("run", "--resume", run, *given)
        assert done.returncode == 0, done.stderr
        assert (symphony.folder / "result" / "answer.txt").read_text() == "ok"
        yield [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_of_the_table(story: Events, kind: str) -> None:
    found = of(story, kind)
    assert found
    for event in found:
        assert event.keys() >= ALWAYS | ROWS[kind]


def test_every_line_is_one_object_of_the_schema(story: Events) -> None:
    validator = jsonschema.Draft202012Validator(schema("events"))
    for event in story:
        validator.validate(event)
    assert {event["event"] for event in story} == ROWS.keys()
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**story[0], "seq": "1"})


def test_what_every_event_carries(story: Events) -> None:
    assert {event["run"] for event in story} == {story[0]["run"]}
    for event in story:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["ts"])
        assert datetime.fromisoformat(event["ts"]).utcoffset() == timedelta(0)


def test_seq_rises_strictly_over_the_whole_life(story: Events) -> None:
    numbers = [event["seq"] for event in story]
    assert numbers == sorted(set(numbers))
    (resumed,) = of(story, "run.resumed")
    before = [event["seq"] for event in story if event["seq"] < resumed["seq"]]
    assert resumed["from_seq"] == max(n for n in before if n % 1000 == 0)


def test_a_step_is_finished_once(story: Events) -> None:
    finished = [event["step"] for event in of(story, "step.finished")]
    assert sorted(finished) == ["crashes", "judged", "waits"]
    assert [event["attempt"] for event in of(story, "step.started", step="waits")] == [1, 2]


def test_what_a_step_says_of_itself(story: Events) -> None:
    for event in of(story, "step.started"):
        assert event["sandbox"] == "strict"
        assert event["player"] == "trouble"
        assert event["pid"] > 0
    for event in of(story, "step.finished"):
        assert event["quality"] == 0.9
        assert REFERENCE.fullmatch(event["outputs"]["answer"])
    (crash,) = of(story, "step.failed", step="crashes")
    assert crash["error"] == {
        "class": "crashed",
        "message": crash["error"]["message"],
        "fault": "provider",
    }
    assert crash["exit"] == "ended by SIGKILL"
    assert [event["passed"] for event in of(story, "gate", step="judged")] == [False, True]
    assert of(story, "step.skipped", step="unwanted")[0]["reason"]
    assert of(story, "step.progress", step="crashes")[0]["total"] == 2
    assert {event["by"] for event in of(story, "decision")} == {"rule"}
    assert {event["action"] for event in of(story, "decision")} >= {"activate", "retry"}


def test_the_end_names_the_artifacts_and_where_they_are(story: Events) -> None:
    (end,) = of(story, "run.finished")
    assert end is not None
    assert story[-1]["event"] == "run.finished"
    assert end["outcome"] == "succeeded"
    answer = end["artifacts"]["answer"]
    assert REFERENCE.fullmatch(answer["reference"])
    assert Path(answer["path"]).parts[-2:] == ("result", "answer.txt")
    assert end["metrics"]["succeeded"] == 3
    assert end["metrics"]["skipped"] == 1


def test_the_same_run_on_standard_output_and_as_a_report(symphony: Symphony) -> None:
    melody = symphony.melody(step("a", "ok"))
    done = symphony.kernel(
        *("run", melody, "--extensions", PLAYERS, "--headless", "--json", "-"),
        *("--junit", "report.xml"),
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    for event in events:
        jsonschema.validate(event, schema("events"))
    report = (symphony.folder / "report.xml").read_text()
    assert '<testcase name="a"' in report
    assert 'failures="0"' in report


def test_a_failed_run_says_so_at_the_end(symphony: Symphony) -> None:
    code, events = symphony.play(symphony.melody(step("a", "raise", retry={"attempts": 1})))
    assert code == 1
    assert events[-1]["event"] == "run.finished"
    assert events[-1]["outcome"] == "failed"
    assert of(events, "decision", action="fail")
