"""Reads a file of workflows or tool graphs: JSON, plain or gzipped, in one of the known forms."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any, Final, NoReturn

from . import workforms
from .errors import Problem, Problems
from .workgraphs import Faults, WorkGraph

MAX_BYTES: Final = 64 << 20  # of the text, unpacked


def load_work_graphs(path: Path, scale: float = 1.0) -> list[WorkGraph]:
    """The graphs of a file, durations multiplied by `scale`. Raises `Problems` with every fault."""
    data = _parsed(path, _text(path))
    faults = Faults(path)
    found: list[WorkGraph] = []
    match data:
        case {"tasks": _}:
            found = [workforms.workflow(data, path, scale, faults)]
        case {"workflow": dict()}:
            found = [workforms.wfformat(data, path, scale, faults)]
        case {"nodes": _}:
            found = [workforms.tools(data, path, faults)]
        case [{"steps": _}, *_]:
            found = [workforms.calls(entry, at, faults) for at, entry in enumerate(data)]
        case _:
            remedy = (
                'known forms: {"tasks"}, WfCommons\'s {"workflow"}, [{"id", "steps"}], {"nodes"}'
            )
            faults.add("1", "neither a workflow nor calls nor a graph of tools", remedy)
    faults.raise_if_any()
    return found


def _text(path: Path) -> bytes:
    remedy = "check its path and permissions"
    try:
        if not path.is_file():
            reason = "not a regular file" if path.exists() else "there is no such file"
            _refuse(reason, str(path), "name a JSON file, plain or gzipped")
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        _refuse(f"not whole as a gzip file: {error}", str(path), "get it again")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        _refuse(f"cannot read the file: {reason}", str(path), remedy)
    if len(text) > MAX_BYTES:
        _refuse(f"the file is larger than {MAX_BYTES >> 20} MiB", str(path), "split it")
    return text


def _parsed(path: Path, text: bytes) -> Any:
    try:
        return json.loads(text.decode())
    except UnicodeDecodeError:
        _refuse("the file is not UTF-8 text", str(path), "save it as UTF-8")
    except json.JSONDecodeError as error:
        what = f"not valid JSON: {error.msg}, column {error.colno}"
        _refuse(what, f"{path}:{error.lineno}", "see https://json.org")
    except RecursionError:
        _refuse("the file is nested too deeply", str(path), "it needs no more than five levels")
    except ValueError as error:  # an integer of thousands of digits
        _refuse(f"a value cannot be read: {error}", str(path), "use a smaller number")


def _refuse(message: str, where: str, remedy: str) -> NoReturn:
    raise Problems([Problem(message, where, remedy)])
