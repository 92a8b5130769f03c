"""From a journal record to the event of the machine interface. Pure.

The same function serves the live run and reading a journal back, so both tell the same story.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from .events import (
    BudgetWarning,
    Decision,
    Delivered,
    ErrorInfo,
    Gate,
    RunEvent,
    RunFinished,
    RunOpened,
    RunResumed,
    StepFailed,
    StepFinished,
    StepProgress,
    StepSkipped,
    StepStarted,
)

STRIDE = 1000  # seq numbers per record; those between two records are for progress
Record = Mapping[str, Any]


def project(run: str, record: Record) -> RunEvent | None:
    """The event of one record; None for records that are no event."""
    make = _EVENTS.get(record["kind"])
    if make is None:
        return None
    common = {"seq": record["index"] * STRIDE, "ts": record["ts"], "run": run}
    if record.get("step"):
        common["step"] = record["step"]
    if record["kind"] in ("started", "completed", "failed"):
        common["attempt"] = record.get("attempt") or 0
    return make(common, record.get("data") or {})


def progress_event(seq: int, ts: str, run: str, step: str, body: Mapping[str, Any]) -> StepProgress:
    """A step's progress as an event."""
    return StepProgress(
        seq=seq,
        ts=ts,
        run=run,
        step=step,
        done=body["done"],
        total=body.get("total"),
        message=body.get("message", ""),
    )


def failing_instance(events: Iterable[RunEvent]) -> str | None:
    """The instance at whose failure the run failed: its log may say more."""
    instances: dict[str, str] = {}
    last: str | None = None
    blamed: str | None = None
    for event in events:
        match event:
            case StepStarted():
                instances[event.step] = event.instance
            case StepFailed():
                last = instances.get(event.step)
            case Decision(action="fail"):  # a step that never began fails for another's sake
                blamed = instances.get(event.step or "", last)
    return blamed


def _references(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.get("ref", "") for name, value in values.items()}


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.get("value", value.get("ref")) for name, value in values.items()}


def _opened(common: dict[str, Any], data: Record) -> RunEvent:
    return RunOpened(
        **common,
        melody=data["melody"],
        version=data["version"],
        inputs=_shown(data["inputs"]),
    )


def _resumed(common: dict[str, Any], data: Record) -> RunEvent:
    return RunResumed(
        **common,
        melody=data["melody"],
        version=data["version"],
        inputs=_shown(data["inputs"]),
        from_seq=data["from"] * STRIDE,
    )


def _started(common: dict[str, Any], data: Record) -> RunEvent:
    return StepStarted(**common, **data)


def _completed(common: dict[str, Any], data: Record) -> RunEvent:
    return StepFinished(
        **common,
        outputs=_references(data.get("outputs", {})),
        quality=data.get("quality"),
    )


def _failed(common: dict[str, Any], data: Record) -> RunEvent:
    return StepFailed(
        **common,
        error=msgspec.convert(data["error"], ErrorInfo),
        exit=data["error"].get("exit"),
    )


def _skipped(common: dict[str, Any], data: Record) -> RunEvent:
    return StepSkipped(**common, reason=data["reason"])


def _decision(common: dict[str, Any], data: Record) -> RunEvent:
    return Decision(**common, **data)


def _gate(common: dict[str, Any], data: Record) -> RunEvent:
    return Gate(**common, **data)


def _noted(common: dict[str, Any], data: Record) -> RunEvent | None:
    """What the kernel notes: a budget as `pit.arbitration/1 charge` tells it."""
    row = data.get("budget")
    if row is None:
        return None
    names = ("who", "resource", "spent", "limit", "state")
    told = {name: row[name] for name in names if name in row}
    return BudgetWarning(**common, budget=row["name"], **told)


def _finished(common: dict[str, Any], data: Record) -> RunEvent:
    return RunFinished(
        **common,
        outcome=data["outcome"],
        artifacts=msgspec.convert(data["data"]["artifacts"], dict[str, Delivered]),
        metrics=data["data"]["metrics"],
    )


_EVENTS: dict[str, Callable[[dict[str, Any], Record], RunEvent | None]] = {
    "opened": _opened,
    "resumed": _resumed,
    "started": _started,
    "completed": _completed,
    "failed": _failed,
    "skipped": _skipped,
    "decision": _decision,
    "gate": _gate,
    "noted": _noted,
    "finished": _finished,
}
