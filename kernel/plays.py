"""From a Melody to a finished run: opening or resuming it, playing it, handing over its results."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Set
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
from .clock import timestamp
from .conductor import Conductor, StepRules
from .errors import ExitCode, Problem, Problems, SymphonyError, from_bus
from .events import Delivered, RunEvent
from .export import Result, export
from .journal import Emit, RunJournal, require_own
from .kernel import Kernel
from .kit import Installed
from .leases import Leases, Part, Terms
from .melody import Melody, from_document
from .pit.appraisal import appraise
from .pit.candidates import Candidate, candidates
from .pit.config import whole_amount
from .pit.fleet import Kind
from .policy import Decision, RetryRule, RulePolicy
from .queries import DAG, no_run
from .rehearsal import BY_RANK, Order, best_order
from .replies import broken, read_as
from .runner import Cast, Runner, Stage
from .runplan import expected_seconds, parts_of
from .syntax import hint
from .values import Value, inline

DEFAULT_TENANT = "default"
ENDED = frozenset({"succeeded", "failed", "skipped"})  # of a step
SETTLE_S = 2.0  # what members that can be done without get to come up before the first step
DELIVER = "output.deliver/1"  # its output `delivered` says where below --out each input went


@dataclass(frozen=True)
class PlayOptions:
    """What the user adds to a Melody for one run; kept with it for its resumption."""

    out: Path | None = None
    level: Level | None = None
    tenant: str = DEFAULT_TENANT  # on whose part of the resources and budgets it plays

    def to_document(self) -> dict[str, object]:
        """As plain data."""
        out = str(self.out) if self.out else None
        return {"out": out, "level": self.level, "tenant": self.tenant}

    @classmethod
    def from_document(cls, data: Mapping[str, Any]) -> PlayOptions:
        """Back from plain data."""
        out, level = data.get("out"), data.get("level")
        tenant = data.get("tenant") or DEFAULT_TENANT
        return cls(Path(out) if out else None, Level(level) if level else None, tenant)


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
        self._warned: set[tuple[str, str, str]] = set()  # budget, for whom, how

    async def open(
        self, melody: Melody, given: Mapping[str, object], options: PlayOptions
    ) -> Finished:
        """Starts a new run with validated inputs (files as paths) and plays it to its end."""
        self._require_room(melody, options)
        await self._require_sandboxes(melody, options)
        inputs = {name: await self._take_in(melody, name, v) for name, v in given.items()}
        request = {
            "melody": melody.name,
            "version": melody.version,
            "digest": melody.digest,
            "document": {
                "melody": melody.document,
                "options": options.to_document(),
                "run": self.run,
            },
            "inputs": {name: value.to_journal() for name, value in inputs.items()},
        }
        self.melody = melody
        with _bus_errors():
            ready = await self._journal.open(request, parts_of(melody))
            self._kernel.presence.look()
            return await self._play(melody, options, Stage(inputs), ready)

    async def resume(self, options: PlayOptions, seen_seq: int | None = None) -> Finished:
        """Takes up a run that an earlier kernel left; finished steps are not repeated.

        A run that is finished already is only reported. ``seen_seq`` as in `RunJournal.resume`.
        """
        with _bus_errors():
            try:
                state = await self._kernel.dag.call("state", {"run": self.run})
            except BusError as error:
                raise no_run(self.run, error) from error
            require_own(state, self.run)
            if state["state"] != "open":
                return await self._report(state, seen_seq)
            state = await self._journal.resume(seen_seq)
            with read_as(DAG, "resume"):
                document = state["document"]
                melody = self.melody = from_document(document["melody"])
                kept = PlayOptions.from_document(document["options"])
            options = PlayOptions(options.out or kept.out, options.level or kept.level, kept.tenant)
            require_tenant(self._kernel, kept.tenant)
            require_outside(options.out, self._kernel.places)
            require_writable(options.out)
            state = await self._journal.complete_plan(state, parts_of(melody))
            stage = _restored(state)
            records = await self._journal.records()
            with read_as(DAG, "journal"):
                failures = [
                    (melody.step[record["step"]].id, str(record["data"]["player"]))
                    for record in records
                    if record["kind"] == "failed" and "player" in (record.get("data") or {})
                ]
                self._warned = {
                    _warning(row)
                    for record in records
                    if record["kind"] == "noted" and (row := record["data"].get("budget"))
                }
                began = datetime.fromisoformat(records[0]["ts"])
                age_s = (datetime.now(UTC) - began).total_seconds()
            with read_as(DAG, "resume"):
                ready = [(melody.step[step].id, float(rank)) for step, rank in state["ready"]]
            ended = frozenset(step["id"] for step in state["steps"] if step["state"] in ENDED)
            return await self._play(melody, options, stage, ready, failures, ended, age_s)

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
        with read_as(DAG, "journal"):
            data = records[-1]["data"]["data"]
            artifacts = msgspec.convert(data["artifacts"], dict[str, Delivered])
            metrics, reason = dict(data["metrics"]), data.get("reason")
        return Finished(self.run, state["state"], artifacts, metrics, reason)

    async def _play(
        self,
        melody: Melody,
        options: PlayOptions,
        stage: Stage,
        ready: list[tuple[str, float]],
        failures: list[tuple[str, str]] | None = None,
        ended: Set[str] = frozenset(),
        age_s: float = 0.0,
    ) -> Finished:
        started = time.monotonic()
        due_s = melody.file.melody.deadline_s
        cast = await self._with_choices(_cast(self._kernel, melody, options), melody, options)
        order = await self._order(melody, cast, ended)
        conductor = Conductor(_rules(melody, cast), RulePolicy(), order)
        conductor.restore(failures or [])
        kernel = self._kernel
        terms = Terms(self.run, options.tenant)
        leases = Leases(terms, kernel.arbiter, kernel.pool, kernel.instances, self._warn)
        kinds = [part.kind for part in cast.players.values()]
        await kernel.settled(SETTLE_S)
        await kernel.pool.use(kinds)
        opened = timestamp()
        self._kernel.playing[self.run] = lambda: _summary(self.run, melody, stage, opened)
        runner = Runner(
            self.run,
            melody,
            stage,
            self._journal,
            conductor,
            cast,
            leases,
            kernel.caller,
            kernel.slots,
            None if due_s is None else started + due_s - age_s,
        )
        try:
            failed = await runner.play(ready)
            if failed is None and (left := len(melody.steps) - _ended(stage)):
                why = f"nothing is ready, and {left} of {len(melody.steps)} steps have not ended"
                raise broken(DAG, "complete" if _ended(stage) else "open", why)
        finally:
            del self._kernel.playing[self.run]
            await leases.close()
            kernel.pool.leave(kinds)
        return await self._finish(melody, options, stage, failed, time.monotonic() - started)

    async def _warn(self, row: Mapping[str, Any]) -> None:
        """Most of a budget is spent: told once in the life of the run."""
        if (key := _warning(row)) not in self._warned:
            self._warned.add(key)
            await self._journal.append([{"kind": "noted", "data": {"budget": dict(row)}}])

    async def _order(self, melody: Melody, cast: Cast, ended: Set[str]) -> Order:
        """In which order ready steps start: by rank, where not all of their times are known."""
        left = [step for step in melody.steps if step.id not in ended]
        kinds = {step.capability for step in left if step.estimate_s is None}
        learned = {kind: await self._seconds(kind) for kind in kinds}
        players = {step: names[0] for step, names in cast.steps.items()}
        seconds = expected_seconds(left, players, learned)
        if seconds is None:
            return BY_RANK
        plan = melody.plan()
        waits = {step: [on for on, _ in plan[step]] for step in seconds}
        return await asyncio.to_thread(best_order, waits, seconds, self._kernel.slots)

    async def _seconds(self, kind: str) -> dict[str, float]:
        """What a step of the kind takes each player, as far as that was measured."""
        measured = await self._journal.learned(kind)
        return {name: known.mean_s for name, known in measured.items() if known.succeeded}

    async def _with_choices(self, cast: Cast, melody: Melody, options: PlayOptions) -> Cast:
        """The cast with who else could play what the Melody gives to nobody by name: players of the
        same types, rights and sandbox as the preferred one."""
        kernel, players = self._kernel, dict(cast.players)
        choices: dict[str, tuple[Candidate, ...]] = {}
        for capability in {step.capability for step in melody.steps if step.player is None}:
            alike = [p for p in kernel.kit.players(capability) if _alike(kernel, p, capability)]
            if len(alike) < 2:
                continue
            measured = await self._journal.learned(capability)
            choices[capability] = candidates(alike, capability, measured)
            for player in alike:
                if player.name not in players:
                    players[player.name] = _part(kernel, player, options)
        return Cast(cast.steps, players, choices)

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
        won = {name: result.value for name, result in results.items()} if failed is None else {}
        self._kernel.appraiser.tell(appraise(self.run, melody, stage.outputs, stage.qualities, won))
        self._kernel.curator.ended(self.run, outcome, options.tenant)
        return Finished(self.run, outcome, artifacts, metrics, reason)

    def _require_room(self, melody: Melody, options: PlayOptions) -> None:
        """Raises `Problems` for players of which not one process would be let begin."""
        config = self._kernel.config
        if config.pool.memory is None:
            return
        most = whole_amount("memory", config.pool.memory)
        parts = _cast(self._kernel, melody, options).players
        problems = [
            Problem(
                f"a process of {name} takes {part.kind.memory_mib} MiB, and all players' together "
                f"may take {most} MiB",
                "pit.toml, pool.memory",
                "raise it, or lower `memory` in the player's manifest",
            )
            for name, part in parts.items()
            if part.kind.memory_mib > most
        ]
        if problems:
            raise Problems(problems)

    async def _require_sandboxes(self, melody: Melody, options: PlayOptions) -> None:
        """Raises `SandboxRefused` before anything of the run is written, not at its first step."""
        parts = _cast(self._kernel, melody, options).players.values()
        for level in {part.kind.options.level for part in parts}:
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
    players: dict[str, Part] = {}
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
            if name not in players:
                players[name] = _part(kernel, installed, options)
    return Cast(steps, players)


def _warning(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["name"], row.get("who") or "", row["state"]


def _part(kernel: Kernel, installed: Installed, options: PlayOptions) -> Part:
    launch = kernel.options_for(installed, options.out, options.level)
    kind = Kind.of(installed, launch)
    return Part(kind, kernel.needs_of(kind))


def _alike(kernel: Kernel, player: Installed, capability: str) -> bool:
    """Whether it may stand in for the preferred one: what was checked of that holds for it."""

    def of(one: Installed) -> tuple[object, ...]:
        provides = one.manifest.provided(capability)
        types = (provides.inputs, provides.outputs) if provides else ()
        return types, one.granted.out, one.sandbox

    return of(player) == of(kernel.kit.players(capability)[0])


def require_out(kernel: Kernel, melody: Melody, options: PlayOptions) -> None:
    """Raises if a player of the Melody writes the user's folder and none was given."""
    parts = _cast(kernel, melody, options).players.values()
    players = (part.kind.installed for part in parts)
    if options.out is None and (writer := next((p for p in players if p.granted.out), None)):
        message = f"{writer.name} delivers into a folder of yours, and none is given"
        raise Problems([Problem(message, "--out", "add --out DIR")])


def require_tenant(kernel: Kernel, name: str) -> None:
    """Raises `Problems` where somebody else would pay, or nothing would ever be granted."""
    tenants = kernel.config.tenants
    if tenants and name not in tenants and name != DEFAULT_TENANT:
        remedy = hint(name, tenants, "tenants")
        raise Problems([Problem(f'pit.toml has no tenant "{name}"', "--tenant", remedy)])
    if (tenant := tenants.get(name)) is not None and not tenant.weight:
        message = f'nothing is granted to the tenant "{name}": its weight is 0'
        remedy = "give it a weight in pit.toml, or name another tenant"
        raise Problems([Problem(message, "--tenant", remedy)])


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


def _summary(run: str, melody: Melody, stage: Stage, opened: str) -> RunSummary:
    return RunSummary(
        run=run,
        melody=melody.name,
        version=melody.version,
        state="running",
        opened=opened,
        steps=len(melody.steps),
        ended=_ended(stage),
    )


def _ended(stage: Stage) -> int:
    """How many steps have."""
    return len(stage.outputs) + stage.counts["failed"] + stage.counts["skipped"]


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
