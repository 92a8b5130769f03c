"""The machine interface as types: events of a run and the answers of `--json`.

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


class StepProgress(StepEvent, frozen=True, kw_only=True, tag="step.progress"):
    """A sign of progress; not kept in the journal."""

    done: Annotated[float, Meta(description="how much is done")]
    total: Annotated[float | None, Meta(description="of how much, where known")] = None
    message: Annotated[str, Meta(description="for people")] = ""


class StepFinished(StepEvent, frozen=True, kw_only=True, tag="step.finished"):
    """The step succeeded and its result is durable: once in the life of a run."""

    attempt: Annotated[int, Meta(ge=0)]
    outputs: Annotated[dict[str, Any], Meta(description="name → artifact reference")]
    quality: Annotated[float | None, Meta(description="0 to 1 where it was judged")] = None


class ErrorInfo(Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """Why an attempt failed."""

    class_: Annotated[str, Meta(description="error code, or the provider's own name for it")]
    message: str
    fault: Annotated[Fault, Meta(description="who must change something")]


class StepFailed(StepEvent, frozen=True, kw_only=True, tag="step.failed"):
    """An attempt failed; a decision on what follows comes next."""

    attempt: Annotated[int, Meta(ge=0)]
    error: ErrorInfo
    exit: Annotated[str | None, Meta(description="how the process ended, if it did")] = None


class StepSkipped(StepEvent, frozen=True, kw_only=True, tag="step.skipped"):
    """The step will not run."""

    reason: str


class Decision(Event, frozen=True, kw_only=True, tag="decision"):
    """What the Conductor chose to do."""

    action: Annotated[str, Meta(examples=["activate", "retry", "fallback", "skip", "fail"])]
    step: str | None = None
    player: str | None = None
    by: Annotated[str, Meta(description="rule, the policy's name, or a person")]
    reason: Annotated[str, Meta(description="one line")]


class Gate(Event, frozen=True, kw_only=True, tag="gate"):
    """A quality gate judged a result."""

    step: str
    gate: Annotated[str, Meta(description="which check: type, expression or min_quality")]
    passed: bool
    score: Annotated[float | None, Meta(description="the quality judged, 0 to 1")] = None
    reason: str


class Delivered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result of a run."""

    reference: Reference
    path: Annotated[str | None, Meta(description="where it was delivered, if it was")] = None


class RunFinished(Event, frozen=True, kw_only=True, tag="run.finished"):
    """The end of the run."""

    outcome: Outcome
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
    | RunFinished
)


class InstanceInfo(Struct, frozen=True, kw_only=True):
    """An extension as a running kernel sees it."""

    name: str
    version: str
    instance: Annotated[str | None, Meta(description="its process on the bus, if one runs")]
    state: Annotated[str, Meta(description="its state in Chambering")]
    sandbox: Annotated[str, Meta(description="the sandbox level really in force")]
    pid: int | None
    provides: Annotated[list[str], Meta(description="capabilities")]


class Degraded(Struct, frozen=True, kw_only=True):
    """A member of the Pit that is away."""

    member: str
    effect: Annotated[str, Meta(description="what that means for the user")]


class RunSummary(Struct, frozen=True, kw_only=True):
    """One run in a list."""

    run: str
    melody: str
    version: str
    state: Annotated[
        Literal["open", "running", "succeeded", "failed", "aborted", "corrupt"],
        Meta(
            description="open: begun and not finished; running: a kernel plays it now; "
            "corrupt: its journal is damaged"
        ),
    ]
    opened: Time
    finished: Time | None = None
    steps: Annotated[int, Meta(description="how many the Melody has")]
    ended: Annotated[int, Meta(description="how many have succeeded, failed or been skipped")]


class Status(Struct, frozen=True, kw_only=True):
    """Answer of `status --json`."""

    state: Literal["running", "degraded", "stopping"]
    version: Annotated[str, Meta(description="version of the kernel")]
    pid: int
    uptime_s: float
    runs: Annotated[list[RunSummary], Meta(description="the runs being played")]
    extensions: list[InstanceInfo]
    degraded: list[Degraded]


class Runs(Struct, frozen=True, kw_only=True):
    """Answer of `runs list --json`, newest first."""

    runs: list[RunSummary]


class StepInfo(Struct, frozen=True, kw_only=True):
    """One step of a run."""

    id: str
    state: Literal["pending", "ready", "running", "succeeded", "failed", "skipped"]
    attempt: Annotated[int, Meta(ge=0, description="attempts begun so far")]
    player: str | None = None
    quality: float | None = None
    outputs: Annotated[dict[str, Any], Meta(description="name → artifact reference")]
    reason: Annotated[str | None, Meta(description="why it failed or was skipped")] = None


class Run(RunSummary, frozen=True, kw_only=True):
    """Answer of `runs show RUN --json`."""

    digest: Annotated[str, Meta(description="BLAKE2b of the Melody's canonical JSON")]
    inputs: dict[str, Any]
    step_list: Annotated[list[StepInfo], Meta(description="in the order of the Melody")]
    artifacts: Annotated[dict[str, Delivered], Meta(description="what the run has delivered")]


class Lineage(Struct, frozen=True, kw_only=True):
    """Who made an artifact, from what."""

    run: str | None = None
    step: str | None = None
    attempt: int | None = None
    player: str | None = None
    version: Annotated[str | None, Meta(description="version of the player")] = None
    inputs: list[Reference] = []


class Artifact(Struct, frozen=True, kw_only=True):
    """Answer of `artifacts show REF --json`, and one of a list."""

    ref: Reference
    kind: Literal["file", "folder"]
    bytes: int
    name: str | None = None
    media: str | None = None
    files: Annotated[int | None, Meta(description="of a folder: how many files")] = None
    created: Time | None = None
    made: Lineage | None = None


class Artifacts(Struct, frozen=True, kw_only=True):
    """Answer of `artifacts list --json`, newest first."""

    artifacts: list[Artifact]


class ProblemInfo(Struct, frozen=True, kw_only=True):
    """One fault in a document."""

    message: str
    where: str | None = None
    help: str | None = None


class ExtensionInfo(Struct, frozen=True, kw_only=True):
    """An installed extension."""

    name: str
    version: str
    description: str
    folder: str
    origin: Annotated[
        Literal["bundled", "installed", "attached"], Meta(description="where it came from")
    ]
    sandbox: Annotated[str, Meta(description="the level it will get, or has if it runs")]
    provides: Annotated[list[str], Meta(description="capabilities")]
    granted: Annotated[dict[str, Any], Meta(description="permissions it has")]
    missing: Annotated[list[str], Meta(description="permissions it asks for and does not have")]


class BrokenExtension(Struct, frozen=True, kw_only=True):
    """A folder that should hold an extension and does not hold a valid one."""

    name: str
    folder: str
    problems: list[ProblemInfo]


class Extensions(Struct, frozen=True, kw_only=True):
    """Answer of `symphony-ext list --json`."""

    extensions: list[ExtensionInfo]
    broken: list[BrokenExtension] = []


class Check(Struct, frozen=True, kw_only=True):
    """Answer of `symphony-ext check FOLDER --json`."""

    ok: bool
    name: str | None = None
    version: str | None = None
    provides: list[str] = []
    problems: list[ProblemInfo] = []
    error: Annotated[
        dict[str, Any] | None,
        Meta(description="the first problem, as every failed command says it"),
    ] = None
