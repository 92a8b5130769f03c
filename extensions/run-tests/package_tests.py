"""Runs a package's tests in a process of their own and scores them by the JUnit report."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MAX_REPORT = 16 * 1024 * 1024
_EMPTY = (
    '<?xml version="1.0" encoding="utf-8"?>\n<testsuites><testsuite name="pytest" tests="0"'
    ' errors="0" failures="0" skipped="0"/></testsuites>\n'
)


class NoTests(Exception):  # noqa: N818 - says what is wrong, as the reader meets it
    """The folder is no package with tests."""


class UnreadableReport(Exception):  # noqa: N818 - says what is wrong, as the reader meets it
    """The JUnit report is too large or broken."""


class TooSlow(Exception):  # noqa: N818 - says what is wrong, as the reader meets it
    """The tests did not end in time."""


@dataclass(frozen=True)
class Outcome:
    """`passed` of `real` tests; `gaps` are expected failures: features that were not generated.

    `skipped` are criteria without a test."""

    passed: int
    real: int
    gaps: int
    failed: tuple[str, ...]
    skipped: int = 0

    @property
    def score(self) -> float:
        """Share of the real tests that pass, 0 to 1; 0 if there are none."""
        return round(self.passed / self.real, 6) if self.real else 0.0

    @property
    def summary(self) -> str:
        if not self.real:
            return (
                f"no test could be run: none of the {self.gaps} features could be generated;"
                " say in the brief which things there are and what can be done with them"
                if self.gaps
                else "no test could be run: the package has none"
            )
        text = f"{self.passed} of {self.real} tests passed, {self.gaps} features not generated"
        text += f", {self.skipped} criteria without a test" if self.skipped else ""
        return text + ("; failed: " + ", ".join(self.failed[:10]) if self.failed else "")


def run(
    package: Path,
    report: Path,
    scratch: Path,
    timeout_s: float | None,
    progress: Callable[[int], None],
) -> Outcome:
    """Runs pytest in `package` and writes `report`. Nothing is written into the package.

    timeout_s: seconds until the tests and everything that they started are killed (TooSlow).
    """
    if not (package / "tests").is_dir():
        raise NoTests
    sources = package / "src" if (package / "src").is_dir() else package
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin"),
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(sources),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "NO_COLOR": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "--color=no",
        "-p",
        "no:cacheprovider",
        f"--rootdir={package}",
        f"--junit-xml={report}",
        f"--basetemp={scratch / 'pytest'}",
        "-o",
        "junit_family=xunit2",
        str(package / "tests"),
    ]
    with (scratch / "pytest.log").open("w+b") as log:
        process = subprocess.Popen(
            command,
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, scratch / "pytest.log", timeout_s, progress)
        finally:
            _end(process)
    if not report.exists():
        report.write_text(_EMPTY, encoding="utf-8")
    return read(report)


def _wait(
    process: subprocess.Popen[bytes],
    log: Path,
    timeout_s: float | None,
    progress: Callable[[int], None],
) -> None:
    step, left = 0.25, timeout_s
    while True:
        try:
            process.wait(step if left is None else min(step, max(left, 0.01)))
        except subprocess.TimeoutExpired:
            left = None if left is None else left - step
            if left is not None and left <= 0:
                raise TooSlow from None
        else:
            return
        text = log.read_bytes()
        progress(text.count(b" PASSED") + text.count(b" FAILED") + text.count(b" XFAIL"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the tests and whatever they left running in their process group."""
    with contextlib.suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read(report: Path) -> Outcome:
    """What a JUnit report says. A collection error counts as a failed test."""
    if report.stat().st_size > MAX_REPORT:
        raise UnreadableReport
    try:
        # The report comes from a sandboxed process of ours and is bounded above.
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314
    except ElementTree.ParseError:
        raise UnreadableReport from None
    passed = gaps = left = 0
    failed: list[str] = []
    for case in cases:
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(case.get("name", "?"))
        elif skipped is not None:
            expected = skipped.get("type") == "pytest.xfail"
            gaps, left = gaps + expected, left + (not expected)
        else:
            passed += 1
    return Outcome(passed, passed + len(failed), gaps, tuple(failed), left)
