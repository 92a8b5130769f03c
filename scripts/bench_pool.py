"""The Pool Manager's bars: how long an acquire takes, how many of them are cold starts.

`acquire-warm`: an acquire of a warm instance among 256 of 32 kinds, within the process, from the
call's bytes to its effects (details: `release`; `durable`, with the fsync that its answer waits
for; `group`, of 64 that share one; 99th percentiles). Medians.
`cold-starts`: of a seeded trace of two days, the second of which counts, of kinds that are used
periodically, in bursts, rarely and almost always; `cold-starts/periodic`: of those that are used
periodically. Each is beside the same without prediction.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchlib import PROJECT, Result, compared, parser, play, rounded
from benchproc import numbers
from busprograms import rust_example

WITHOUT = "no-prediction"
EXAMPLES = """
--json
--only cold-starts --rounds 3"""


def acquire(folder: Path, rounds: int) -> Iterator[Result]:
    program = rust_example("symphony-pool", "acquire")
    taken = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as store:
            taken.append(numbers([program, store]))
    for name in taken[0]:
        told = name.replace("acquire", "acquire-warm")
        if not name.startswith("acquire"):
            told = f"acquire-warm/{name}"
        yield Result("pool", told, "µs", rounded(median(one[name] for one in taken)))


def cold_starts(rounds: int) -> Iterator[Result]:
    """Of as many seeds as there are rounds, together."""
    program = rust_example("symphony-pool", "cold_starts")
    taken = [numbers([program, str(seed)]) for seed in range(1, rounds + 1)]
    for detail in ("", "/periodic"):
        ours, theirs = (
            sum(one[f"{which}{detail}"] for one in taken) for which in ("with", "without")
        )
        yield compared("pool", f"cold-starts{detail}", "cold starts", ours, WITHOUT, theirs)


def main() -> int:
    arguments = parser("pool", __doc__ or "", EXAMPLES)
    arguments.add_argument("--rounds", type=int, default=5, help="so many measures, or seeds (5)")
    arguments.add_argument("--quick", action="store_true", help="one round")
    options = arguments.parse_args()
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    rounds = 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory(dir=build, ignore_cleanup_errors=True) as folder:
        plan = {
            "acquire-warm": partial(acquire, Path(folder), rounds),
            "cold-starts": partial(cold_starts, rounds),
        }
        return play(plan, options)


if __name__ == "__main__":
    sys.exit(main())
