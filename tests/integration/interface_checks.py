"""What every answer of the commands must keep, as the machine interface promises it."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema

REPOSITORY = Path(__file__).parents[2]
INTERFACE_FAULTS = {"caller", "provider", "kernel", "environment"}
_ERROR = re.compile(r"error: (?P<what>.+) \((?P<where>[^()]*(?:\([^()]*\)[^()]*)*)\)")


def check_errors(done: subprocess.CompletedProcess[str], code: int, *words: str) -> str:
    """The command failed with this exit code; all of its errors have a place and a remedy, and
    `words` are said. Returns what it said."""
    said = done.stderr
    assert done.returncode == code, said + done.stdout
    assert "Traceback" not in said + done.stdout
    assert "Exception ignored" not in said
    lines = said.splitlines()
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    assert errors, said
    for index in errors:
        assert _ERROR.fullmatch(lines[index]), lines[index]
        assert lines[index + 1].startswith("help: "), lines[index]
    for word in words:
        assert word in said
    return said


def check_error_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Stdout holds one JSON value, the error; it says what stderr says. Returns the error."""
    answer = json.loads(done.stdout)
    assert answer.keys() == {"error"}
    error: dict[str, Any] = answer["error"]
    assert error.keys() >= {"code", "message", "where", "help", "fault"}
    assert error["fault"] in INTERFACE_FAULTS
    for key in ("code", "message", "where", "help"):
        assert isinstance(error[key], str), key
        assert error[key]
    assert f"({error['where']})" in done.stderr
    assert f"help: {error['help']}" in done.stderr
    return error


@functools.cache
def schema(name: str) -> dict[str, Any]:
    """What `symphony-kernel schema NAME` prints."""
    command = [sys.executable, "-m", "symphony.kernel.cli.kernel", "schema", name]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(printed.stdout)
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def check_answer(name: str, done: subprocess.CompletedProcess[str]) -> Any:
    """The command succeeded; stdout holds one value of that schema, in snake_case. Returns it."""
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    jsonschema.validate(value, schema(name))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", key) for key in value)
    return value
