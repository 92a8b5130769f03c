"""Makes the checks of a suite, one after another, each on a process and a store of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from symphony.bus.errors import BusError

from ..kit import Installed
from .answers import Outcome, Result
from .stage import Stage, Subject
from .suite import Check, NotApplicableError, Suite, UnfulfilledError

CHECK_S = 300.0  # the longest check, on a machine under load
LAST_LINES = 10  # of the extension's log beside what failed


async def results(
    stage: Stage, installed: Installed, suite: Suite, folder: Path
) -> AsyncGenerator[Result, None]:
    """The checks' results, one by one. Raises `SpawnError` where the extension does not start."""
    for number, check in enumerate(suite.checks, 1):
        subject = Subject(stage, installed, suite.capability, folder / f"{number:02}")
        began = time.monotonic()
        try:
            await subject.start()
            outcome, expected, came = await _outcome(check, subject)
        finally:
            await subject.close()
        yield Result(
            capability=suite.capability,
            check=check.name,
            outcome=outcome,
            sentence=check.sentence,
            ms=round((time.monotonic() - began) * 1000),
            expected=expected,
            came=came,
            log=subject.said[-LAST_LINES:] if outcome == "failed" else [],
        )


async def _outcome(check: Check, subject: Subject) -> tuple[Outcome, str | None, str | None]:
    """Outcome, what was expected, what came."""
    try:
        async with asyncio.timeout(CHECK_S):
            await check.run(subject)
    except UnfulfilledError as error:
        return "failed", error.expected, error.came
    except NotApplicableError as error:
        return "skipped", None, str(error)
    except TimeoutError:
        return "failed", f"an end within {CHECK_S:g} s", "none"
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, BusError) as error:
        # A reply that has not the form of the contract breaks the check that reads it.
        return "failed", "replies as the contract has them", f"{type(error).__name__}: {error}"
    return "passed", None, None
