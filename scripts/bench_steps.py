"""Durable no-op steps per second of the real kernel, players in their sandboxes.

A case is a Melody: `chain/N` runs N steps one after another, `fanout/N` runs N at once and a join.
Timed from the first `step.started` to the last `step.finished`, which is written when the result is
durable. Beside it, on the same disk, a loop of appended and fsynced records of 200 bytes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import datetime
from functools import partial
from pathlib import Path

from benchlib import PROJECT, Result, alternate, compared, fsync_rate, show

PLAYERS = PROJECT / "scripts" / "benchmarks"
KERNEL = Path(sys.executable).with_name("symphony-kernel")
RUN_S = 120.0
SHAPES = {"chain/200": ("chain", 200), "fanout/500": ("fanout", 500)}


def melody(shape: str, size: int) -> dict[str, object]:
    """The Melody in its JSON form."""
    steps = [{"id": f"s{at}", "capability": "bench.noop/1", "after": []} for at in range(size)]
    names = [str(step["id"]) for step in steps]
    if shape == "chain":
        for step, before in zip(steps[1:], names, strict=False):
            step["after"] = [before]
    else:
        steps.append({"id": "join", "capability": "bench.noop/1", "after": names})
    return {"melody": {"name": f"{shape}-{size}", "version": "1.0.0"}, "steps": steps}


def steps_per_second(events: Path) -> float:
    """Of a finished run, from the events it wrote."""
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    started = [line["ts"] for line in lines if line["event"] == "step.started"]
    finished = [line["ts"] for line in lines if line["event"] == "step.finished"]
    spent = datetime.fromisoformat(max(finished)) - datetime.fromisoformat(min(started))
    return len(finished) / spent.total_seconds()


def play(folder: Path, shape: str, size: int) -> float:
    """Steps per second of one run in a home of its own; a failed run ends the benchmark."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file, events = Path(place, "bench.melody.json"), Path(place, "events.jsonl")
        file.write_text(json.dumps(melody(shape, size)), encoding="utf-8")
        command: list[str | Path] = [KERNEL, "run", file, "--home", Path(place, "home")]
        command += ["--extensions", PLAYERS, "--headless", "--json", events]
        said = Path(place, "said")
        try:
            with said.open("wb") as log:
                subprocess.run(command, stdout=log, stderr=log, timeout=RUN_S, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            sys.exit(f"error: {error}\n{said.read_text(encoding='utf-8')[-4000:]}")
        return steps_per_second(events)


def measure(folder: Path, rounds: int) -> list[Result]:
    results = []
    for case, (shape, size) in SHAPES.items():
        ours, loop = alternate(
            rounds, partial(play, folder, shape, size), partial(fsync_rate, folder)
        )
        results.append(compared("steps", case, "steps/s", ours, "fsync-loop", loop))
    return results


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--rounds", type=int, default=5, help="the median of so many (5)")
    args = parser.parse_args(argv)
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as folder:
        show(measure(Path(folder), args.rounds), as_json=args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
