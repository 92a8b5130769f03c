"""The closing line of scripts/test counts pytest's and cargo's tests and every other check."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "count_results.py"
REPORT = '<testsuites><testsuite tests="5" failures="1" errors="1" skipped="1"/></testsuites>'
CARGO = """
test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
"""


def closing_line(logs: Path, *rows: tuple[str, str]) -> str:
    lines = [f"{name:<22} {result:<7} {1:>5} s" for name, result in rows]
    command = [sys.executable, SCRIPT, logs, *lines]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_all_kinds_are_added_up(tmp_path: Path) -> None:
    (tmp_path / "pytest.xml").write_text(REPORT)
    (tmp_path / "cargo-test.log").write_text(CARGO)
    rows = ("ruff check", "ok"), ("mypy", "FAILED"), ("cargo test", "FAILED"), ("pytest", "FAILED")
    assert closing_line(tmp_path, *rows) == "9 passed, 4 failed, 2 skipped"


def test_a_suite_that_could_not_run_has_failed(tmp_path: Path) -> None:
    (tmp_path / "cargo-test.log").write_text("error: could not compile")
    rows = ("cargo test", "FAILED"), ("pytest", "FAILED")
    assert closing_line(tmp_path, *rows) == "0 passed, 2 failed, 0 skipped"


def test_a_suite_that_fails_without_a_failed_test_counts(tmp_path: Path) -> None:
    (tmp_path / "pytest.xml").write_text(REPORT.replace('"1"', '"0"'))
    assert closing_line(tmp_path, ("pytest", "FAILED")) == "5 passed, 1 failed, 0 skipped"
