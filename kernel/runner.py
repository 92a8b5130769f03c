"""Plays one run: asks the Conductor what to do and does it, several steps at a time.

The DAG Tracker says what is ready and keeps what is done; the Conductor decides; instances play.
A step is finished when its completion is durable, not before.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn

from symphony.bus.errors import BusError

from . import tracing
from .bindings import FromInput, FromStep, Literal
from .calling import CallContext, Caller
from .conductor import Conductor
from .expressions import ExpressionError, compile_expression
from .gates import GateResult, judge
from .instances import SpawnError
from .journal import Advance, RunJournal
from .leases import Attempt, Held, Leases, Part
from .melody import Melody, Step
from .pit.candidates import Candidate
from .policy import Decision, Failure
from .values import Value, inline, variables

MOST_TEXT = 4096  # characters of a player's error that are kept
LIKELY: Final = 900  # of 1,000: that a step plays once its dependency has
POSSIBLE: Final = 500  # the same of one with a condition
PRIORITIES: Final = {"critical": 70, "normal": 50, "optional": 30}  # by a step's importance


@dataclass(frozen=True)
class Cast:
    """Who plays: for each step its players in order; where the Melody names none, who else could
    go first, by capability."""

    steps: Mapping[str, tuple[str, ...]]
    players: Mapping[str, Part]
    choices: Mapping[str, tuple[Candidate, ...]] = field(default_factory=dict)


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
        self, player: str, failure: Failure, error: dict[str, object], held: Held | None
    ) -> None:
        super().__init__(failure.message)
        self.player = player
        self.failure = failure
        self.error = error
        self.held = held


class NotBegunError(AttemptFailed):
    """Nothing was granted, or no instance was to be had: nobody played."""


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
        due: float | None = None,  # when the run should have ended, as `time.monotonic`
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
        self._due = due
        self._tasks: set[asyncio.Task[None]] = set()
        self._playing = False
        self._changed = asyncio.Event()  # there is something for `play` to look at
        self._broken: BaseException | None = None
        self._next: dict[str, list[str]] = defaultdict(list)  # steps that wait for a step
        for step, dependencies in melody.plan().items():
            for before, _ in dependencies:
                self._next[before].append(step)

    async def play(self, ready: list[tuple[str, float]]) -> Decision | None:
        """Plays until nothing is left to do; returns the decision that failed the run, if any.

        Raises what made going on impossible (a Pit member given up, a bug of ours).
        """
        self._conductor.add_ready(ready)
        self._playing = True
        try:
            while self._broken is None:
                self._changed.clear()
                self._start_what_may()
                wakeup = self._conductor.wakeup()
                if not self._tasks and wakeup is None:
                    break
                await self._until_change(wakeup)
        finally:
            self._playing = False
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._broken is not None:
            raise self._broken
        return self._conductor.failed

    def _start_what_may(self) -> None:
        if not self._playing or self._broken is not None:
            return
        while self._slots > 0 and (decision := self._conductor.next(time.monotonic())):
            self._slots -= 1
            task = asyncio.create_task(self._play_step(decision), name=decision.step)
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            self._leases.expect(self._soon(decision.step))

    def _soon(self, step: str) -> dict[str, int]:
        """Kinds of players that are needed once this step has ended, with the chance in
        thousandths; not the step's own, which is free by then."""
        soon: dict[str, int] = {}
        own = self._kind(step)
        for later in self._next[step]:
            kind = self._kind(later)
            if kind == own:
                continue
            chance = LIKELY if self._steps[later].condition is None else POSSIBLE
            soon[kind] = max(chance, soon.get(kind, 0))
        return soon

    def _kind(self, step: str) -> str:
        """Of the player that is to play it first."""
        return self._cast.players[self._cast.steps[step][0]].kind.name

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = self._broken or error
        if self._broken is not None or not self._tasks or self._conductor.wakeup() is not None:
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
                outputs, verdict, told = await self._attempt(step, decision, attempt, free)
            except AttemptFailed as failed:
                await self._recover(step, attempt, failed)
                return
            advance = await self._journal.complete(
                step.id,
                attempt,
                {name: value.to_journal() for name, value in outputs.items()},
                verdict.score,
                after=told,
            )
            self._stage.outputs[step.id] = outputs
            if verdict.score is not None:
                self._stage.qualities[step.id] = verdict.score
            self._stage.counts["succeeded"] += 1
            self._step_ended(advance)
        finally:
            free.release()

    async def _attempt(
        self, step: Step, decision: Decision, attempt: int, slot: _Slot
    ) -> tuple[dict[str, Value], GateResult, asyncio.Task[None]]:
        """The outputs, if they are good, with the verdict; and what is being told of its start."""
        player = decision.player or self._cast.steps[step.id][0]
        choices = self._choices(step, decision)
        try:
            held = await self._leases.take(self._asked(step, attempt, player, choices))
        except BusError as error:
            await self._journal.append(_activated(decision))
            info, failure = _told(error)
            raise NotBegunError(player, failure, info, None) from error
        except SpawnError as error:
            decision = self._chosen(decision, error.player, "")
            failure = Failure("crashed", error.text)
            whom = {"player": error.player, "instance": error.instance, "pid": error.pid}
            records = [*_activated(decision), _started(step, attempt, whom)]
            await self._journal.append(records)
            crash: dict[str, object] = {"class": "SpawnError", "message": error.text}
            crash |= {"fault": "provider", "exit": error.text}
            raise AttemptFailed(error.player, failure, crash, None) from error
        instance = held.instance
        player = held.player
        own = held.grant.wish.step == step.id
        why_it = held.grant.reason if own else f"the run has {player} from {held.grant.wish.step}"
        decision = self._chosen(decision, player, why_it)
        records = _activated(decision)
        started: dict[str, object] = {
            "player": player,
            "instance": instance.name,
            "pid": instance.pid,
            "sandbox": str(instance.level),
        }
        if held.grant.name is not None:
            started["grant"] = held.grant.name
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
                lambda body: self._heard(step, held, body),
            )
        except BusError as error:
            refusal = error
        except BaseException:
            told.cancel()
            raise
        if refusal is not None:
            await told
            await self._failed(step, refusal, held)
        verdict = self._judge(step, outputs)
        if verdict.passed:
            await self._leases.give_back(held)
            if self._journal.keeps_up:  # else the next step waits with this one
                slot.release()
        if step.gate is not None or not verdict.passed:
            await told
            await self._record_gate(step, verdict)
        if not verdict.passed:
            code = "gate-undecidable" if verdict.fault == "caller" else "gate-refused"
            why: dict[str, object] = {"class": code, "message": verdict.reason}
            why["fault"] = verdict.fault
            raise AttemptFailed(held.player, Failure(code, verdict.reason), why, held)
        return outputs, verdict, told

    def _heard(self, step: Step, held: Held, sign: dict[str, Any]) -> None:
        """A sign of progress: what it says was spent is charged in the end, the rest is told."""
        held.spent = sign.pop("spent")
        if sign != held.sign:  # else it told of nothing but its spending
            held.sign = sign
            self._journal.progress(step.id, sign)

    def _choices(self, step: Step, decision: Decision) -> tuple[Candidate, ...]:
        """Who could play, where neither the Melody nor a failure says who does."""
        free = decision.action == "activate" and step.player is None
        if not free or not self._conductor.fresh(step.id):
            return ()
        return self._cast.choices.get(step.capability, ())

    def _asked(
        self, step: Step, attempt: int, player: str, choices: tuple[Candidate, ...]
    ) -> Attempt:
        names = dict.fromkeys([player, *(candidate.player for candidate in choices)])
        parts = [self._cast.players[name] for name in names]
        deadline_s = None
        if self._due is not None:
            left = self._due - time.monotonic() - self._conductor.rank(step.id) / 1000
            deadline_s = max(0.0, left)
        priority = PRIORITIES[step.importance]
        return Attempt(step.id, attempt, parts, priority, deadline_s, choices)

    def _chosen(self, decision: Decision, player: str, why: str) -> Decision:
        """The decision with who really plays."""
        if decision.player == player:
            return decision
        self._conductor.cast(decision.step, player)
        return replace(decision, player=player, reason=f"{decision.reason}; {why}".rstrip("; "))

    async def _failed(self, step: Step, error: BusError, held: Held) -> NoReturn:
        """The attempt ended with an error of the bus, the player or the check of its outputs."""
        if error.code == "wrong-output":
            verdict = GateResult(False, "type", None, f"{error.message} ({error.where})")
            await self._record_gate(step, verdict)
        info, failure = _told(error)
        raise AttemptFailed(held.player, failure, info, held) from error

    def _judge(self, step: Step, outputs: dict[str, Value]) -> GateResult:
        return judge(
            self._melody.contract(step).outputs,
            variables(outputs),
            rule=step.gate,
            required=step.outputs,
            inputs=variables(self._stage.inputs),
            step=step.id,
        )

    async def _record_gate(self, step: Step, verdict: GateResult) -> None:
        data = {
            "gate": verdict.gate,
            "passed": verdict.passed,
            "score": verdict.score,
            "reason": verdict.reason,
        }
        await self._journal.append([{"kind": "gate", "step": step.id, "data": data}])

    async def _recover(self, step: Step, attempt: int, failed: AttemptFailed) -> None:
        begun = not isinstance(failed, NotBegunError)
        if not begun:
            attempt -= 1  # it does not count
            self._stage.attempts[step.id] = attempt
        exit_reason = failed.error.get("exit")
        if failed.held is not None:
            exit_reason = await self._leases.discard(failed.held)
        error = {**failed.error, "exit": exit_reason}
        player = failed.player
        self._stage.counts["failures"] += begun
        follow = self._conductor.attempt_failed(step.id, player, failed.failure, time.monotonic())
        if follow.action == "fail":
            advance = await self._journal.fail(step.id, attempt, error)
            await self._journal.append([_decided(follow)])
            self._stage.counts["failed"] += 1
            self._step_ended(advance)
            return
        data = {"error": error, "player": player}
        record = {"kind": "failed", "step": step.id, "attempt": attempt, "data": data}
        await self._journal.append([*([record] if begun else []), _decided(follow)])
        if follow.action == "skip":
            await self._leave_out(step, follow.reason)

    async def _skip(self, step: Step, reason: str) -> Advance:
        advance = await self._journal.skip(step.id, reason)
        self._stage.counts["skipped"] += 1
        self._step_ended(advance)
        return advance

    async def _leave_out(self, step: Step, reason: str) -> None:
        """An optional step failed: a required one that cannot do without it fails the run."""
        advance = await self._skip(step, reason)
        needed = (name for name in advance.skipped if self._steps[name].importance != "optional")
        if (blocked := next(needed, None)) is not None:
            decision = self._conductor.cannot_run(blocked, f"it needs {step.id}: {reason}")
            await self._journal.append([_decided(decision)])

    def _step_ended(self, advance: Advance) -> None:
        self._stage.counts["skipped"] += len(advance.skipped)
        self._conductor.add_ready(advance.ready)
        self._start_what_may()

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
            runner, self._runner = self._runner, None
            runner._slots += 1
            runner._start_what_may()


def _decided(decision: Decision) -> dict[str, object]:
    data = {
        "action": decision.action,
        "player": decision.player,
        "by": decision.by,
        "reason": decision.reason,
    }
    return {"kind": "decision", "step": decision.step, "data": data}


def _activated(decision: Decision) -> list[dict[str, object]]:
    """A retry or fallback was journaled with the failure that led to it."""
    return [_decided(decision)] if decision.action == "activate" else []


def _told(error: BusError) -> tuple[dict[str, object], Failure]:
    """An error as it is journaled, and as the policy is told."""
    info: dict[str, object] = {
        "class": (error.cls or error.code)[:MOST_TEXT],
        "message": error.message[:MOST_TEXT],
        "fault": error.fault,
        "where": error.where,
    }
    said = f"{error.cls}: {error.message}" if error.cls else error.message
    return info, Failure(error.code, said[:MOST_TEXT])


def _started(step: Step, attempt: int, data: Mapping[str, object]) -> dict[str, object]:
    return {"kind": "started", "step": step.id, "attempt": attempt, "data": data}
