"""The JUnit XML report of a run: one test case per step, for CI systems.

Form: the schema that Jenkins and the common CI services read (testsuite, testcase, failure, error,
skipped). Built from the run's events alone.
"""

from __future__ import annotations

import errno
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .errors import ExitCode, SymphonyError
from .events import RunEvent, RunFinished, StepFailed, StepFinished, StepSkipped, StepStarted
from .pipes import open_for_output, write_all


@dataclass(frozen=True)
class Unfinished:
    """A run that was left before its end: why, and which steps it has."""

    reason: str
    steps: Iterable[str]


def report(melody: str, events: Iterable[RunEvent], left: Unfinished | None = None) -> bytes:
    """The report as UTF-8 XML; ``events`` in the order of their ``seq``.

    Of a run that was left, a step under way is an error and one that had not begun is skipped.
    """
    cases: dict[str, ET.Element] = {}
    started: dict[str, str] = {}
    playing: set[str] = set()
    seconds: dict[str, float] = {}
    finished: RunFinished | None = None
    for event in events:
        match event:
            case StepStarted():
                started[event.step] = event.ts
                playing.add(event.step)
                _case(cases, melody, event.step)
            case StepFinished():
                playing.discard(event.step)
                case = _case(cases, melody, event.step)
                _clear(case)
                seconds[event.step] = _between(started.get(event.step, event.ts), event.ts)
            case StepFailed():
                playing.discard(event.step)
                case = _case(cases, melody, event.step)
                _clear(case)
                failure = ET.SubElement(
                    case, "failure", message=_plain(event.error.message), type=event.error.class_
                )
                failure.text = _plain(
                    f"attempt {event.attempt}: {event.error.message} "
                    f"(fault: {event.error.fault}; process: {event.exit or 'not ended'})"
                )
                seconds[event.step] = _between(started.get(event.step, event.ts), event.ts)
            case StepSkipped():
                case = _case(cases, melody, event.step)
                _clear(case)
                ET.SubElement(case, "skipped", message=_plain(event.reason))
            case RunFinished():
                finished = event
    if left is not None:
        for step in playing:
            _clear(cases[step])
            ET.SubElement(cases[step], "error", message=_plain(left.reason), type="unfinished")
        for step in left.steps:
            if step not in cases:
                ET.SubElement(_case(cases, melody, step), "skipped", message=_plain(left.reason))
    for step, case in cases.items():
        case.set("time", f"{seconds.get(step, 0.0):.3f}")
    count = {
        "tests": len(cases),
        "failures": _with(cases, "failure"),
        "errors": _with(cases, "error"),
        "skipped": _with(cases, "skipped"),
    }
    suite = ET.Element("testsuite", name=melody)
    for key, number in count.items():
        suite.set(key, str(number))
    if finished is not None:
        suite.set("time", f"{float(finished.metrics.get('duration_s', 0.0)):.3f}")
        suite.set("timestamp", finished.ts)
    suite.extend(cases.values())
    if left is not None:  # also where all steps have ended and their results could not be delivered
        ET.SubElement(suite, "system-err").text = _plain(left.reason)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


async def write(path: Path, content: bytes) -> None:
    """Writes the report as a whole or not at all; a link is followed, a device or pipe written."""
    try:
        if _is_special(path):
            with await open_for_output(path, "wb") as file:
                write_all(file, content)
        else:
            _replace(path, content)
    except OSError as error:
        raise _unwritable(path, error) from error


def require_writable(path: Path) -> None:
    """Raises `SymphonyError` if no report can be written there; leaves nothing behind."""
    try:
        if not _is_special(path):
            temporary = _temporary(path.resolve())
            temporary.touch()
            temporary.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _replace(path: Path, content: bytes) -> None:
    target = path.resolve()
    temporary = _temporary(target)
    temporary.write_bytes(content)
    temporary.replace(target)


def _temporary(path: Path) -> Path:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return path.with_name(f".{path.name}.{os.getpid()}")


def _unwritable(path: Path, error: OSError) -> SymphonyError:
    return SymphonyError(
        ExitCode.IO,
        f"the report cannot be written: {error.strerror}",
        where=str(path),
        help="choose another file with --junit",
    )


def _case(cases: dict[str, ET.Element], melody: str, step: str) -> ET.Element:
    if step not in cases:
        cases[step] = ET.Element("testcase", name=step, classname=melody)
    return cases[step]


def _with(cases: dict[str, ET.Element], kind: str) -> int:
    return sum(case.find(kind) is not None for case in cases.values())


def _clear(case: ET.Element) -> None:
    for child in list(case):
        case.remove(child)


def _plain(text: str) -> str:
    """Without the control characters that XML 1.0 cannot hold."""
    return "".join(c for c in text if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff"))


def _between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
