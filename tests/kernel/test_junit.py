"""The JUnit report."""

import xml.etree.ElementTree as ET

from symphony.kernel import junit
from symphony.kernel.events import (
    ErrorInfo,
    RunEvent,
    RunFinished,
    StepFailed,
    StepFinished,
    StepSkipped,
    StepStarted,
)

COMMON = {"run": "r"}


def started(seq: int, step: str, attempt: int, second: int) -> StepStarted:
    ts = f"2026-01-31T12:00:{second:02}.000Z"
    return StepStarted(
        seq=seq, ts=ts, run="r", step=step, attempt=attempt, player="p", instance="i"
    )


def failed(seq: int, step: str, second: int, message: str = "boom") -> StepFailed:
    error = ErrorInfo(class_="failed", message=message, fault="provider")
    ts = f"2026-01-31T12:00:{second:02}.000Z"
    return StepFailed(seq=seq, ts=ts, run="r", step=step, attempt=1, error=error)


def test_a_case_a_step_with_its_last_outcome() -> None:
    ts = "2026-01-31T12:00:09.000Z"
    events: list[RunEvent] = [
        started(1, "a", 1, 0),
        failed(2, "a", 1),
        started(3, "a", 2, 2),
        StepFinished(
            seq=4, ts="2026-01-31T12:00:05.500Z", run="r", step="a", attempt=2, outputs={}
        ),
        started(5, "b", 1, 5),
        failed(6, "b", 6, "bad \x00 byte"),
        StepSkipped(seq=7, ts=ts, run="r", step="c", reason="b failed"),
        RunFinished(
            seq=8, ts=ts, run="r", outcome="failed", artifacts={}, metrics={"duration_s": 9}
        ),
    ]
    suite = ET.fromstring(junit.report("melody", events)).find("testsuite")  # noqa: S314 - ours
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    a, b, c = suite.findall("testcase")
    assert (a.get("name"), a.get("time"), len(a)) == ("a", "3.500", 0)
    failure = b.find("failure")
    assert failure is not None
    assert failure.get("message") == "bad  byte"
    assert c.find("skipped") is not None


def test_a_run_that_was_left_says_why_of_every_step_that_has_no_outcome() -> None:
    events: list[RunEvent] = [
        started(1, "a", 1, 0),
        StepFinished(
            seq=2, ts="2026-01-31T12:00:01.000Z", run="r", step="a", attempt=1, outputs={}
        ),
        started(3, "b", 1, 1),
        failed(4, "b", 2),
        started(5, "b", 2, 3),
    ]
    left = junit.Unfinished("disk \x00 full", ["a", "b", "c"])
    suite = ET.fromstring(junit.report("melody", events, left)).find("testsuite")  # noqa: S314 - ours
    assert suite is not None
    assert [suite.get(key) for key in ("tests", "errors", "failures", "skipped")] == [*"3101"]
    found = {case.get("name"): [(c.tag, c.get("message")) for c in case] for case in suite}
    assert found["a"] == []
    assert found["b"] == [("error", "disk  full")]
    assert found["c"] == [("skipped", "disk  full")]
    assert suite.findtext("system-err") == "disk  full"
