"""Arguments that could not be sent or written down are refused where they are read, by their name.
A path that is empty (of a variable that is not set) as well: it would mean the folder here.

The bus speaks UTF-8 and whole numbers of 64 bits, and so do the stores. A command line may hold
other bytes, and a number of any length; that would only be noticed far from the option it came by.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from typer._click.core import Command, Context, Parameter
from typer._click.types import ParamType
from typer.core import TyperGroup
from typer.models import TyperPath

PATHS: Final = ("FILE", "DIR")  # may have any name; what cannot take it says so
MOST: Final = (1 << 63) - 1


def require_sendable(command: Command) -> None:
    """Has every option and argument of the command, and of those below it, looked at."""
    for parameter in command.params:
        kind = parameter.type
        if isinstance(kind, TyperPath):
            check = _named
        elif parameter.metavar in PATHS:
            continue
        else:
            check = _checked
        if "convert" not in vars(kind):  # some are shared by many parameters
            vars(kind)["convert"] = functools.partial(check, kind, kind.convert)
    for inner in command.commands.values() if isinstance(command, TyperGroup) else ():
        require_sendable(inner)


def _named(
    kind: ParamType,
    convert: Callable[[Any, Parameter | None, Context | None], Any],
    value: Any,
    parameter: Parameter | None,
    context: Context | None,
) -> Any:
    if value == "":
        kind.fail("it is empty", parameter, context)
    return convert(value, parameter, context)


def _checked(
    kind: ParamType,
    convert: Callable[[Any, Parameter | None, Context | None], Any],
    value: Any,
    parameter: Parameter | None,
    context: Context | None,
) -> Any:
    found = convert(value, parameter, context)
    if isinstance(found, str):
        try:
            found.encode()
        except UnicodeEncodeError:
            kind.fail(f"{found!r} is not valid UTF-8", parameter, context)
    if isinstance(found, int) and not -MOST <= found <= MOST:
        kind.fail(f"{found} has more than 64 bits", parameter, context)
    return found
