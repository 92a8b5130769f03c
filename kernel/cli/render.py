"""Tables and live progress for people. Everything here is also in the JSON answers.

What is shown may come from players: all of it passes `one_line` on its way to the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..answers import Artifact, Degraded, Run, RunSummary, Status
from ..errors import Problem
from ..events import (
    BudgetWarning,
    Decision,
    RunEvent,
    StepFailed,
    StepFinished,
    StepProgress,
    StepSkipped,
    StepStarted,
)
from ..pit.config import shown_amount
from ..plaintext import one_line, short
from ..units import size, some

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

    from ..plays import Finished

PLAIN_WIDTH = 240  # of a file or pipe, where nothing should be folded
MOST_ROWS = 40  # in the summary of a run; a larger one shows what did not succeed
COLOURS = {"succeeded": "green", "failed": "red", "skipped": "yellow", "running": "cyan"}


def say(text: str) -> None:
    """One line on stdout."""
    print(one_line(text), flush=True)


def tell(text: str) -> None:
    """One line on stderr."""
    print(one_line(short(text)), file=sys.stderr, flush=True)


def console(*, stderr: bool = False) -> Console:
    """A terminal, or plain text where there is none."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False)
    if not found.is_terminal:
        found.width = PLAIN_WIDTH
    return found


def table(headings: Iterable[str], rows: Iterable[Iterable[str]], title: str | None = None) -> None:
    """A table on stdout."""
    from rich import box
    from rich.table import Table

    sheet = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for heading in headings:
        sheet.add_column(heading, overflow="fold")
    for row in rows:
        sheet.add_row(*map(_cell, row))
    console().print(sheet)


def _cell(text: str, colour: str = "") -> Text:
    from rich.text import Text

    return Text(one_line(short(text)), colour or COLOURS.get(text, ""))


class Progress:
    """Follows a run's events on stderr: a live table in a terminal, otherwise a line an event."""

    def __init__(self, *, live: bool) -> None:
        self._rows: dict[str, list[str]] = {}
        self._live: Live | None = None
        if live and sys.stderr.isatty():
            from rich.live import Live

            shown = console(stderr=True)
            self._live = Live(console=shown, refresh_per_second=8, transient=True)
            self._live.start()

    def __call__(self, event: RunEvent) -> None:
        """Shows one event."""
        match event:
            case StepStarted():
                note = f"{event.player}, attempt {event.attempt}, sandbox {event.sandbox}"
                self._show(event.step, "running", note)
            case StepProgress() if self._live is not None:
                share = f"{event.done:g}/{event.total:g}" if event.total else f"{event.done:g}"
                self._show(event.step, "running", f"{share} {event.message}".strip())
            case StepFinished():
                quality = "" if event.quality is None else f"quality {event.quality:g}"
                self._show(event.step, "succeeded", quality)
            case StepFailed():
                note = f"{event.error.class_}: {event.error.message}"
                self._show(event.step, "failed", note)
            case StepSkipped():
                self._show(event.step, "skipped", event.reason)
            case Decision(action="retry" | "fallback" | "skip" | "fail"):
                self._show(event.step or "", event.action, event.reason)

    def note(self, text: str) -> None:
        """One line beside the view."""
        if self._live is not None:
            self._live.console.print(_cell(text))
        else:
            tell(text)

    def close(self) -> None:
        """Ends the live view."""
        if self._live is not None:
            self._live.stop()

    def _show(self, step: str, state: str, note: str) -> None:
        self._rows[step] = [step, state, note]
        if self._live is not None:
            self._live.update(self._sheet())
        else:
            tell(f"{step}: {state}{f' ({note})' if note else ''}")

    def _sheet(self) -> RenderableType:
        from rich import box
        from rich.table import Table

        sheet = Table(box=box.SIMPLE)
        for heading in ("step", "state", "note"):
            sheet.add_column(heading, overflow="ellipsis", no_wrap=True)
        for step, state, note in list(self._rows.values())[-30:]:
            sheet.add_row(_cell(step), _cell(state), _cell(note))
        return sheet


def finished(result: Finished, events: Iterable[RunEvent]) -> None:
    """The summary of a run: its steps, then its artifacts with their paths."""
    rows: dict[str, list[str]] = {}
    for event in events:
        match event:
            case StepStarted():
                rows[event.step] = [event.step, "started", event.player, str(event.attempt), ""]
            case StepFinished():
                quality = "" if event.quality is None else f"{event.quality:g}"
                row = rows.setdefault(event.step, [event.step, "", "", "", ""])
                row[1], row[4] = "succeeded", quality
            case StepFailed():
                rows.setdefault(event.step, [event.step, "", "", "", ""])[1] = "failed"
            case StepSkipped():
                rows.setdefault(event.step, [event.step, "", "", "", ""])[1] = "skipped"
    shown = list(rows.values())
    if len(shown) > MOST_ROWS:
        shown = [row for row in shown if row[1] != "succeeded"][:MOST_ROWS]
    table(("step", "state", "player", "attempts", "quality"), shown)
    if len(shown) < len(rows):
        say(f"{len(rows) - len(shown)} further steps, see `runs show {result.run}`")
    width = max((len(name) for name in result.artifacts), default=0)
    for name, found in result.artifacts.items():  # whole lines: paths are there to be copied
        say(f"  {name:{width}}  {found.path or f'in the store, {found.reference}'}")
    seconds = result.metrics.get("duration_s", 0)
    outcome = _cell(result.outcome)
    console().print(_cell(f"run {result.run} "), outcome, _cell(f" in {seconds:g} s"), sep="")


def degraded(lost: Iterable[Degraded]) -> None:
    """Says on stderr which members of the Pit will not come, what that means, and why it is so."""
    for row in lost:
        tell(str(row))


def gone(faults: Iterable[Problem]) -> None:
    """Says on stderr what the home's stores have lost, and what to do about it."""
    for fault in faults:
        tell(f"warning: {fault.message} ({fault.where})")
        tell(f"help: {fault.help}")


def warned(event: BudgetWarning) -> None:
    """Says on stderr that most of a budget is spent."""
    spent, limit = (shown_amount(event.resource, n) for n in (event.spent, event.limit))
    whose = f" of {event.who}" if event.who else ""
    end = "; nothing more is granted" if event.state == "spent" else ""
    what = f"{spent} of {limit} {event.resource} spent{end}"
    tell(f"warning: the budget {event.budget}{whose}: {what}")


def status(found: Status) -> None:
    """The answer of `status`."""
    say(f"kernel {found.version}, pid {found.pid}, {found.state}, up {found.uptime_s:.0f} s")
    told = f"bus: {found.datapath} datapath"
    told += f", started anew {some(found.restarts, 'time')}" if found.restarts else ""
    told += f", listening at {found.listen}" if found.listen else ""
    told += f", {found.refusals} refusals (see `symphony-kernel bus`)" if found.refusals else ""
    say(told)
    if found.member_ends:
        ends = (f"{name} ({some(count, 'time')})" for name, count in found.member_ends.items())
        say(f"ended and started again: {', '.join(ends)}")
    for item in found.degraded:
        say(str(item))
    table(
        ("instance", "extension", "state", "sandbox", "pid", "provides"),
        (
            (
                entry.instance or "",
                f"{entry.name} {entry.version}",
                entry.state,
                entry.sandbox,
                str(entry.pid or ""),
                " ".join(entry.provides),
            )
            for entry in found.extensions
        ),
    )
    if found.runs:
        runs(found.runs)


def runs(found: Iterable[RunSummary]) -> None:
    """The answer of `runs list`."""
    table(
        ("run", "melody", "state", "steps", "opened"),
        (
            (
                run.run,
                f"{run.melody} {run.version}",
                run.state,
                f"{run.ended}/{run.steps}",
                run.opened,
            )
            for run in found
        ),
    )


def run(found: Run) -> None:
    """The answer of `runs show`."""
    say(
        f"{found.run}: {found.melody} {found.version}, {found.state}, opened {found.opened}, "
        f"trace {found.trace}"
    )
    table(
        ("step", "state", "player", "attempts", "quality", "outputs or reason"),
        (
            (
                step.id,
                step.state,
                step.player or "",
                str(step.attempt or ""),
                "" if step.quality is None else f"{step.quality:g}",
                step.reason or " ".join(f"{k}={v}" for k, v in step.outputs.items()),
            )
            for step in found.step_list
        ),
    )


def artifacts(found: Iterable[Artifact]) -> None:
    """The answer of `artifacts list`."""
    table(
        ("reference", "name", "kind", "size", "run", "step"),
        (
            (
                item.ref,
                item.name or "",
                item.kind,
                size(item.bytes),
                (item.made.run if item.made else None) or "",
                (item.made.step if item.made else None) or "",
            )
            for item in found
        ),
    )
