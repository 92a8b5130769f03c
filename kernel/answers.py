"""The answers of `--json` as types: what a program reads from a command."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from .events import Delivered, Reference, Time

Name = Annotated[str, Meta(description="name of the extension")]
ExtensionVersion = Annotated[str, Meta(description="version of the extension")]
DatapathName = Literal["native", "reference"]
Folder = Annotated[str, Meta(description="where it lies")]


class InstanceInfo(Struct, frozen=True, kw_only=True):
    """An extension as a running kernel sees it."""

    name: Name
    version: ExtensionVersion
    instance: Annotated[str | None, Meta(description="its process on the bus, if one runs")]
    state: Annotated[str, Meta(description="its state in Chambering")]
    sandbox: Annotated[str, Meta(description="the sandbox level really in force")]
    pid: Annotated[int | None, Meta(description="its process id on the host, if one runs")]
    provides: Annotated[list[str], Meta(description="capabilities")]


class Degraded(Struct, frozen=True, kw_only=True):
    """A member of the Pit that is away."""

    member: Annotated[str, Meta(description="name of the member")]
    effect: Annotated[str, Meta(description="what that means for the user")]
    reason: Annotated[str | None, Meta(description="why it will not come by itself")] = None

    def __str__(self) -> str:
        why = f"; {self.reason}" if self.reason else ""
        return f"degraded: no {self.member}: {self.effect}{why}"


class RunSummary(Struct, frozen=True, kw_only=True):
    """One run in a list."""

    run: Annotated[str, Meta(description="the run's id")]
    melody: Annotated[str, Meta(description="name of the Melody")]
    version: Annotated[str, Meta(description="version of the Melody")]
    state: Annotated[
        Literal["open", "running", "succeeded", "failed", "aborted", "corrupt"],
        Meta(
            description="open: begun and not finished; running: a kernel plays it now; "
            "corrupt: its journal is damaged"
        ),
    ]
    opened: Annotated[Time, Meta(description="when it began")]
    finished: Annotated[Time | None, Meta(description="when it ended, if it did")] = None
    steps: Annotated[int, Meta(description="how many the Melody has")]
    ended: Annotated[int, Meta(description="how many have succeeded, failed or been skipped")]


class Status(Struct, frozen=True, kw_only=True):
    """Answer of `status --json`."""

    state: Annotated[
        Literal["running", "degraded", "stopping"],
        Meta(description="degraded: a part is away, see there what that means"),
    ]
    version: Annotated[str, Meta(description="version of the kernel")]
    pid: Annotated[int, Meta(description="its process id")]
    uptime_s: Annotated[float, Meta(description="seconds since it began to serve")]
    runs: Annotated[list[RunSummary], Meta(description="the runs being played")]
    extensions: Annotated[list[InstanceInfo], Meta(description="the processes on the bus")]
    degraded: Annotated[list[Degraded], Meta(description="what is away")]
    datapath: Annotated[DatapathName, Meta(description="what moves the messages of the bus")]
    restarts: Annotated[int, Meta(ge=0, description="how often the bus was started anew")]
    member_ends: Annotated[
        dict[str, Annotated[int, Meta(ge=1)]],
        Meta(
            description="how often the process of each member of the Pit has ended; it is started "
            "again until `degraded` has a reason why not"
        ),
    ]
    refusals: Annotated[
        int, Meta(ge=0, description="calls and connections refused so far; `bus` lists them")
    ]
    listen: Annotated[str | None, Meta(description="where consoles elsewhere connect")] = None


class Runs(Struct, frozen=True, kw_only=True):
    """Answer of `runs list --json`, newest first."""

    runs: Annotated[list[RunSummary], Meta(description="all runs of the home")]


class StepInfo(Struct, frozen=True, kw_only=True):
    """One step of a run."""

    id: Annotated[str, Meta(description="its id in the Melody")]
    state: Annotated[
        Literal["pending", "ready", "running", "succeeded", "failed", "skipped"],
        Meta(description="pending: it waits for other steps; ready: it may begin"),
    ]
    attempt: Annotated[int, Meta(ge=0, description="attempts begun so far")]
    player: Annotated[str | None, Meta(description="the extension that played it last")] = None
    quality: Annotated[float | None, Meta(description="0 to 1 where it was judged")] = None
    outputs: Annotated[dict[str, Any], Meta(description="name → artifact reference")]
    reason: Annotated[str | None, Meta(description="why it failed or was skipped")] = None


class Run(RunSummary, frozen=True, kw_only=True):
    """Answer of `runs show RUN --json`."""

    digest: Annotated[str, Meta(description="BLAKE2b of the Melody's canonical JSON")]
    trace: Annotated[str, Meta(description="W3C trace id of its calls, as in the logs")]
    inputs: Annotated[dict[str, Any], Meta(description="input values; files as references")]
    step_list: Annotated[list[StepInfo], Meta(description="in the order of the Melody")]
    artifacts: Annotated[dict[str, Delivered], Meta(description="what the run has delivered")]


class Lineage(Struct, frozen=True, kw_only=True):
    """Who made an artifact, from what."""

    run: Annotated[str | None, Meta(description="the run's id")] = None
    step: Annotated[str | None, Meta(description="id of the step")] = None
    attempt: Annotated[int | None, Meta(description="which attempt of the step")] = None
    player: Annotated[str | None, Meta(description="the extension that made it")] = None
    version: Annotated[str | None, Meta(description="version of the player")] = None
    inputs: Annotated[list[Reference], Meta(description="the artifacts it was made from")] = []


class Artifact(Struct, frozen=True, kw_only=True):
    """Answer of `artifacts show REF --json`, and one of a list."""

    ref: Reference
    kind: Annotated[Literal["file", "folder"], Meta(description="what it is")]
    bytes: Annotated[int, Meta(description="its size; of a folder, that of all its files")]
    name: Annotated[str | None, Meta(description="its usual file name")] = None
    media: Annotated[str | None, Meta(description="its media type")] = None
    files: Annotated[int | None, Meta(description="of a folder: how many files")] = None
    created: Annotated[Time | None, Meta(description="when it was first stored")] = None
    made: Annotated[Lineage | None, Meta(description="who made it, from what")] = None
    quality: Annotated[int | None, Meta(description="0 to 1000, where something is known")] = None
    tags: Annotated[list[str], Meta(description="in the order of the alphabet")] = []


class Artifacts(Struct, frozen=True, kw_only=True):
    """Answer of `artifacts list --json`, newest first."""

    artifacts: Annotated[list[Artifact], Meta(description="what the store holds")]
    archived: Annotated[
        int | None, Meta(description="contents that are only archived; null: nobody can tell")
    ] = None


class ArchivedArtifact(Struct, frozen=True, kw_only=True):
    """One that is in the archive alone."""

    ref: Reference
    name: Annotated[str | None, Meta(description="its usual file name")] = None
    bytes: Annotated[int, Meta(description="its size; of a folder, of what was archived with it")]
    place: Annotated[str, Meta(description="the archive: a capability, or built-in")]
    archived: Annotated[Time, Meta(description="when it was copied there")]
    freed: Annotated[Time, Meta(description="since when it is not here")]
    runs: Annotated[list[str], Meta(description="that made it")]


class ArchivedArtifacts(Struct, frozen=True, kw_only=True):
    """Answer of `artifacts list --archived --json`, newest first."""

    archived: Annotated[list[ArchivedArtifact], Meta(description="what `stale restore` takes")]
    more: Annotated[bool, Meta(description="whether --limit left something out")]


class ProblemInfo(Struct, frozen=True, kw_only=True):
    """One fault in a document."""

    message: Annotated[str, Meta(description="what is wrong")]
    where: Annotated[str | None, Meta(description="file and line, or option")] = None
    help: Annotated[str | None, Meta(description="what to do about it")] = None


class ExtensionInfo(Struct, frozen=True, kw_only=True):
    """An installed extension."""

    name: Name
    version: ExtensionVersion
    description: Annotated[str, Meta(description="what it does, from its manifest")]
    folder: Folder
    origin: Annotated[
        Literal["bundled", "installed", "attached"], Meta(description="where it came from")
    ]
    sandbox: Annotated[str, Meta(description="the level it will get, or has if it runs")]
    provides: Annotated[list[str], Meta(description="capabilities")]
    granted: Annotated[dict[str, Any], Meta(description="permissions it has")]
    missing: Annotated[list[str], Meta(description="permissions it asks for and does not have")]


class BrokenExtension(Struct, frozen=True, kw_only=True):
    """A folder that should hold an extension and does not hold a valid one."""

    name: Annotated[str, Meta(description="name of the folder")]
    folder: Folder
    problems: Annotated[list[ProblemInfo], Meta(description="every fault of its manifest")]


class Extensions(Struct, frozen=True, kw_only=True):
    """Answer of `symphony-ext list --json`."""

    extensions: Annotated[list[ExtensionInfo], Meta(description="those that can be used")]
    broken: Annotated[list[BrokenExtension], Meta(description="those that cannot")] = []


class Check(Struct, frozen=True, kw_only=True):
    """Answer of `symphony-ext check FOLDER --json`."""

    ok: Annotated[bool, Meta(description="whether the manifest is valid")]
    name: Annotated[str | None, Meta(description="name of the extension, if valid")] = None
    version: Annotated[str | None, Meta(description="its version, if valid")] = None
    provides: Annotated[list[str], Meta(description="capabilities, if valid")] = []
    problems: Annotated[list[ProblemInfo], Meta(description="every fault with its line")] = []
    error: Annotated[
        dict[str, Any] | None,
        Meta(description="the first problem, as every failed command says it"),
    ] = None


class Key(Struct, frozen=True, kw_only=True):
    """A CURVE key: answer of `keys new`, and one of a list; never its secret."""

    name: Annotated[str, Meta(description="what the other keys commands take")]
    public: Annotated[str, Meta(description="its public half, in Z85")]
    created: Annotated[Time, Meta(description="when it was made")]


class Keys(Struct, frozen=True, kw_only=True):
    """Answer of `keys list --json`."""

    hub: Annotated[Key | None, Meta(description="the kernel's own, once it was needed")]
    keys: Annotated[list[Key], Meta(description="of consoles elsewhere that are let in")]


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A call or event that reached nobody: answer of `deadletter show`, and one of a list."""

    id: Annotated[str, Meta(description="what the other deadletter commands take")]
    kind: Annotated[Literal["call", "event"], Meta(description="what it was")]
    sender: Annotated[str, Meta(description="the extension that sent it, kernel or console")]
    addressee: Annotated[
        str, Meta(description="the instance that did not get it; empty: there was none")
    ]
    name: Annotated[str, Meta(description="the capability or topic")]
    method: Annotated[str | None, Meta(description="of a call: the method, if it named one")]
    code: Annotated[str, Meta(description="why, as the code of an error of the bus")]
    times: Annotated[int, Meta(ge=1, description="how often")]
    first: Annotated[Time, Meta(description="when for the first time")]
    last: Annotated[Time, Meta(description="when for the last time")]
    bytes: Annotated[int, Meta(ge=0, description="size of what it carried")]
    body: Annotated[
        Any,
        Meta(
            description="what it carried, only in the answer of show; what JSON cannot hold as "
            "{$bytes: hex}, {$ext: [type, hex]}, {$float: text}, {$text: hex}, {$map: pairs}, and "
            "what is no single value as {$msgpack: hex}"
        ),
    ] = None


class DeadLetters(Struct, frozen=True, kw_only=True):
    """Answer of `deadletter list --json`, newest first."""

    letters: Annotated[list[DeadLetter], Meta(description="what reached nobody")]
