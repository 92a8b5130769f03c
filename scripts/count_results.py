"""Prints the one closing line of scripts/test: how much passed, failed and was skipped.

Counted are pytest's and cargo's tests, and every other check as one.
Arguments: the folder of logs, then the summary's rows (`NAME RESULT SECONDS s`).
"""

import re
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

TESTS = {"pytest", "cargo test"}


def pytest_results(report: Path) -> Counter[str]:
    """Counts of a JUnit XML report; of none, if pytest could not even write it."""
    if not report.exists():
        return Counter(failed=1)
    suites = ElementTree.parse(report).iter("testsuite")  # noqa: S314  pytest's own file
    totals: Counter[str] = Counter()
    for suite in suites:
        count = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        bad = count["failures"] + count["errors"]
        totals.update(
            failed=bad, skipped=count["skipped"], passed=count["tests"] - bad - count["skipped"]
        )
    return totals


def cargo_results(log: Path) -> Counter[str]:
    """Counts of all `test result:` lines; one failure if nothing was even built."""
    if not log.exists():
        return Counter()
    line = re.compile(r"^test result: .*? (\d+) passed; (\d+) failed; (\d+) ignored", re.M)
    totals: Counter[str] = Counter()
    for passed, failed, ignored in line.findall(log.read_text(encoding="utf-8", errors="replace")):
        totals.update(passed=int(passed), failed=int(failed), skipped=int(ignored))
    return totals or Counter(failed=1)


def main(logs: Path, rows: list[str]) -> None:
    totals = pytest_results(logs / "pytest.xml") + cargo_results(logs / "cargo-test.log")
    failed_suites = 0
    for row in rows:
        name, result = row[:22].strip(), row[22:].split()[0]
        if name not in TESTS:
            totals["passed" if result == "ok" else "failed"] += 1
        elif result != "ok":
            failed_suites += 1
    failed = max(totals["failed"], failed_suites)
    print(f"{totals['passed']} passed, {failed} failed, {totals['skipped']} skipped")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
