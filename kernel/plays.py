"""From a Melody to a finished run: opening or resuming it, playing it, handing over its results."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from symphony.bus.errors import BusError
from symphony.sandboxes.policy import Level

from .answers import RunSummary
from .apart import require_outside
from .bindings import FromInput, FromStep
from .conductor import Conductor, StepRules
from .errors import ExitCode, Problem, Problems, SymphonyError, from_bus
from .events import Delivered, RunEvent
from .export import Result, export
from .journal import Emit, RunJournal, timestamp
from .kernel import Kernel
from .kit import Installed
from .leases import Leases
from .melody import Melody, from_document
from .policy import Decision, RetryRule, RulePolicy
from .queries import no_run
from .runner import Cast, Runner, Stage
from .values import Value, inline

DELIVER = "output.deliver/1"  # its output `delivered` says where below --out each input went


@dataclass(frozen=True)
class PlayOptions:
    """What the user adds to a Melody for one run; kept with it for its resumption."""

    out: Path | None = None
    level: Level | None = None

    def to_document(self) -> dict[str, object]:
        """As plain data."""
        return {"out": str(self.out) if self.out else None, "level": self.level}

    @classmethod
    def from_document(cls, data: Mapping[str, Any]) -> PlayOptions:
        """Back from plain data."""
        out, level = data.get("out"), data.get("level")
        return cls(Path(out) if out else None, Level(level) if level else None)


@dataclass(frozen=True)
class Finished:
    """How a run ended."""

    run: str
    outcome: str
    artifacts: dict[str, Delivered]
    metrics: dict[str, Any]
    reason: str | None


class Play:
    """One playing of a run in this kernel."""

    def __init__(self, kernel: Kernel, run: str, emit: Emit) -> None:
        self.run = run
        self.melody: Melody | None = None  # once the run is open
        self._kernel = kernel
        self._emit = emit
        self._journal = RunJournal(kernel.dag, run, emit)

    async def open(
        self, melody: Melody, given: Mapping[str, object], options: PlayOptions
    ) -> Finished:
        """Starts a new run with validated inputs (files as paths) and plays it to its end."""
        await self._require_sandboxes(melody, options)
        inputs = {name: await self._take_in(melody, name, v) for name, v in given.items()}
        request = {
            "melody": melody.name,
            "version": melody.version,
            "digest": melody.digest,
            "document": {"melody": melody.document, "options": options.to_document()},
            "inputs": {name: value.to_journal() for name, value in inputs.items()},
            "steps": _graph(melody),
        }
        self.melody = melody
        with _bus_errors():
            advance = await self._journal.open(request)
            return await self._play(melody, options, Stage(inputs), advance.ready)

    async def resume(self, options: PlayOptions, seen_seq: int | None = None) -> Finished:
        """Takes up a run that an earlier kernel left; finished steps are not repeated.

        A run that is finished already is only reported. ``seen_seq`` as in `RunJournal.resume`.
        """
        with _bus_errors():
            try:
                state = await self._kernel.dag.call("state", {"run": self.run})
            except BusError as error:
                raise no_run(self.run, error) from error
            if state["state"] != "open":
                return await self._report(state, seen_seq)
            state = await self._journal.resume(seen_seq)
            document = state["document"]
            melody = self.melody = from_document(document["melody"])
            kept = PlayOptions.from_document(document["options"])
            options = PlayOptions(options.out or kept.out, options.level or kept.level)
            require_outside(options.out, self._kernel.places)
            require_writable(options.out)
            stage = _restored(state)
            records = await self._journal.records()
            failures = [
                (record["step"], record["data"]["player"])
                for record in records
                if record["kind"] == "failed" and "player" in (record.get("data") or {})
            ]
            ready = [(step, float(rank)) for step, rank in state["ready"]]
            return await self._play(melody, options, stage, ready, failures)

    async def story(self) -> list[RunEvent]:
        """All events of the run so far, those of earlier kernels too; without progress."""
        with _bus_errors():
            state = await self._kernel.dag.call("state", {"run": self.run})
            return await self._journal.story(state)

    async def _report(self, state: Mapping[str, Any], seen_seq: int | None) -> Finished:
        if seen_seq is not None:
            for event in await self._journal.story(state, seen_seq):
                self._emit(event)
        records = await self._journal.records(after=state["last"] - 1)
        data = records[-1]["data"]["data"]
        artifacts = msgspec.convert(data["artifacts"], dict[str, Delivered])
        return Finished(self.run, state["state"], artifacts, data["metrics"], data.get("reason"))

    async def _play(
        self,
        melody: Melody,
        options: PlayOptions,
        stage: Stage,
        ready: list[tuple[str, float]],
        failures: list[tuple[str, str]] | None = None,
    ) -> Finished:
        started = time.monotonic()
        cast = _cast(self._kernel, melody, options)
        conductor = Conductor(_rules(melody, cast), RulePolicy())
        conductor.restore(failures or [])
        leases = Leases(self._kernel.instances)
        self._kernel.playing[self.run] = _summary(self.run, melody, len(stage.outputs))
        runner = Runner(
            self.run,
            melody,
            stage,
            self._journal,
            conductor,
            cast,
            leases,
            self._kernel.caller,
            self._kernel.settings.slots,
        )
        try:
            failed = await runner.play(ready)
        finally:
            del self._kernel.playing[self.run]
            await leases.close()
        return await self._finish(melody, options, stage, failed, time.monotonic() - started)

    async def _finish(
        self,
        melody: Melody,
        options: PlayOptions,
        stage: Stage,
        failed: Decision | None,
        seconds: float,
    ) -> Finished:
        results = _results(melody, stage, options.out)
        if failed is None and options.out is not None:
            results = await export(self._kernel.artifacts, results, options.out)
        artifacts = {name: result.delivered() for name, result in results.items()}
        metrics = {
            "steps": len(melody.steps),
            "succeeded": len(stage.outputs),
            "failed": stage.counts["failed"],
            "skipped": stage.counts["skipped"],
            "attempts": sum(stage.attempts.values()),
            "failed_attempts": stage.counts["failures"],
            "duration_s": round(seconds, 3),
        }
        outcome = "succeeded" if failed is None else "failed"
        data = {"artifacts": msgspec.to_builtins(artifacts), "metrics": metrics}
        reason = None
        if failed is not None:
            reason = f"step {failed.step}: {failed.reason}"
            data["reason"] = reason
        await self._journal.finish(outcome, data)
        return Finished(self.run, outcome, artifacts, metrics, reason)

    async def _require_sandboxes(self, melody: Melody, options: PlayOptions) -> None:
        """Raises `SandboxRefused` before anything of the run is written, not at its first step."""
        launches = _cast(self._kernel, melody, options).options.values()
        for level in {launch.level for launch in launches}:
            await self._kernel.launcher.prove(level)

    async def _take_in(self, melody: Melody, name: str, given: object) -> Value:
        if not isinstance(given, Path):
            return inline(given)
        media = melody.inputs[name].media or ""
        with _bus_errors():
            return await self._kernel.artifacts.take_in(
                self._kernel.places.spool / f"{self.run}-{name}",
                given,
                name,
                str(media),
                {"run": self.run},
            )


def _cast(kernel: Kernel, melody: Melody, options: PlayOptions) -> Cast:
    """The players of every step; raises if one that the Melody was checked with is gone."""
    steps: dict[str, tuple[str, ...]] = {}
    players: dict[str, Installed] = {}
    for step in melody.steps:
        first = step.player or next((p.name for p in kernel.kit.players(step.capability)), "")
        steps[step.id] = (first, *step.fallbacks)
        for name in steps[step.id]:
            installed = kernel.kit.get(name)
            if installed is None or installed.manifest.provided(step.capability) is None:
                raise SymphonyError(
                    ExitCode.UNAVAILABLE,
                    f"no extension {name or 'at all'} provides {step.capability}",
                    where=f"step {step.id}",
                    help="install it, or add its folder with --extensions",
                )
            players[name] = installed
    launches = {
        name: kernel.options_for(installed, options.out, options.level)
        for name, installed in players.items()
    }
    return Cast(steps, players, launches)


def require_out(kernel: Kernel, melody: Melody, options: PlayOptions) -> None:
    """Raises if a player of the Melody writes the user's folder and none was given."""
    players = _cast(kernel, melody, options).players.values()
    if options.out is None and (writer := next((p for p in players if p.granted.out), None)):
        message = f"{writer.name} delivers into a folder of yours, and none is given"
        raise Problems([Problem(message, "--out", "add --out DIR")])


def _rules(melody: Melody, cast: Cast) -> dict[str, StepRules]:
    return {
        step.id: StepRules(
            players=cast.steps[step.id],
            optional=step.importance == "optional",
            retry=RetryRule(
                step.retry.attempts,
                step.retry.backoff_s,
                step.retry.factor,
                step.retry.max_backoff_s,
            ),
        )
        for step in melody.steps
    }


def _graph(melody: Melody) -> list[dict[str, object]]:
    return [
        {"id": step, "after": [[other, kind] for other, kind in dependencies]}
        for step, dependencies in melody.plan().items()
    ]


def _restored(state: Mapping[str, Any]) -> Stage:
    """What an earlier kernel had reached."""
    inputs = {name: Value.from_journal(data) for name, data in state["inputs"].items()}
    stage = Stage(inputs)
    for step in state["steps"]:
        stage.attempts[step["id"]] = step["attempt"]
        if (quality := step.get("quality")) is not None:
            stage.qualities[step["id"]] = quality
        if step["state"] == "succeeded":
            outputs = step.get("outputs") or {}
            stage.outputs[step["id"]] = {
                name: Value.from_journal(data) for name, data in outputs.items()
            }
        elif step["state"] in ("failed", "skipped"):
            stage.counts[step["state"]] += 1
    return stage


def _results(melody: Melody, stage: Stage, out: Path | None) -> dict[str, Result]:
    """What the Melody's outputs name, as far as it exists, and where a player delivered it."""
    delivered = _delivered(melody, stage)
    found: dict[str, Result] = {}
    for name, binding in melody.outputs.items():
        value: Value | None = None
        match binding:
            case FromInput(source):
                value = stage.inputs.get(source)
            case FromStep(step, output):
                value = stage.outputs.get(step, {}).get(output)
        if value is not None and value.ref:
            where = delivered.get(value.ref)
            found[name] = Result(value, out / where if out and where else None)
    return found


def _delivered(melody: Melody, stage: Stage) -> dict[str, str]:
    """Reference → path below the output folder, from the steps that delivered."""
    found: dict[str, str] = {}
    for step in melody.steps:
        answer = stage.outputs.get(step.id, {}).get("delivered")
        if step.capability != DELIVER or answer is None or not isinstance(answer.value, dict):
            continue
        for name, binding in step.bindings.items():
            if isinstance(binding, FromStep) and name in answer.value:
                value = stage.outputs.get(binding.step, {}).get(binding.output)
                if value is not None:
                    found[value.ref] = str(answer.value[name])
    return found


def _summary(run: str, melody: Melody, ended: int) -> RunSummary:
    return RunSummary(
        run=run,
        melody=melody.name,
        version=melody.version,
        state="running",
        opened=timestamp(),
        steps=len(melody.steps),
        ended=ended,
    )


def new_run_id(melody: str) -> str:
    """A name for a run: its Melody, the day and six random hex digits."""
    day = datetime.now(UTC).strftime("%Y%m%d")
    return f"{melody[:40].rstrip('-')}-{day}-{secrets.token_hex(3)}"


def require_writable(out: Path | None) -> None:
    """Makes the output folder, or says why it cannot be used, before anything is started."""
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):  # root may write anywhere, but not in /proc
            pass
    except OSError as error:
        raise SymphonyError(
            ExitCode.IO,
            f"the output folder is not writable: {error.strerror or error}",
            where=str(out),
            help="choose another folder with --out",
            fault="environment",
        ) from error


@contextlib.contextmanager
def _bus_errors() -> Iterator[None]:
    """Errors of the Pit as errors of the command."""
    try:
        yield
    except BusError as error:
        raise from_bus(error) from error
