"""What the benchmarks share: options, the choice of cases, result lines, alternation and medians.

A benchmark is a plan: cases by name, each a function that measures and gives its results. `play`
runs the chosen ones. Results go to standard output, everything else to standard error.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median
from typing import NoReturn

PROJECT = Path(__file__).resolve().parent.parent
KERNEL = [sys.executable, "-m", "symphony.kernel.cli.kernel"]
BAD_USAGE, UNAVAILABLE, INTERRUPTED, TERMINATED = 2, 5, 130, 143


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


Plan = Mapping[str, Callable[[], Iterable[Result]]]


def fail(code: int, what: str, remedy: str = "") -> NoReturn:
    """Ends the benchmark with one error in the form that all our commands use."""
    print(f"error: {what}", f"help: {remedy}" if remedy else "", sep="\n", file=sys.stderr)
    raise SystemExit(code)


def parser(name: str, description: str, examples: str) -> argparse.ArgumentParser:
    """The options that every benchmark has. `examples`: what follows the command, one a line."""
    lines = "\n".join(f"  scripts/bench {name} {line}".rstrip() for line in examples.splitlines())
    made = argparse.ArgumentParser(
        prog=f"scripts/bench {name}",
        description=description,
        epilog=f"examples:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--json", action="store_true", help="one JSON object a line, as they come")
    made.add_argument(
        "--only", action="append", metavar="GLOB", help="cases that match; may be repeated"
    )
    made.add_argument("--list", action="store_true", help="name the cases and measure nothing")
    return made


def play(plan: Plan, options: argparse.Namespace) -> int:
    """Measures the chosen cases of the plan and shows their results; returns the exit code.

    Ended by a signal, it shows what it has and ends with the code of that signal.
    """
    globs = options.only or ["*"]
    chosen = [case for case in plan if any(fnmatchcase(case, glob) for glob in globs)]
    if not chosen:
        fail(BAD_USAGE, f"no case matches {' '.join(globs)}", f"cases: {' '.join(plan)}")
    if options.list:
        print(*chosen, sep="\n")
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    results: list[Result] = []
    try:
        for at, case in enumerate(chosen, 1):
            say(f"[{at}/{len(chosen)}] {case}")
            for result in plan[case]():
                results.append(result)
                if options.json:
                    print(result.line(), flush=True)
    except KeyboardInterrupt:
        print("\nerror: interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        say("")
        if results and not options.json:
            show(results)
    return 0


def say(text: str) -> None:
    """Progress: on a terminal the last line of it stays until the next, elsewhere each is kept."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def show(results: Iterable[Result]) -> None:
    """A table for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table("bench", "case", "unit", "value", "against", "ratio")
    for result in results:
        ratio = "" if result.ratio is None else f"{result.ratio:g}"
        value = f"{result.value:g}"
        table.add_row(result.bench, result.case, result.unit, value, result.against or "-", ratio)
    Console().print(table)


def compared(bench: str, case: str, unit: str, ours: float, against: str, theirs: float) -> Result:
    """A case that was measured beside another in the same run."""
    return Result(bench, case, unit, rounded(ours), against, rounded(ours / theirs))


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def alternate(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each measure. They take turns, so that a slow spell of the machine hits all."""
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(taken, measures, strict=True):
            values.append(measure())
    return [median(values) for values in taken]


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
