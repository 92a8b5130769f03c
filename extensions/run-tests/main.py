"""run-tests: runs a package's tests and scores them. Only this file knows the bus."""

from __future__ import annotations

import tempfile
from pathlib import Path

import package_tests

from symphony.bus.errors import BusError
from symphony.bus.extension import Context, Extension

ext = Extension()


@ext.provides("tests.run/1")
def run_tests(ctx: Context, source_files: Path) -> dict[str, object]:
    """The JUnit report, the share of real tests that pass, and both in one sentence."""
    report = ctx.outbox / "test_report.xml"
    left = ctx.remaining()
    with tempfile.TemporaryDirectory() as scratch:

        def progress(done: int) -> None:
            ctx.check()
            ctx.progress(done, None, "tests")

        try:
            timeout_s = None if left is None else max(left - 1.0, 0.1)
            outcome = package_tests.run(source_files, report, Path(scratch), timeout_s, progress)
        except package_tests.NoTests:
            raise BusError(
                "bad-request",
                "the folder has no tests",
                where="source_files",
                help="give a package with a folder 'tests'",
            ) from None
        except package_tests.UnreadableReport:
            raise BusError(
                "bad-request",
                "the tests left no readable report",
                where="source_files",
                help="see that the tests do not end the process or write the report themselves",
            ) from None
        except package_tests.TooSlow:
            raise BusError(
                "deadline",
                "the tests did not end in time",
                where="source_files",
                help="give the step a longer timeout_s",
            ) from None
    if outcome.real == 0 and outcome.gaps:
        # A score of a package of stubs would say nothing; what is missing is in the brief.
        raise BusError(
            "bad-request",
            f"none of the {outcome.gaps} features could be generated, so there is nothing to test",
            where="source_files",
            help="say in the brief which things there are and what a user can do with them",
        )
    return {"test_report": report, "score": outcome.score, "summary": outcome.summary}


if __name__ == "__main__":
    ext.run()
