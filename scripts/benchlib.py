"""What the benchmarks share: their result lines, the table for people, alternation and medians."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Result:
    """One measured case: `value` in `unit`; `ratio` is ours ÷ theirs where both were measured."""

    bench: str
    case: str
    unit: str
    value: float
    against: str | None = None
    ratio: float | None = None

    def line(self) -> str:
        """The result as one JSON object; what was not measured is left out."""
        return json.dumps({key: value for key, value in asdict(self).items() if value is not None})


def compared(bench: str, case: str, unit: str, ours: float, against: str, theirs: float) -> Result:
    """A case that was measured beside another in the same run."""
    return Result(bench, case, unit, rounded(ours), against, rounded(ours / theirs))


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def alternate(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each measure. They take turns, so that a slow spell of the machine hits all."""
    taken: list[list[float]] = [[] for _ in measures]
    for number in range(rounds):
        for values, measure in zip(taken, measures, strict=True):
            print(f"\rround {number + 1} of {rounds} ", end="", file=sys.stderr, flush=True)
            values.append(measure())
    print("\r\033[K" if sys.stderr.isatty() else "", end="\n", file=sys.stderr)
    return [median(values) for values in taken]


def show(results: Sequence[Result], *, as_json: bool) -> None:
    """One JSON object a line, or a table."""
    if as_json:
        print(*(result.line() for result in results), sep="\n")
        return
    table = Table("bench", "case", "unit", "value", "against", "ratio")
    for result in results:
        ratio = "" if result.ratio is None else f"{result.ratio:g}"
        value = f"{result.value:g}"
        table.add_row(result.bench, result.case, result.unit, value, result.against or "-", ratio)
    Console().print(table)


def fsync_rate(folder: Path, records: int = 1000, size: int = 200) -> float:
    """Appended and fsynced records per second of a plain loop: the floor of a durable journal."""
    path = folder / "fsync-loop"
    record = b"x" * size
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        begun = time.perf_counter()
        for _ in range(records):
            os.write(file, record)
            os.fsync(file)
        return records / (time.perf_counter() - begun)
    finally:
        os.close(file)
        path.unlink()
