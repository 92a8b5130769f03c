"""The events of a run as types, and the words that they share with the answers of `--json`.

Each type is the one place for its keys: the kernel encodes with them and `schema` prints them.
Times are RFC 3339, UTC, milliseconds. Readers ignore keys and events that they do not know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Fault = Literal["caller", "provider", "kernel", "environment"]
Outcome = Literal["succeeded", "failed", "aborted"]
Reference = Annotated[
    str, Meta(description="an artifact: blake3: and 64 hex digits", examples=["blake3:9f86…"])
]
Time = Annotated[
    str, Meta(description="RFC 3339, UTC, milliseconds", examples=["2026-01-31T12:00:00.000Z"])
]
Attempt = Annotated[int, Meta(ge=0, description="which attempt, from 1; 0 if none had begun")]
SandboxLevel = Literal["strict", "standard", "minimal", "none"]


class Event(Struct, frozen=True, kw_only=True, tag_field="event"):
    """What every event of a run carries."""

    seq: Annotated[
        int, Meta(ge=0, description="strictly increasing over the whole life of the run")
    ]
    ts: Time
    run: Annotated[str, Meta(description="the run's id")]


class RunOpened(Event, frozen=True, kw_only=True, tag="run.opened"):
    """The run was validated and journaled."""

    melody: Annotated[str, Meta(description="name of the Melody")]
    version: Annotated[str, Meta(description="version of the Melody")]
    inputs: Annotated[dict[str, Any], Meta(description="input values; files as references")]


class RunResumed(Event, frozen=True, kw_only=True, tag="run.resumed"):
    """A kernel took up the run again."""

    melody: Annotated[str, Meta(description="name of the Melody")]
    version: Annotated[str, Meta(description="version of the Melody")]
    inputs: Annotated[dict[str, Any], Meta(description="input values; files as references")]
    from_seq: Annotated[int, Meta(ge=0, description="the last seq before the interruption")]


class StepEvent(Event, frozen=True, kw_only=True):
    """What every event of a step carries."""

    step: Annotated[str, Meta(description="id of the step")]


class StepStarted(StepEvent, frozen=True, kw_only=True, tag="step.started"):
    """An attempt began."""

    attempt: Annotated[int, Meta(ge=1, description="counted from 1 over the life of the run")]
    player: Annotated[str, Meta(description="name of the extension")]
    instance: Annotated[str, Meta(description="name of the process on the bus")]
    pid: Annotated[int | None, Meta(description="its process id on the host")] = None
    sandbox: Annotated[
        SandboxLevel | None, Meta(description="the sandbox level really in force")
    ] = None
    grant: Annotated[
        str | None, Meta(description="Arbitration's grant: symphony-kernel why GRANT explains it")
    ] = None


class StepProgress(StepEvent, frozen=True, kw_only=True, tag="step.progress"):
    """A sign of progress; not kept in the journal."""

    done: Annotated[float, Meta(description="how much is done")]
    total: Annotated[float | None, Meta(description="of how much, where known")] = None
    message: Annotated[str, Meta(description="for people")] = ""


class StepFinished(StepEvent, frozen=True, kw_only=True, tag="step.finished"):
    """The step succeeded and its result is durable: once in the life of a run."""

    attempt: Attempt
    outputs: Annotated[dict[str, Any], Meta(description="name → artifact reference")]
    quality: Annotated[float | None, Meta(description="0 to 1 where it was judged")] = None


class ErrorInfo(Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """Why an attempt failed."""

    class_: Annotated[str, Meta(description="error code, or the provider's own name for it")]
    message: Annotated[str, Meta(description="what went wrong, for people")]
    fault: Annotated[Fault, Meta(description="who must change something")]


class StepFailed(StepEvent, frozen=True, kw_only=True, tag="step.failed"):
    """An attempt failed; a decision on what follows comes next."""

    attempt: Attempt
    error: Annotated[ErrorInfo, Meta(description="what went wrong, and whose fault it is")]
    exit: Annotated[str | None, Meta(description="how the process ended, if it did")] = None


class StepSkipped(StepEvent, frozen=True, kw_only=True, tag="step.skipped"):
    """The step will not run."""

    reason: Annotated[str, Meta(description="why it was left out")]


class Decision(Event, frozen=True, kw_only=True, tag="decision"):
    """What the Conductor chose to do."""

    action: Annotated[
        str,
        Meta(
            description="what happens next",
            examples=["activate", "retry", "fallback", "skip", "fail"],
        ),
    ]
    step: Annotated[str | None, Meta(description="id of the step it is about")] = None
    player: Annotated[str | None, Meta(description="the extension chosen, if any")] = None
    by: Annotated[str, Meta(description="rule, the policy's name, or a person")]
    reason: Annotated[str, Meta(description="one line")]


class Gate(Event, frozen=True, kw_only=True, tag="gate"):
    """A quality gate judged a result."""

    step: Annotated[str, Meta(description="id of the step")]
    gate: Annotated[str, Meta(description="which check: type, expression or min_quality")]
    passed: Annotated[bool, Meta(description="whether the result was good enough")]
    score: Annotated[float | None, Meta(description="the quality judged, 0 to 1")] = None
    reason: Annotated[str, Meta(description="what was seen, in one line")]


class BudgetWarning(Event, frozen=True, kw_only=True, tag="budget.warning"):
    """Most of a budget is spent, or all of it: told once each in a run that spends of it."""

    budget: Annotated[str, Meta(description="its name in pit.toml")]
    who: Annotated[str | None, Meta(description="the run, tenant or day that it counts for")] = None
    resource: Annotated[str, Meta(description="what is spent")]
    spent: Annotated[int, Meta(description="so far, in its smallest unit")]
    limit: Annotated[int, Meta(description="from here on nothing is granted")]
    state: Annotated[
        Literal["warning", "spent"], Meta(description="warning: from the percent of pit.toml on")
    ]


class Delivered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result of a run."""

    reference: Reference
    path: Annotated[str | None, Meta(description="where it was delivered, if it was")] = None


class RunFinished(Event, frozen=True, kw_only=True, tag="run.finished"):
    """The end of the run."""

    outcome: Annotated[Outcome, Meta(description="how it ended")]
    artifacts: Annotated[dict[str, Delivered], Meta(description="what the Melody's outputs name")]
    metrics: Annotated[dict[str, Any], Meta(description="counts and durations")]


RunEvent = (
    RunOpened
    | RunResumed
    | StepStarted
    | StepProgress
    | StepFinished
    | StepFailed
    | StepSkipped
    | Decision
    | Gate
    | BudgetWarning
    | RunFinished
)
