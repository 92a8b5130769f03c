"""Durable no-op steps per second of the real kernel, players in their sandboxes.

A case is a Melody: `chain/N` runs N steps one after another, `fanout/N` runs N at once and a join.
Timed from the first `step.started` to the last `step.finished`, which is written when the result is
durable. Beside it, on the same disk, a loop of appended and fsynced records of 200 bytes.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from benchlib import (
    KERNEL,
    PROJECT,
    BenchError,
    Result,
    alternate,
    compared,
    fsync_rate,
    parser,
    play,
)

PLAYERS = PROJECT / "scripts" / "benchmarks"
RUN_S = 120.0
SHAPES = {"chain/200": ("chain", 200), "fanout/500": ("fanout", 500)}
EXAMPLES = """
--json
--only 'chain/*' --rounds 1"""


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


def play_run(folder: Path, shape: str, size: int) -> float:
    """Steps per second of one run in a home of its own; raises BenchError if it fails."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file, events = Path(place, "bench.melody.json"), Path(place, "events.jsonl")
        file.write_text(json.dumps(melody(shape, size)), encoding="utf-8")
        command: list[str | Path] = [*KERNEL, "run", file, "--home", Path(place, "home")]
        command += ["--extensions", PLAYERS, "--headless", "--json", events]
        said = Path(place, "said")
        try:
            with said.open("wb") as log:
                subprocess.run(command, stdout=log, stderr=log, timeout=RUN_S, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            reason = said.read_text(encoding="utf-8")[-4000:]
            raise BenchError(f"a run failed: {error}\n{reason}") from None
        return steps_per_second(events)


def measure(folder: Path, case: str, rounds: int) -> Iterator[Result]:
    ours, loop = alternate(
        rounds, partial(play_run, folder, *SHAPES[case]), partial(fsync_rate, folder)
    )
    yield compared("steps", case, "steps/s", ours, "fsync-loop", loop)


def main() -> int:
    arguments = parser("steps", __doc__ or "", EXAMPLES)
    arguments.add_argument("--rounds", type=int, default=5, help="the median of so many (5)")
    options = arguments.parse_args()
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, ignore_cleanup_errors=True) as folder:
        plan = {case: partial(measure, Path(folder), case, options.rounds) for case in SHAPES}
        return play(plan, options)


if __name__ == "__main__":
    sys.exit(main())
