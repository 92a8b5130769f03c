"""kill -9 of the kernel at any moment: nothing finished is repeated, nothing is left running."""

from __future__ import annotations

import json
import random
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from command_harness import PLAYERS, Symphony, of, processes_of, wait_for_end_of

KILLS = 50


def chain(symphony: Symphony, length: int) -> Path:
    steps = [
        {"id": f"s{n}", "inputs": {"plan": ["ok"]}, "after": [f"s{n - 1}"] if n else []}
        for n in range(length)
    ]
    return symphony.melody(*steps)


def check_story(path: Path, length: int) -> None:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    numbers = [event["seq"] for event in events]
    assert numbers == sorted(set(numbers)), "seq rises strictly over all resumptions"
    finished = [event["step"] for event in of(events, "step.finished")]
    assert sorted(finished) == sorted({f"s{n}" for n in range(length)}), "each step once"
    done: set[str] = set()
    for event in events:
        if event["event"] == "step.started":
            assert event["step"] not in done, "no finished step is started again"
        elif event["event"] == "step.finished":
            done.add(event["step"])
    (end,) = of(events, "run.finished")
    assert end["outcome"] == "succeeded"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_kills_at_random_moments(symphony: Symphony) -> None:
    rng = random.Random(20260131)  # noqa: S311 - moments, not secrets
    length, kills, rounds = 20, 0, 0
    melody = chain(symphony, length)
    while kills < KILLS:
        rounds += 1
        story = symphony.folder / f"events-{rounds}.jsonl"
        command = ["run", melody, "--extensions", PLAYERS, "--json", story]
        ended = False
        while not ended:
            process = symphony.start(*command)
            try:
                process.communicate(timeout=rng.uniform(0.05, 1.6))
                ended = True
                assert process.returncode == 0
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                assert wait_for_end_of(symphony.home)
                assert processes_of(symphony.home) == []
            run = run_of(story)
            if run is None and not ended:
                continue  # killed before the run was journaled: it is begun anew
            command = ["run", "--resume", str(run), "--extensions", PLAYERS, "--json", story]
        check_story(story, length)


def run_of(story: Path) -> str | None:
    """The run that a file of events tells of, if its first event was written whole."""
    if not story.is_file():
        return None
    first = story.read_text().partition("\n")
    return json.loads(first[0])["run"] if first[1] else None


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_an_interrupted_run_says_how_to_go_on(
    symphony: Symphony, number: signal.Signals, code: int
) -> None:
    melody = symphony.melody(
        {"id": "a", "inputs": {"plan": ["ok"]}},
        {"id": "b", "inputs": {"plan": ["hang", "ok"]}, "after": ["a"]},
    )
    story = symphony.folder / "events.jsonl"
    process = symphony.start("run", melody, "--extensions", PLAYERS, "--json", story)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("b: running"):
            break
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    last = stderr.strip().splitlines()[-1]
    run = run_of(story)
    program, *again = shlex.split(last.partition("go on with: ")[2])
    assert (program, again[:3]) == ("symphony-kernel", ["run", "--resume", run])
    done = symphony.kernel(*again, "--json", story)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in story.read_text().splitlines()]
    assert len(of(events, "run.resumed")) == 1
    assert [e["step"] for e in of(events, "step.finished")] == ["a", "b"]
    assert of(events, "step.started", step="b")[-1]["attempt"] == 2


def test_resuming_a_finished_run_reports_it_again(symphony: Symphony) -> None:
    code, events = symphony.play(chain(symphony, 2))
    assert code == 0
    run = events[0]["run"]
    done = symphony.kernel("run", "--resume", run, "--extensions", PLAYERS, "--json", "again.jsonl")
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout
    assert (symphony.folder / "again.jsonl").read_text() == ""


def test_a_resumption_that_was_told_elsewhere_is_made_up_for(symphony: Symphony) -> None:
    melody = symphony.melody({"id": "a", "inputs": {"plan": ["hang", "hang", "ok"]}})
    story = symphony.folder / "events.jsonl"
    command: list[str | Path] = ["run", melody, "--json", story]
    for _ in range(2):  # the second time without --json: its events are told nowhere
        process = symphony.start(*command, "--extensions", PLAYERS)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("a: running"):
                break
        process.kill()
        process.communicate()
        command = ["run", "--resume", str(run_of(story))]
    done = symphony.kernel(*command, "--extensions", PLAYERS, "--json", story, "--junit", "r.xml")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in story.read_text().splitlines()]
    assert [e["attempt"] for e in of(events, "step.started")] == [1, 2, 3]
    assert len(of(events, "run.resumed")) == 2
    assert 'tests="1"' in (symphony.folder / "r.xml").read_text()


def test_resuming_what_is_not_there(symphony: Symphony) -> None:
    done = symphony.kernel("run", "--resume", "no-such-run")
    assert done.returncode == 4
    assert done.stderr.startswith("error: ")
