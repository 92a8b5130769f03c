"""Arbitration's bar: decisions per second within the process, without the bus.

1,000 requests of ten tenants wait, each release lets others be granted, each grant is followed by
another request. `decide`: requests and releases as the bus brings them, their replies, the ledger
in memory. Details: `line` is the decision alone, `disk` has the ledger on disk, fsynced once for 64
releases and what they grant; `cpu` is by the processor's time, for a machine that others use too.
Medians.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchlib import PROJECT, Result, parser, play, rounded
from benchproc import numbers
from busprograms import rust_example

DECISIONS, FEWER = 200_000, 20_000
EXAMPLES = """
--json
--quick"""


def measure(folder: Path, rounds: int, decisions: int) -> Iterator[Result]:
    program = rust_example("symphony-arbitration", "decide")
    taken = [numbers([program, str(decisions), folder]) for _ in range(rounds)]
    medians = {name: median(one[name] for one in taken) for name in taken[0]}
    for name in sorted(medians, key=lambda name: not name.startswith("calls")):
        told = name.replace("calls", "decide") if name.startswith("calls") else f"decide/{name}"
        yield Result("arbitration", told, "decisions/s", rounded(medians[name]))


def main() -> int:
    arguments = parser("arbitration", __doc__ or "", EXAMPLES)
    arguments.add_argument("--rounds", type=int, default=5, help="the median of so many (5)")
    arguments.add_argument("--quick", action="store_true", help="one round, fewer decisions")
    options = arguments.parse_args()
    build = PROJECT / "build"
    build.mkdir(exist_ok=True)
    rounds, decisions = (1, FEWER) if options.quick else (options.rounds, DECISIONS)
    with tempfile.TemporaryDirectory(dir=build, ignore_cleanup_errors=True) as folder:
        return play({"decide": partial(measure, Path(folder), rounds, decisions)}, options)


if __name__ == "__main__":
    sys.exit(main())
