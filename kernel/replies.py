"""What the members of the Pit may answer: checked before the kernel reads it.

Any of them may be an extension of somebody's own. A reply that its contract does not know is told
as that member's fault, with the place; it never becomes a reference, a path or a bug of ours.
"""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import msgspec
from blake3 import blake3
from msgspec import Meta, Struct

from .errors import ExitCode, SymphonyError
from .members import ARBITRATION, ARTIFACT_STORE, DAG_TRACKER, POOL_MANAGER, STALE_MANAGER
from .values import Value

Ref = Annotated[str, Meta(pattern=r"\Ablake3:[0-9a-f]{64}\Z")]
Count = Annotated[int, Meta(ge=0)]
Index = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(min_length=1)]
Row = dict[str, Any]
LONGEST_NAME: Final = 128  # bytes
Line = Annotated[str, Meta(max_length=4096)]
WRONG: Final = "wrong-output"  # the code of such an error


class Put(Struct):
    """One of `put_many`."""

    ref: Ref


class Puts(Struct):
    """`put_many`."""

    items: list[Put]


class Taken(Struct):
    """One of `collect`."""

    ref: Ref
    kind: str
    name: str
    bytes: Count


class Collected(Struct):
    """`collect`."""

    items: list[Taken]


class Info(Struct):
    """An artifact, as far as the kernel reads it here."""

    ref: Ref
    kind: str
    bytes: Count


class Page(Struct):
    """`list`, `search` and `stat`."""

    artifacts: list[Info]
    next: str | None = None


class Version(Struct):
    """One of `versions`."""

    version: int
    ref: Ref
    there: bool
    info: Info | None = None


class Versions(Struct):
    """`versions`."""

    versions: list[Version]


class Node(Struct):
    """One of `lineage`."""

    ref: Ref
    there: bool


class Lineage(Struct):
    """`lineage`, in either form."""

    more: bool
    nodes: list[Node] = []
    edges: list[Row] = []
    events: list[Row] = []


class Data(Struct):
    """`get`."""

    data: bytes
    more: bool


class File(Struct):
    """One of `listing`."""

    ref: Ref


class Listing(Struct):
    """`listing`."""

    files: list[File]


class Verified(Struct):
    """`verify`."""

    blobs: Count
    bytes: Count
    bad: list[Ref]
    locked: Count | None = 0
    broken: int | None = None
    next: str | None = None


class Audit(Struct):
    """`audit`."""

    records: list[Row]
    next: int | None = None


class Diff(Struct):
    """`diff`."""

    same: bool
    diff: str


class Damage(Struct):
    """One of `named`."""

    path: str
    why: str


class Backup(Struct):
    """`backup`."""

    artifacts: Count = 0
    damaged: Count = 0
    named: list[Damage] = []


class Proof(Struct):
    """One of `proofs`."""

    number: int
    ref: Ref
    bytes: Count
    place: str
    archived: str
    runs: list[str]
    whole: Ref | None = None
    freed: str | None = None
    lost: str | None = None


class Proofs(Struct):
    """`proofs`."""

    proofs: list[Proof]
    next: int | None = None


class Restored(Struct):
    """`restore`."""

    restored: list[Put]
    missing: list[Ref]
    here: list[Ref] = []
    damaged: list[Ref] = []


class Tier(Struct):
    """Of one tier."""

    items: Count


class Report(Struct):
    """`report`."""

    tiers: dict[str, Tier]


class Plan(Struct):
    """A page of `plan`."""

    items: list[Row]
    next: str | None = None


class Holds(Struct):
    """`holds`."""

    holds: list[Row]
    next: str | None = None


class Events(Struct):
    """`events`."""

    events: list[Row]


Ready = list[tuple[Name, float]]  # steps with their ranks


class Opened(Struct):
    """`open`."""

    index: Index
    ready: Ready


class Written(Struct):
    """`grow` and `finish`: the record's place."""

    index: Index


class Appended(Struct):
    """`append`."""

    first: Index


class Skipped(Struct):
    """One of a cascade."""

    index: Index
    step: Name
    reason: str


class Ended(Struct):
    """`complete`, `fail` and `skip`."""

    index: Index
    ready: Ready
    left: Count
    cascade: list[Skipped] = []
    more: bool = False


class StepRow(Struct):
    """A step of a run's state."""

    id: Name
    state: Literal["pending", "ready", "running", "succeeded", "failed", "skipped"]
    attempt: Count
    outputs: dict[str, Value] | None = None
    quality: float | None = None


class RunState(Struct):
    """`state`: a page of it."""

    melody: str
    version: str
    digest: str
    state: str
    last: Index
    opened: str
    steps: list[StepRow]
    document: Any = None
    inputs: dict[str, Value] = {}
    ready: Ready = []
    more: bool = False


class Resumed(Struct):
    """`resume`."""

    index: Index
    run: RunState


class Record(Struct):
    """One of `journal`."""

    index: Index
    kind: str
    ts: str
    step: str | None = None
    attempt: int | None = None
    data: Row | None = None


class Records(Struct):
    """`journal`."""

    records: list[Record]
    more: bool


class Pair(Struct):
    """One of `learned`."""

    player: Name
    succeeded: Count
    failed: Count
    mean_ms: float


class Learned(Struct):
    """`learned`."""

    pairs: list[Pair]


class RunRow(Struct):
    """One of `runs`."""

    run: Name
    state: str


class RunList(Struct):
    """`runs`."""

    runs: list[RunRow]


class Granted(Struct):
    """`request`."""

    grant: Name
    reason: Line
    player: str | None = None

    def __post_init__(self) -> None:
        _require_name("grant", self.grant)


class Explained(Struct):
    """`explain`."""

    grant: Name

    def __post_init__(self) -> None:
        _require_name("grant", self.grant)


class Standing(Struct):
    """What was spent of a budget."""

    name: Name
    resource: str
    spent: Count
    limit: Count
    state: Literal["ok", "warning", "spent"]
    who: str | None = None


class Standings(Struct):
    """`charge` and `budgets`."""

    budgets: list[Standing]


class Fairness(Struct):
    """`fairness`."""

    tenants: Row


class Agreed(Struct):
    """`resync` of Arbitration."""

    unknown: list[Name]


class Leased(Struct):
    """`acquire`."""

    lease: Name
    instance: Name
    warm: bool


class Returned(Struct):
    """`release` of the Pool Manager."""

    spend: dict[str, Count] | None = None


class Surveyed(Struct):
    """`resync` of the Pool Manager."""

    kill: list[Name]
    lost: list[Name]


class Process(Struct):
    """An instance of a kind."""

    instance: Name


class Player(Struct):
    """A kind of `list`."""

    player: str
    instances: list[Process]


class Players(Struct):
    """`list` of the Pool Manager."""

    kinds: list[Player]


class Drained(Struct):
    """`drain`."""

    instances: list[Name]


SHAPES: Final[dict[tuple[str, str], type[Struct]]] = {
    (ARTIFACT_STORE.capability, "put_many"): Puts,
    (ARTIFACT_STORE.capability, "collect"): Collected,
    (ARTIFACT_STORE.capability, "stat"): Page,
    (ARTIFACT_STORE.capability, "list"): Page,
    (ARTIFACT_STORE.capability, "search"): Page,
    (ARTIFACT_STORE.capability, "versions"): Versions,
    (ARTIFACT_STORE.capability, "lineage"): Lineage,
    (ARTIFACT_STORE.capability, "get"): Data,
    (ARTIFACT_STORE.capability, "listing"): Listing,
    (ARTIFACT_STORE.capability, "verify"): Verified,
    (ARTIFACT_STORE.capability, "audit"): Audit,
    (ARTIFACT_STORE.capability, "diff"): Diff,
    (ARTIFACT_STORE.capability, "backup"): Backup,
    (DAG_TRACKER.capability, "open"): Opened,
    (DAG_TRACKER.capability, "grow"): Written,
    (DAG_TRACKER.capability, "append"): Appended,
    (DAG_TRACKER.capability, "complete"): Ended,
    (DAG_TRACKER.capability, "fail"): Ended,
    (DAG_TRACKER.capability, "skip"): Ended,
    (DAG_TRACKER.capability, "finish"): Written,
    (DAG_TRACKER.capability, "state"): RunState,
    (DAG_TRACKER.capability, "resume"): Resumed,
    (DAG_TRACKER.capability, "journal"): Records,
    (DAG_TRACKER.capability, "learned"): Learned,
    (DAG_TRACKER.capability, "runs"): RunList,
    (ARBITRATION.capability, "request"): Granted,
    (ARBITRATION.capability, "explain"): Explained,
    (ARBITRATION.capability, "charge"): Standings,
    (ARBITRATION.capability, "budgets"): Standings,
    (ARBITRATION.capability, "fairness"): Fairness,
    (ARBITRATION.capability, "resync"): Agreed,
    (POOL_MANAGER.capability, "acquire"): Leased,
    (POOL_MANAGER.capability, "release"): Returned,
    (POOL_MANAGER.capability, "resync"): Surveyed,
    (POOL_MANAGER.capability, "list"): Players,
    (POOL_MANAGER.capability, "drain"): Drained,
    (STALE_MANAGER.capability, "proofs"): Proofs,
    (STALE_MANAGER.capability, "restore"): Restored,
    (STALE_MANAGER.capability, "report"): Report,
    (STALE_MANAGER.capability, "plan"): Plan,
    (STALE_MANAGER.capability, "holds"): Holds,
    (STALE_MANAGER.capability, "events"): Events,
}


def checked(capability: str, method: str, reply: Any) -> Any:
    """The reply as it came. Raises `SymphonyError` where it is not in the contract's form."""
    try:
        msgspec.convert(reply, SHAPES.get((capability, method), Row))
    except msgspec.ValidationError as error:
        raise broken(capability, method, str(error)) from error
    return reply


@contextlib.contextmanager
def read_as(capability: str, method: str) -> Iterator[None]:
    """Around reading what replies hold deep inside: raises `SymphonyError` where it is not there
    or something else."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise broken(capability, method, f"{type(error).__name__}: {error}") from error


def broken(capability: str, method: str, why: str) -> SymphonyError:
    """The member does not keep to its contract."""
    return SymphonyError(
        ExitCode.UNAVAILABLE,
        f"the result of `{method}` of {capability} is not what its contract says: {why}",
        where=capability,
        help="another version of the member is needed, or another member: "
        f"`symphony-ext test FOLDER --contract {capability}` names its faults",
        fault="provider",
        name=WRONG,
    )


def is_name(text: str) -> bool:
    """Whether the contracts take it for a name or id: 1 to 128 bytes without control characters."""
    size = len(text.encode(errors="replace"))
    return 0 < size <= LONGEST_NAME and not any(unicodedata.category(it) == "Cc" for it in text)


def _require_name(field: str, text: str) -> None:
    if not is_name(text):
        raise ValueError(f"`{field}` is no name (1 to {LONGEST_NAME} bytes of text)")


def reference_of(data: bytes) -> str:
    """The reference that these bytes have."""
    return f"blake3:{blake3(data).hexdigest()}"
