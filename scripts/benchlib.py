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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median
from typing import NoReturn, TypeVar

T = TypeVar("T")

PROJECT = Path(__file__).resolve().parent.parent
KERNEL = [sys.executable, "-m", "symphony.kernel.cli.kernel"]
FAILED, BAD_USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143


class BenchError(Exception):
    """A case that cannot be measured: what happened, and what to do about it."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy

    def show(self) -> None:
        """In the form that all our commands use."""
        say_error(str(self), self.remedy)


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

    def cells(self) -> list[str]:
        """The result as a row of a table."""
        ratio = "" if self.ratio is None else f"{self.ratio:g}"
        return [self.case, self.unit, f"{self.value:,g}", self.against or "", ratio]


COLUMNS = ("case", "unit", "value", "against", "ratio")
LINE_START = '{"bench": '
Plan = Mapping[str, Callable[[], Iterable[Result]]]


def say_error(what: str, remedy: str = "") -> None:
    print(f"error: {what}", *([f"help: {remedy}"] if remedy else []), sep="\n", file=sys.stderr)


def fail(code: int, what: str, remedy: str = "") -> NoReturn:
    """Ends the benchmark with one error."""
    say_error(what, remedy)
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
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line, as they come")
    form.add_argument("--markdown", action="store_true", help="the table as Markdown")
    made.add_argument(
        "--only", action="append", metavar="GLOB", help="cases that match; may be repeated"
    )
    made.add_argument("--list", action="store_true", help="name the cases and measure nothing")
    made.add_argument(
        "--keep", type=Path, metavar="FILE", help="add results to FILE; skip cases that it has"
    )
    return made


def play(plan: Plan, options: argparse.Namespace) -> int:
    """Measures the chosen cases of the plan and shows their results; returns the exit code.

    A case that fails is told and the others go on. Ended by a signal, it shows what it has and
    ends with the code of that signal.
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
    kept = read_kept(options.keep)
    results: list[Result] = []
    code = 0
    try:
        for at, case in enumerate(chosen, 1):
            say(f"[{at}/{len(chosen)}] {case}")
            # A case may tell more than one thing; each is named CASE or CASE/DETAIL.
            told = [was for was in kept if was.case == case or was.case.startswith(f"{case}/")]
            if not told:
                try:
                    told = list(plan[case]())
                except BenchError as error:
                    error.show()
                    code = FAILED
                    continue
                keep(options.keep, told)
            results += told
            if options.json:
                print(*(result.line() for result in told), sep="\n", flush=True)
    except KeyboardInterrupt:
        print("\nerror: interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        say("")
        if results and not options.json:
            show(results, markdown=options.markdown)
    return code


def read_kept(path: Path | None) -> list[Result]:
    """What an earlier run wrote. A last line that was cut short is taken off the file."""
    if path is None or not path.exists():
        return []
    try:
        whole, newline, rest = path.read_text(encoding="utf-8").rpartition("\n")
        results = [Result(**json.loads(line)) for line in whole.splitlines()]
        if rest.startswith(LINE_START[: len(rest)]):
            if rest:
                path.write_text(whole + newline, encoding="utf-8")
            return results
        problem = rest
    except (OSError, ValueError, TypeError) as error:
        problem = str(error)
    fail(BAD_USAGE, f"not a file of results: {path} ({problem})", "name another with --keep")


def keep(path: Path | None, results: Iterable[Result]) -> None:
    """Adds the results of one case, in one write."""
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{result.line()}\n" for result in results))


def say(text: str) -> None:
    """Progress: on a terminal the last line of it stays until the next, elsewhere each is kept."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


def show(results: Iterable[Result], *, markdown: bool) -> None:
    """A table for people."""
    if markdown:
        rows = [COLUMNS, ("---", "---", "---:", "---", "---:"), *(one.cells() for one in results)]
        print(*(f"| {' | '.join(row)} |" for row in rows), sep="\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS)
    for result in results:
        table.add_row(*result.cells())
    Console().print(table)


def compared(bench: str, case: str, unit: str, ours: float, against: str, theirs: float) -> Result:
    """A case that was measured beside another in the same run."""
    return Result(bench, case, unit, rounded(ours), against, rounded(ours / theirs))


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def take_turns(rounds: int, measures: Sequence[Callable[[], T]]) -> list[list[T]]:
    """What each measure gave. They take turns, so that a slow spell of the machine hits all."""
    taken: list[list[T]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(taken, measures, strict=True):
            values.append(measure())
    return taken


def alternate(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each measure, taken in turns."""
    return [median(values) for values in take_turns(rounds, measures)]


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
