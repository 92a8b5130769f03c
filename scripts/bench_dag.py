"""The DAG Tracker's bars: runs of 20,000 steps opened, completed, recovered; durable completions.

Within the process, without the bus: `open/20000` until it is on disk, `complete/20000` a completion
of a step (detail `started`: the record before it), `recover/20000` a fresh process' way from the
store to the resumed run. `durable`: steps started and completed a second with 16 completions to an
fsync (details: 1, 4, 100), beside a loop that appends and fsyncs records as large one by one, on
the same disk. `changes` (no bar): a step grown, a plan of recovery, a rollback over half the run.
Medians.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchlib import PROJECT, BenchError, Result, compared, parser, play, rounded
from busprograms import rust_example

CASES = {
    "open/20000": ("open", "s"),
    "complete/20000": ("complete", "µs"),
    "recover/20000": ("recover", "s"),
    "durable": ("durable", "steps/s"),
    "changes": ("changes", "s"),
}
FLOOR = "fsync-loop"
RUN_S = 120.0
EXAMPLES = """
--json
--only durable --quick"""


def once(folder: Path, what: str) -> dict[str, float]:
    """What one run of the program tells, by name."""
    program = rust_example("symphony-dag", "dag_bench")
    try:
        done = subprocess.run(
            [program, what, folder], capture_output=True, text=True, timeout=RUN_S, check=True
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"dag_bench failed: {error}\n{error.stderr!s}") from None
    return {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}


def measure(folder: Path, case: str, rounds: int) -> Iterator[Result]:
    what, unit = CASES[case]
    taken = [once(folder, what) for _ in range(rounds)]
    medians = {name: median(one[name] for one in taken) for name in taken[0]}
    floor = medians.pop(FLOOR, None)
    for name, value in medians.items():
        detail, _, own_unit = name.removeprefix(what).strip("/").partition(":")
        told = f"{case}/{detail}" if detail else case
        if floor is None:
            yield Result("dag", told, own_unit or unit, rounded(value))
        else:
            yield compared("dag", told, unit, value, FLOOR, floor)


def main() -> int:
    arguments = parser("dag", __doc__ or "", EXAMPLES)
    arguments.add_argument("--rounds", type=int, default=5, help="the median of so many (5)")
    arguments.add_argument("--quick", action="store_true", help="one round")
    options = arguments.parse_args()
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    rounds = 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory(dir=build, ignore_cleanup_errors=True) as folder:
        plan = {case: partial(measure, Path(folder), case, rounds) for case in CASES}
        return play(plan, options)


if __name__ == "__main__":
    sys.exit(main())
