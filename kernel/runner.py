"""Plays one run: asks the Conductor what to do and does it, several steps at a time.

The DAG Tracker says what is ready and keeps what is done; the Conductor decides; instances play.
A step is finished when its completion is durable, not before.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from symphony.bus.errors import BusError

from . import tracing
from .bindings import FromInput, FromStep, Literal
from .calling import CallContext, Caller
from .conductor import Conductor
from .expressions import ExpressionError, compile_expression
from .gates import GateResult, judge
from .instances import Instance, SpawnError
from .journal import Advance, RunJournal
from .kit import Installed
from .launchplan import LaunchOptions
from .leases import Leases
from .melody import Melody, Step
from .policy import Decision, Failure
from .values import Value, inline, variables

MOST_TEXT = 4096  # characters of a player's error that are kept


@dataclass(frozen=True)
class Cast:
    """Who plays: for each step its players in order, and how each is launched."""

    steps: Mapping[str, tuple[str, ...]]
    players: Mapping[str, Installed]
    options: Mapping[str, LaunchOptions]


@dataclass
class Stage:
    """What is known of a run while it plays."""

    inputs: dict[str, Value]
    outputs: dict[str, dict[str, Value]] = field(default_factory=dict)
    qualities: dict[str, float] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def seen(self, step: str) -> dict[str, object]:
        """What a condition sees of a step: its outputs and quality; nothing if it has none."""
        found = variables(self.outputs.get(step, {}))
        if step in self.qualities:
            found["quality"] = self.qualities[step]
        return found


class AttemptFailed(Exception):  # noqa: N818 - an outcome, not a fault of ours
    """One attempt failed; carries what the policy is told and what is journaled."""

    def __init__(
        self, failure: Failure, error: dict[str, object], instance: Instance | None
    ) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.error = error
        self.instance = instance


class Runner:
    """One run from its first ready step to its last."""

    def __init__(
        self,
        run: str,
        melody: Melody,
        stage: Stage,
        journal: RunJournal,
        conductor: Conductor,
        cast: Cast,
        leases: Leases,
        caller: Caller,
        slots: int,
    ) -> None:
        self._run = run
        self._melody = melody
        self._steps = melody.step
        self._stage = stage
        self._journal = journal
        self._conductor = conductor
        self._cast = cast
        self._leases = leases
        self._caller = caller
        self._slots = slots
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._broken: BaseException | None = None
        self._users = Counter(
            player
            for step, players in cast.steps.items()
            if step not in stage.outputs
            for player in players
        )

    async def play(self, ready: list[tuple[str, float]]) -> Decision | None:
        """Plays until nothing is left to do; returns the decision that failed the run, if any.

        Raises what made going on impossible (a Pit member given up, a bug of ours).
        """
        self._conductor.add_ready(ready)
        try:
            while self._broken is None:
                self._changed.clear()
                self._start_what_may()
                wakeup = self._conductor.wakeup()
                if not self._tasks and wakeup is None:
                    break
                await self._until_change(wakeup)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._broken is not None:
            raise self._broken
        return self._conductor.failed

    def _start_what_may(self) -> None:
        while self._slots > 0 and (decision := self._conductor.next(time.monotonic())):
            self._slots -= 1
            task = asyncio.create_task(self._play_step(decision), name=decision.step)
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = self._broken or error
        self._changed.set()

    async def _until_change(self, wakeup: float | None) -> None:
        delay = None if wakeup is None else max(0.0, wakeup - time.monotonic())
        try:
            async with asyncio.timeout(delay if self._slots > 0 else None):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _play_step(self, decision: Decision) -> None:
        step = self._steps[decision.step]
        free = _Slot(self)
        try:
            if decision.action == "activate" and (why := self._unwanted(step)) is not None:
                await self._skip(step, why)
                return
            self._stage.attempts[step.id] += 1
            attempt = self._stage.attempts[step.id]
            try:
                outputs, verdict = await self._attempt(step, decision, attempt, free)
            except AttemptFailed as failed:
                await self._recover(step, decision, attempt, failed)
                return
            advance = await self._journal.complete(
                step.id,
                attempt,
                {name: value.to_journal() for name, value in outputs.items()},
                verdict.score,
            )
            self._stage.outputs[step.id] = outputs
            if verdict.score is not None:
                self._stage.qualities[step.id] = verdict.score
            self._stage.counts["succeeded"] += 1
            self._step_ended(step, advance)
        finally:
            free.release()

    async def _attempt(
        self, step: Step, decision: Decision, attempt: int, slot: _Slot
    ) -> tuple[dict[str, Value], GateResult]:
        player = decision.player or self._cast.steps[step.id][0]
        installed = self._cast.players[player]
        # A retry or fallback was journaled with the failure that led to it.
        records = [_decided(decision)] if decision.action == "activate" else []
        try:
            instance = await self._leases.take(installed, self._cast.options[player])
        except SpawnError as error:
            failure = Failure("crashed", error.text)
            whom = {"player": player, "instance": error.instance}
            records.append(_started(step, attempt, whom))
            await self._journal.append(records)
            crash: dict[str, object] = {"class": "SpawnError", "message": error.text}
            crash |= {"fault": "provider", "exit": error.text}
            raise AttemptFailed(failure, crash, None) from error
        started: dict[str, object] = {
            "player": player,
            "instance": instance.name,
            "pid": instance.pid,
            "sandbox": str(instance.level),
        }
        ttl_ms = max(1, math.ceil(step.timeout_s * 1000))  # 0 would mean for ever
        context = CallContext(self._run, step.id, attempt, ttl_ms, tracing.attempt(self._run))
        # Told while the call is under way, and always before anything else is told of the step.
        told = asyncio.create_task(
            self._journal.append([*records, _started(step, attempt, started)])
        )
        refusal: BusError | None = None
        outputs: dict[str, Value] = {}
        try:
            outputs = await self._caller.call(
                instance,
                step.capability,
                self._melody.contract(step),
                self._arguments(step),
                context,
                lambda body: self._journal.progress(step.id, body),
            )
        except BusError as error:
            refusal = error
        except BaseException:
            told.cancel()
            raise
        await told
        if refusal is not None:
            await self._refused(step, refusal, instance)
        verdict = await self._gate(step, outputs, instance)
        self._leases.give_back(instance)
        slot.release()
        return outputs, verdict

    async def _refused(self, step: Step, error: BusError, instance: Instance) -> NoReturn:
        """The attempt ended with an error of the bus, the player or the check of its outputs."""
        if error.code == "wrong-output":
            verdict = GateResult(False, "type", None, f"{error.message} ({error.where})")
            await self._record_gate(step, verdict)
        info: dict[str, object] = {
            "class": (error.cls or error.code)[:MOST_TEXT],
            "message": error.message[:MOST_TEXT],
            "fault": error.fault,
            "where": error.where,
        }
        said = f"{error.cls}: {error.message}" if error.cls else error.message
        raise AttemptFailed(Failure(error.code, said[:MOST_TEXT]), info, instance) from error

    async def _gate(self, step: Step, outputs: dict[str, Value], instance: Instance) -> GateResult:
        verdict = judge(
            self._melody.contract(step).outputs,
            variables(outputs),
            rule=step.gate,
            required=step.outputs,
            inputs=variables(self._stage.inputs),
            step=step.id,
        )
        if step.gate is not None or not verdict.passed:
            await self._record_gate(step, verdict)
        if not verdict.passed:
            code = "gate-undecidable" if verdict.fault == "caller" else "gate-refused"
            info: dict[str, object] = {"class": code, "message": verdict.reason}
            info["fault"] = verdict.fault
            raise AttemptFailed(Failure(code, verdict.reason), info, instance)
        return verdict

    async def _record_gate(self, step: Step, verdict: GateResult) -> None:
        data = {
            "gate": verdict.gate,
            "passed": verdict.passed,
            "score": verdict.score,
            "reason": verdict.reason,
        }
        await self._journal.append([{"kind": "gate", "step": step.id, "data": data}])

    async def _recover(
        self, step: Step, decision: Decision, attempt: int, failed: AttemptFailed
    ) -> None:
        exit_reason = failed.error.get("exit")
        if failed.instance is not None:
            exit_reason = await self._leases.discard(failed.instance)
        error = {**failed.error, "exit": exit_reason}
        player = decision.player or self._cast.steps[step.id][0]
        self._stage.counts["failures"] += 1
        follow = self._conductor.attempt_failed(step.id, player, failed.failure, time.monotonic())
        if follow.action == "fail":
            advance = await self._journal.fail(step.id, attempt, error)
            await self._journal.append([_decided(follow)])
            self._stage.counts["failed"] += 1
            self._step_ended(step, advance)
            return
        data = {"error": error, "player": player}
        record = {"kind": "failed", "step": step.id, "attempt": attempt, "data": data}
        await self._journal.append([record, _decided(follow)])
        if follow.action == "skip":
            await self._leave_out(step, follow.reason)

    async def _skip(self, step: Step, reason: str) -> Advance:
        advance = await self._journal.skip(step.id, reason)
        self._stage.counts["skipped"] += 1
        self._step_ended(step, advance)
        return advance

    async def _leave_out(self, step: Step, reason: str) -> None:
        """An optional step failed: a required one that cannot do without it fails the run."""
        advance = await self._skip(step, reason)
        needed = (name for name in advance.skipped if self._steps[name].importance != "optional")
        if (blocked := next(needed, None)) is not None:
            decision = self._conductor.cannot_run(blocked, f"it needs {step.id}: {reason}")
            await self._journal.append([_decided(decision)])

    def _step_ended(self, step: Step, advance: Advance) -> None:
        self._stage.counts["skipped"] += len(advance.skipped)
        self._conductor.add_ready(advance.ready)
        for ended in (step.id, *advance.skipped):
            for player in self._cast.steps[ended]:
                self._users[player] -= 1
                if not self._users[player]:
                    self._leases.retire(player)
        self._changed.set()

    def _unwanted(self, step: Step) -> str | None:
        """Why the step's condition leaves it out, or None."""
        if step.condition is None:
            return None
        try:
            expression = compile_expression(step.condition)
            members = [r[1:2] for r in expression.references if r[0] == "steps"]
            named = self._steps if () in members else {name for (name,) in members}
            context = {
                "inputs": variables(self._stage.inputs),
                "steps": {name: self._stage.seen(name) for name in named},
            }
            wanted = expression.evaluate(context)
        except ExpressionError as error:
            return f"the condition cannot be decided: {error.message}"
        return None if wanted else f"condition is false: {step.condition}"

    def _arguments(self, step: Step) -> dict[str, Value]:
        """The step's inputs; one whose source was skipped is left out."""
        arguments: dict[str, Value] = {}
        for name, binding in step.bindings.items():
            value: Value | None = None
            match binding:
                case Literal(literal):
                    value = inline(literal)
                case FromInput(source):
                    value = self._stage.inputs.get(source)
                case FromStep(source, output):
                    value = self._stage.outputs.get(source, {}).get(output)
            if value is not None:
                arguments[name] = value
        return arguments


class _Slot:
    """One of the places for steps that play at the same time; given back once."""

    def __init__(self, runner: Runner) -> None:
        self._runner: Runner | None = runner

    def release(self) -> None:
        if self._runner is not None:
            self._runner._slots += 1
            self._runner._changed.set()
            self._runner = None


def _decided(decision: Decision) -> dict[str, object]:
    data = {
        "action": decision.action,
        "player": decision.player,
        "by": decision.by,
        "reason": decision.reason,
    }
    return {"kind": "decision", "step": decision.step, "data": data}


def _started(step: Step, attempt: int, data: Mapping[str, object]) -> dict[str, object]:
    return {"kind": "started", "step": step.id, "attempt": attempt, "data": data}
