"""What the kernel asks of Arbitration by what Melodies and manifests say: who could play, who may
share a process, and how urgent it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from command_harness import Symphony, of

MANIFEST = """
[extension]
name = "{name}"
version = "{version}"
entry = {{ python = "main.py" }}
share = {share}

[[provides]]
capability = "test.say/1"
inputs = {{ text = {{ type = "file" }} }}
outputs = {{ answer = {{ type = "file" }} }}
"""
PROGRAM = """
import time
from pathlib import Path
from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("test.say/1")
def say(ctx: Context, text: str) -> Path:
    {body}
    (ctx.outbox / "answer").write_text(text)
    return ctx.outbox / "answer"


ext.run()
"""


def player(
    symphony: Symphony, name: str, version: str = "1.0.0", *, share: int = 1, body: str = "pass"
) -> None:
    text = MANIFEST.format(name=name, version=version, share=share)
    symphony.write(f"kit/{name}/extension.toml", text)
    symphony.write(f"kit/{name}/main.py", PROGRAM.format(body=body))


def play(
    symphony: Symphony,
    number: int,
    code: int = 0,
    lost: int | None = None,
    head: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The steps that were started in a run of so many that wait for nothing."""
    steps = [
        {"id": f"s{n}", "capability": "test.say/1", "inputs": {"text": f"this is {n}"}}
        | {"retry": {"attempts": 1}}
        for n in range(number)
    ]
    if lost is not None:
        steps[lost]["importance"] = "optional"
    outputs = {f"o{n}": f"$steps.s{n}.answer" for n in range(number) if n != lost}
    melody = symphony.melody(*steps, outputs=outputs)
    if head:
        text = melody.read_text().replace(
            '"version": "1.0.0"', '"version": "1.0.0", ' + head["more"]
        )
        melody.write_text(text)
    out = symphony.folder / "out"
    found, events = symphony.play(melody, "--extensions", symphony.folder / "kit", "--out", out)
    assert found == code, events
    if not code:
        for name in outputs:
            assert written(out, events, name) == f"this is {name[1:]}"
    return of(events, "step.started")


def written(out: Path, events: list[dict[str, Any]], name: str) -> str:
    return Path(events[-1]["artifacts"][name]["path"]).read_text()


def test_where_nobody_is_named_arbitration_chooses_by_load(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text("resources = { cpu = 4 }\n")
    for name in ("ann", "bob"):
        player(symphony, name, body="time.sleep(0.3)")
    started = play(symphony, 4)
    assert {event["player"] for event in started} == {"ann", "bob"}
    for event in started:
        why = symphony.answer("why", event["grant"])
        if why["step"] == event["step"]:  # not the next one of its turn
            assert (why["strategy"], why["player"]) == ("specialise", event["player"])
            assert f"{event['player']} of 2 players" in why["reason"]


def test_one_that_fails_is_chosen_less(symphony: Symphony) -> None:
    player(symphony, "ann", "2.0.0", body="raise ValueError('told to')")
    player(symphony, "bob", "1.0.0")
    (failed,) = play(symphony, 1, code=1)
    assert failed["player"] == "ann", "the higher version"
    (done,) = play(symphony, 1)
    assert done["player"] == "bob"
    assert "fit 940" in symphony.answer("why", done["grant"])["reason"]


def test_calls_share_a_process_and_its_grant(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text('resources = { cpu = 4, memory = "600MiB" }\n')
    player(symphony, "ann", share=4, body="time.sleep(0.2)")
    started = play(symphony, 4)
    assert len({event["pid"] for event in started}) == 1
    grants = [symphony.answer("why", event["grant"]) for event in started]
    first, *others = sorted(grants, key=lambda why: why["with"] is not None)
    assert first["needs"]["memory"] == 512
    assert len(others) == 3
    for why in others:
        assert (why["strategy"], why["with"]) == ("collaborate", first["grant"])
        assert why["needs"] == {}


def test_one_that_fails_lets_those_end_who_share_its_process(symphony: Symphony) -> None:
    (symphony.home / "pit.toml").write_text("resources = { cpu = 4 }\n")
    body = "time.sleep(0.2); assert not text.endswith('0')"
    player(symphony, "ann", share=4, body=body)
    started = play(symphony, 4, lost=0)
    assert len({event["pid"] for event in started}) == 1
    assert [event["attempt"] for event in started] == [1] * 4


def test_the_deadline_of_a_run_is_told(symphony: Symphony) -> None:
    player(symphony, "ann")
    (started,) = play(symphony, 1, head={"more": '"deadline_s": 60'})
    why = symphony.answer("why", started["grant"])
    (score,) = why["scores"]
    assert 50_000 < score["deadline_ms"] <= 60_000
