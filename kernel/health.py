"""Whether a member of the Pit does what it is asked: health by useful work, not by heartbeats.

Sans-IO. Time is counted in beats of `BEAT_S` while something is asked: a kernel that was itself
stopped for a while takes nobody for hung when it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BEAT_S = 1.0
USUAL_S: Final = 30  # without an answer to anything
PATIENCE: Final = 10  # times as long, for one call beside others that are answered
PROBE: Final = "stats"  # what one is asked of whom every call waits by its nature
_WAITS: Final = {("pit.arbitration/1", "request"), ("pit.pool/1", "acquire")}
_LONGER_S: Final[Mapping[tuple[str, str], int]] = {
    ("pit.artifacts/1", "collect"): 600,
    ("pit.artifacts/1", "stage"): 600,
    ("pit.artifacts/1", "verify"): 300,
    ("pit.artifacts/1", "sweep"): 600,
    ("pit.artifacts/1", "pack"): 3600,
    ("pit.artifacts/1", "rotate"): 3600,
    ("pit.artifacts/1", "backup"): 3600,
    ("pit.archive/1", "commit"): 600,
    ("pit.stale/1", "plan"): 300,
    ("pit.stale/1", "run"): 3600,  # since its last progress
    ("pit.stale/1", "restore"): 3600,
    ("pit.stale/1", "cleanup"): 600,
}


@dataclass(eq=False)
class Job:
    """One call that is not answered yet; `hung`: the member was ended over it."""

    method: str
    limit_s: int | None  # None: it may wait for as long as it likes
    beats: int = 0
    hung: bool = False


@dataclass
class Health:
    """One member's calls."""

    capability: str
    _jobs: set[Job] = field(default_factory=set)
    _idle: int = 0  # beats since anything was answered, or asked of one that had nothing to do

    def asked(self, method: str) -> Job:
        """A call begins."""
        key = self.capability, method
        job = Job(method, None if key in _WAITS else _LONGER_S.get(key, USUAL_S))
        if not any(other.limit_s for other in self._jobs):
            self._idle = 0
        self._jobs.add(job)
        return job

    def over(self, job: Job, *, answered: bool) -> None:
        """A call is over; `answered`: by the member itself."""
        self._jobs.discard(job)
        if answered:
            self.worked()

    def worked(self) -> None:
        """It showed that it works."""
        self._idle = 0

    @property
    def busy(self) -> bool:
        """Whether it owes an answer."""
        return bool(self._jobs)

    @property
    def waited_for(self) -> bool:
        """Whether it should be asked how it is: it only lets wait, and has for as long as any other
        call may take."""
        return self._idle >= USUAL_S and not any(job.limit_s for job in self._jobs)

    def beat(self) -> str | None:
        """`BEAT_S` have passed. Why it is taken for hung, if it is."""
        self._idle += 1
        due = [job for job in self._jobs if job.limit_s]
        limit = max((job.limit_s or 0 for job in due), default=0)
        for job in due:
            job.beats += job.limit_s == limit  # what waits behind a longer one is not late
        late = [job for job in due if job.beats >= limit * PATIENCE]
        if due and self._idle >= limit:
            late = due
        if not late:
            return None
        self._idle = 0
        for job in late:
            job.beats, job.hung = 0, True
        first = max(late, key=lambda job: job.limit_s or 0)
        return f"it did no work for {limit} s over `{first.method}`: taken for hung"
