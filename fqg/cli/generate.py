"""`symphony-fqg generate`: new levels from seeds."""

import sys
from collections.abc import Iterator
from itertools import count as numbers
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from ..level import Level
from ..making import failures
from ..making.dials import LARGE, LEARNING
from ..making.maker import KINDS, Maker
from ..writing import save_levels
from .common import CommandError, ExitCode, JsonFlag, print_json

ANY, FAILING = "any", "failures"


def add_command(app: typer.Typer) -> None:
    """Adds it to `symphony-fqg`."""
    app.command("generate")(generate)


def generate(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="JSON, packed if it ends in .gz.")
    ],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="Levels.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="The first that is tried.")] = 0,
    kind: Annotated[
        str, typer.Option(help=f"{ANY}, {', '.join(KINDS)}, or {FAILING} (hidden failures).")
    ] = ANY,
    large: Annotated[bool, typer.Option("--large", help="Twice the size.")] = False,
    rate: Annotated[
        str, typer.Option(help=f"Of failures: {', '.join(failures.RATES)}.")
    ] = "middle",
    as_json: JsonFlag = False,
) -> None:
    """Make levels that can be won, none twice; the same seed makes the same levels."""
    discards: dict[str, int] = {}
    if kind == FAILING:
        levels = list(islice(_failing(seed, rate, large), count))
    else:
        maker = Maker(LARGE if large else LEARNING, kinds=_kinds(kind))
        levels = [made.level for made in islice(maker.levels(numbers(seed)), count)]
        discards = dict(maker.discards)
    save_levels(out, levels)
    if as_json:
        print_json({"file": str(out), "levels": len(levels), "discards": discards})
        return
    print(f"{len(levels)} levels in {out}")
    for reason, times in discards.items():
        print(f"  {times} not kept: {reason}", file=sys.stderr)


def _failing(seed: int, rate: str, large: bool) -> Iterator[Level]:
    if rate not in failures.RATES:
        raise _unknown(rate, "--rate", ", ".join(failures.RATES))
    works = (5, 8) if large else failures.USUAL.works
    dials = failures.Dials(works=works, rate=failures.RATES[rate])
    return (failures.make(number, dials) for number in numbers(seed))


def _kinds(kind: str) -> dict[str, float]:
    shares = {name: share for name, (_, share) in KINDS.items()}
    if kind == ANY:
        return shares
    if kind not in shares:
        raise _unknown(kind, "--kind", ", ".join([ANY, *KINDS, FAILING]))
    return {kind: 1.0}


def _unknown(value: str, option: str, known: str) -> CommandError:
    return CommandError(
        ExitCode.BAD_REQUEST, [(f"{value!r} is not known", option)], f"one of {known}"
    )
