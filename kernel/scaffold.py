"""The folder of a new extension: a manifest, a few lines of code and a test, all of which work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from string import Template

import msgspec

from .errors import ExitCode, Problem, Problems, SymphonyError
from .structure import shown
from .syntax import CAPABILITY, EXTENSION_NAME, Capability, ExtensionName

_FILES = {
    "extension.toml": """\
[extension]
name = "$name"
version = "0.1.0"
description = "Say here in one sentence what it does."
entry = { python = "main.py" }

[[provides]]
capability = "$capability"
idempotent = true # a repeated call has no further effect; take this out if yours has

[provides.inputs]
text = { type = "text", description = "what to repeat" }

[provides.outputs]
answer = { type = "text" }

[probe]
capability = "$capability"
inputs = { text = "hello" }
""",
    "main.py": '''\
"""$name: a player of Symphony Conductor."""

from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("$capability")
def answer(ctx: Context, text: str) -> str:
    """Replace this by what your extension does."""
    ctx.progress(1, 1, "done")
    return text.upper()


if __name__ == "__main__":
    ext.run()
''',
    "tests/test_main.py": '''\
"""Tests that need no kernel: the same bus, in memory."""

import importlib.util
from pathlib import Path

from symphony.bus.testing import FakeConductor

spec = importlib.util.spec_from_file_location("main", Path(__file__).parents[1] / "main.py")
main = importlib.util.module_from_spec(spec)
spec.loader.exec_module(main)


def test_answers() -> None:
    with FakeConductor(main.ext) as bus:
        assert bus.call("$capability", text="hello") == "HELLO"
''',
}


def create(name: str, capability: str, parent: Path) -> Path:
    """Makes ``parent/name`` and returns it. Raises if it exists or the names are not valid."""
    if problems := list(_bad_names(name, capability)):
        raise Problems(problems)
    folder = parent / name
    if folder.exists():
        remedy = "choose another name, or another folder with --in"
        raise Problems([Problem("there is something at this path already", str(folder), remedy)])
    try:
        for path, text in _FILES.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(Template(text).substitute(name=name, capability=capability))
    except OSError as error:
        raise SymphonyError(
            ExitCode.IO,
            f"cannot be written: {error.strerror}",
            where=str(folder),
            help="choose another folder with --in",
        ) from error
    return folder


def _bad_names(name: str, capability: str) -> Iterator[Problem]:
    if not _is(name, ExtensionName):
        slug = re.sub("[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:48]
        example = f", e.g. {slug}" if slug else ""
        message = f"{shown(name)} cannot name an extension"
        yield Problem(message, "NAME", f"use {EXTENSION_NAME}{example}")
        if name in capability:  # made from the name: it would only say the same again
            return
    if not _is(capability, Capability):
        yield Problem(f"{shown(capability)} is no capability", "--capability", f"give {CAPABILITY}")


def _is(text: str, form: object) -> bool:
    try:
        msgspec.convert(text, type=form)
    except msgspec.ValidationError:
        return False
    return True
