"""Questions about runs and artifacts, answered in the form of the machine interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from symphony.bus.errors import BusError

from . import answers, events
from .errors import ExitCode, SymphonyError, from_bus
from .journal import whole_state
from .tracing import trace_id

Ask = Callable[[str, str, Mapping[str, object]], Awaitable[Any]]
"""Calls (capability, method, arguments) wherever the Pit runs."""

DAG = "pit.dag/1"
STORE = "pit.artifacts/1"
REFERENCE = len("blake3:") + 64
CHUNK = 256 * 1024


async def runs(ask: Ask, limit: int, playing: frozenset[str]) -> answers.Runs:
    """The newest runs."""
    reply = await ask(DAG, "runs", {"limit": limit})
    found = msgspec.convert(reply["runs"], list[answers.RunSummary])
    return answers.Runs(
        runs=[
            msgspec.structs.replace(run, state="running") if run.run in playing else run
            for run in found
        ]
    )


async def run(ask: Ask, name: str, log: Callable[[str], Path]) -> answers.Run:
    """One run with its steps; ``log`` tells where an instance's log is."""
    try:
        state = await whole_state(partial(ask, DAG), name)
    except BusError as error:
        raise no_run(name, error) from error
    players: dict[str, str] = {}
    logs: dict[str, Path] = {}
    reasons: dict[str, str] = {}
    artifacts: dict[str, events.Delivered] = {}
    async for record in journal(ask, name):
        data = record.get("data") or {}
        match record["kind"]:
            case "started":
                players[record["step"]] = data.get("player", "")
                logs[record["step"]] = log(data.get("instance", ""))
            case "skipped":
                reasons[record["step"]] = data.get("reason", "")
            case "failed":
                reasons[record["step"]] = _failure(data["error"], logs.get(record["step"]))
            case "finished":
                artifacts = msgspec.convert(data["data"]["artifacts"], dict[str, events.Delivered])
    steps = [
        answers.StepInfo(
            id=step["id"],
            state=step["state"],
            attempt=step["attempt"],
            player=players.get(step["id"]),
            quality=step.get("quality"),
            outputs={
                key: value.get("ref", "") for key, value in (step.get("outputs") or {}).items()
            },
            reason=reasons.get(step["id"]) if step["state"] in ("failed", "skipped") else None,
        )
        for step in state["steps"]
    ]
    ended = sum(step.state in ("succeeded", "failed", "skipped") for step in steps)
    return answers.Run(
        run=name,
        melody=state["melody"],
        version=state["version"],
        state=state["state"],
        opened=state["opened"],
        finished=state.get("finished"),
        steps=len(steps),
        ended=ended,
        digest=state["digest"],
        trace=trace_id(name),
        inputs={
            key: value.get("value", value.get("ref")) for key, value in state["inputs"].items()
        },
        step_list=steps,
        artifacts=artifacts,
    )


def _failure(error: Mapping[str, Any], log: Path | None) -> str:
    said = f"{error['class']}: {error['message']}"
    return said if log is None else f"{said}; see the log {log}"


def no_run(name: str, error: BusError) -> SymphonyError:
    """The tracker's refusal to tell of a run, as an error of the command."""
    if error.code not in ("not-found", "bad-request"):
        return from_bus(error, f"run {name}")
    return SymphonyError(
        ExitCode.NOT_FOUND,
        "there is no such run",
        where=name,
        help="see `symphony-kernel runs list`",
    )


async def journal(ask: Ask, name: str) -> AsyncIterator[dict[str, Any]]:
    """All records of a run, page by page."""
    after, more = 0, True
    while more:
        reply = await ask(DAG, "journal", {"run": name, "after": after})
        for record in reply["records"]:
            after = record["index"]
            yield record
        more = reply["more"]


async def artifacts(ask: Ask, limit: int, filters: Mapping[str, str]) -> answers.Artifacts:
    """The newest artifacts, by name, run, step or player where asked."""
    reply = await ask(STORE, "list", {"limit": limit, **filters})
    return answers.Artifacts(artifacts=msgspec.convert(reply["artifacts"], list[answers.Artifact]))


async def resolve(ask: Ask, reference: str) -> answers.Artifact:
    """The artifact with this reference or the beginning of one, or the newest of this name."""
    begun = reference.removesuffix("…")
    try:
        if reference.startswith("blake3:") and len(begun) < REFERENCE:
            reply = await ask(STORE, "list", {"limit": 1000})
            same = {a["ref"]: a for a in reply["artifacts"] if a["ref"].startswith(begun)}
            reply = {"artifacts": list(same.values()) if len(same) == 1 else []}
        elif reference.startswith("blake3:"):
            reply = await ask(STORE, "stat", {"refs": [reference]})
        else:
            reply = await ask(STORE, "list", {"name": reference, "limit": 1})
    except BusError as error:
        if error.code not in ("not-found", "bad-request"):
            raise
        reply = {"artifacts": []}
    if not reply["artifacts"]:
        raise SymphonyError(
            ExitCode.NOT_FOUND,
            "there is no such artifact",
            where=reference,
            help="see `symphony-kernel artifacts list`",
        )
    return msgspec.convert(reply["artifacts"][0], answers.Artifact)


async def read(ask: Ask, reference: str) -> AsyncIterator[bytes]:
    """The bytes of a file artifact, in pieces."""
    offset, more = 0, True
    while more:
        reply = await ask(STORE, "get", {"ref": reference, "offset": offset, "limit": CHUNK})
        offset += len(reply["data"])
        more = reply["more"]
        yield reply["data"]
