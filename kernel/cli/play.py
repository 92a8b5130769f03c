"""`symphony-kernel run`: one kernel, one run, its events, its report."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from .. import junit, presence
from ..answers import Degraded
from ..apart import require_outside
from ..console import Console
from ..errors import ExitCode, Problem, SymphonyError
from ..events import BudgetWarning, RunEvent, RunOpened, RunResumed
from ..intake import require_plain
from ..kernel import Kernel, Settings
from ..melody import load_melody
from ..places import Places
from ..plays import (
    SETTLE_S,
    Finished,
    Play,
    PlayOptions,
    new_run_id,
    require_out,
    require_tenant,
    require_writable,
)
from ..projection import failing_instance
from ..sinks import STDOUT, JsonLines, last_seq
from ..valuetypes import parse_inputs
from . import render, signals, streams
from .common import as_symphony_error

STORY_S = 5.0  # for asking a tracker that may be what failed


@dataclass(frozen=True)
class RunRequest:
    """The command line of `run`, read."""

    melody: Path | None
    resume: str | None
    inputs: list[str]
    options: PlayOptions
    events: str | None
    junit: Path | None
    headless: bool
    home: tuple[str, ...]  # the options that a later command on this run needs too
    extensions: tuple[str, ...]

    def show(self, run: str) -> str:
        """How to look at the run."""
        return shlex.join(("symphony-kernel", "runs", "show", run, *self.home))

    def how_to_resume(self, run: str) -> str:
        """How to go on with the run."""
        command = ("symphony-kernel", "run", "--resume", run, *self.home, *self.extensions)
        return shlex.join(command)


@dataclass
class Stopper:
    """Turns signals and `symphony-kernel stop` into the end of the run's task, while it plays."""

    task: asyncio.Task[Finished]
    loop: asyncio.AbstractEventLoop
    code: int | None = None

    def heed(self, code: int) -> None:
        """A signal came."""
        self.loop.call_soon_threadsafe(self.stop, code)

    def stop(self, code: int) -> None:
        """Ends the run in peace; it stays resumable."""
        if self.code is None:
            self.code = code
            self.task.cancel()


@dataclass
class Watcher:
    """Everybody who listens to the run's events."""

    request: RunRequest
    sink: JsonLines | None
    progress: render.Progress
    lost: list[Degraded] = field(default_factory=list)
    events: list[RunEvent] = field(default_factory=list)

    def __call__(self, event: RunEvent) -> None:
        self.events.append(event)
        if self.sink is not None:
            self.sink(event)
        if isinstance(event, RunOpened | RunResumed):
            render.tell(f"run {event.run}")
            render.degraded(self.lost)
        if isinstance(event, BudgetWarning):
            render.warned(event)
        self.progress(event)


async def play(settings: Settings, request: RunRequest) -> int:
    """Plays or resumes a run and returns the exit code."""
    require_outside(request.options.out, settings.places)
    kernel = Kernel(settings)
    if request.melody is not None:
        melody = load_melody(request.melody, kernel.kit)
        inputs = parse_inputs(request.inputs, melody.inputs)
        require_plain(inputs)
        require_out(kernel, melody, request.options)
        require_tenant(kernel, request.options.tenant)
        run = new_run_id(melody.name)
    else:
        melody, inputs, run = None, {}, str(request.resume)
    require_writable(request.options.out)
    if request.events == STDOUT:
        streams.require_stdout()
    if request.junit is not None:
        junit.require_writable(request.junit)
    async with _watching(request) as watcher:
        await kernel.start()
        kernel.curator.on_notice = watcher.progress.note
        try:
            await Console(kernel).open()
            await kernel.settled(SETTLE_S)
            watcher.lost = kernel.lost()
            render.gone(presence.faults(kernel.places.home))
            kernel.watch.on_notice = watcher.progress.note
            player = Play(kernel, run, watcher)
            if melody is not None:
                work = player.open(melody, inputs, request.options)
            else:
                seen = last_seq(request.events, run) if request.events else None
                work = player.resume(request.options, seen)
            stopper = Stopper(asyncio.create_task(work), asyncio.get_running_loop())
            with signals.answered_by(stopper.heed):
                try:
                    result, code = await _until_end(kernel, stopper, run, watcher)
                except SymphonyError as error:
                    await _report_unfinished(player, watcher, error.message)
                    raise
                if result is None:
                    why = signals.WORDS[code]
                    await _report_unfinished(player, watcher, f"the run was {why}; it is resumable")
                story = [] if result is None else await player.story()
        finally:
            with signals.answered_by(signals.ignore):
                await kernel.close()
    if result is not None:
        with signals.answered_by(signals.ignore):
            await _show(result, request, story, settings.places)
    return code


async def _report_unfinished(player: Play, watcher: Watcher, reason: str) -> None:
    """The report of a run that was left. Of what keeps it from being written, only says so."""
    path, melody = watcher.request.junit, player.melody
    if path is None or melody is None or not watcher.events:
        return
    try:
        async with asyncio.timeout(STORY_S):
            story = await player.story()
    except (SymphonyError, TimeoutError):  # the tracker is what failed
        story = watcher.events
    left = junit.Unfinished(reason, [step.id for step in melody.steps])
    try:
        await junit.write(path, junit.report(melody.name, story, left))
    except SymphonyError as error:
        print(error.render(), file=sys.stderr)


async def _until_end(
    kernel: Kernel, stopper: Stopper, run: str, watcher: Watcher
) -> tuple[Finished | None, int]:
    asked = asyncio.create_task(kernel.stop.wait())
    asked.add_done_callback(lambda _: stopper.stop(int(ExitCode.TERMINATED)))
    try:
        result = await stopper.task
    except asyncio.CancelledError as error:
        watcher.progress.close()
        if kernel.failure is not None:
            raise _resumable(kernel.failure, run, watcher) from error
        if stopper.code is None:
            raise
        _say_how_to_resume(run, watcher, stopper.code)
        return None, stopper.code
    except Exception as error:
        watcher.progress.close()
        raise _resumable(kernel.failure or error, run, watcher) from error
    finally:
        stopper.code = stopper.code or 0
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    return result, ExitCode.DONE if result.outcome == "succeeded" else ExitCode.FAILED


def _resumable(error: Exception, run: str, watcher: Watcher) -> SymphonyError:
    """The error that ended the run's playing, with how to go on where there is a run."""
    found = as_symphony_error(error)
    if not watcher.events:
        return found
    return SymphonyError(
        found.code,
        found.message,
        where=found.where,
        help=f"{found.help or 'mend the cause'}; then {watcher.request.how_to_resume(run)}",
        fault=found.fault,
        name=found.name,
    )


@contextlib.asynccontextmanager
async def _watching(request: RunRequest) -> AsyncIterator[Watcher]:
    sink = None if request.events is None else await JsonLines.open(request.events)
    live = not request.headless and request.events != STDOUT
    watcher = Watcher(request, sink, render.Progress(live=live))
    try:
        yield watcher
    finally:
        watcher.progress.close()
        if sink is not None:
            sink.close()


async def _show(
    result: Finished, request: RunRequest, story: list[RunEvent], places: Places
) -> None:
    """Table and report of the whole run, what earlier kernels played of it too."""
    if request.junit is not None:
        melody = next(event.melody for event in story if isinstance(event, RunOpened))
        await junit.write(request.junit, junit.report(melody, story))
    if request.events != STDOUT:
        render.finished(result, story)
    if result.reason is not None:
        remedy = f"see `{request.show(result.run)}`"
        if instance := failing_instance(story):  # one that was not let begin has none
            remedy += f" and the log {places.log(instance)}"
        problem = Problem(f"the run failed: {result.reason}", f"run {result.run}", remedy)
        print(problem.render(), file=sys.stderr)


def _say_how_to_resume(run: str, watcher: Watcher, code: int) -> None:
    if watcher.events:
        render.tell(f"run {run} is kept; go on with: {watcher.request.how_to_resume(run)}")
    else:
        render.tell(signals.again(code))
