"""`symphony-fqg solve`: best play of the levels of a file."""

import math

import typer

from ..level import Level
from ..prices import price
from ..solving import native
from ..solving.belief import Solver, TooLargeError
from .common import ExitCode, JsonFlag, LevelsOption, print_json, read_levels


def add_command(app: typer.Typer) -> None:
    """Adds it to `symphony-fqg`."""
    app.command("solve")(solve)


def solve(levels: LevelsOption, as_json: JsonFlag = False) -> None:
    """Find a cheapest plan of each level, without failures; and where calls may fail, what best
    play costs on average. Exit code 1 if a level has no plan."""
    results = [_solved(level) for level in read_levels(levels)]
    if as_json:
        print_json(results)
    else:
        for result in results:
            _show(result)
    if any(result["calls"] is None for result in results):
        raise typer.Exit(ExitCode.FAILED)


def _solved(level: Level) -> dict[str, object]:
    outcome = native.solve(level, price(level).calls)
    calls = outcome.calls
    result: dict[str, object] = {
        "id": level.id,
        "calls": None if calls is None else [level.functions[call].name for call in calls],
        "cost": None if math.isinf(outcome.cost) else outcome.cost,
        "certain": outcome.complete,
    }
    if any(function.failure for function in level.functions):
        solver = Solver(level)
        try:
            result["expected_cost"] = solver.value(solver.start())
        except TooLargeError:
            result["expected_cost"] = None
    return result


def _show(result: dict[str, object]) -> None:
    calls = result["calls"]
    if not isinstance(calls, list):
        print(f"{result['id']}: no plan" + ("" if result["certain"] else " was found"))
        return
    print(f"{result['id']}: {len(calls)} calls, cost {result['cost']:g}")
    for call in calls:
        print(f"  {call}()")
    if result.get("expected_cost") is not None:
        print(f"  with failures {result['expected_cost']:.4g} on average")
