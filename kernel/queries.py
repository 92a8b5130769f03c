"""Questions about runs and artifacts, answered in the form of the machine interface."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from symphony.bus.errors import BusError

from . import answers, archived, events
from .errors import ExitCode, SymphonyError, from_bus
from .journal import require_order, whole_state
from .replies import broken
from .tracing import trace_id

Ask = Callable[[str, str, Mapping[str, object]], Awaitable[Any]]
"""Calls (capability, method, arguments) wherever the Pit runs."""

DAG = "pit.dag/1"
STORE = "pit.artifacts/1"
REFERENCE = len("blake3:") + 64
CHUNK = 256 * 1024
PAGE = 1000


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
                logs.pop(record["step"], None)
                if instance := data.get("instance"):  # one that was not let begin has none
                    logs[record["step"]] = log(instance)
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
        require_order(reply, after)
        for record in reply["records"]:
            after = record["index"]
            yield record
        more = reply["more"]


async def artifacts(ask: Ask, limit: int, filters: Mapping[str, str]) -> answers.Artifacts:
    """The newest artifacts, by name, run, step or player where asked."""
    found: list[Any] = []
    async for page, _ in pages(ask, "list", filters, min(limit, PAGE)):
        found += page["artifacts"][: limit - len(found)]
        if len(found) == limit:
            break
    listed = msgspec.convert(found, list[answers.Artifact])
    return answers.Artifacts(artifacts=listed, archived=await archived.count(ask))


async def pages(
    ask: Ask, method: str, args: Mapping[str, object], size: int
) -> AsyncIterator[tuple[dict[str, Any], bool]]:
    """The pages of a method of the store that goes on behind a cursor, and whether one follows."""
    following: Mapping[str, object] = {}
    while True:
        page = await ask(STORE, method, {**args, "limit": size, **following})
        more = page.get("next") is not None
        yield page, more
        if not more:
            return
        if following == {"after": page["next"]}:
            raise broken(STORE, method, "its pages do not go on")
        following = {"after": page["next"]}


async def resolve(ask: Ask, reference: str) -> answers.Artifact:
    """The artifact with this reference or the beginning of one, the newest of this name, or, by
    NAME@NUMBER, that version of it."""
    try:
        if reference.startswith("blake3:"):
            found = await _by_reference(ask, reference)
        else:
            found = await _by_name(ask, reference)
    except BusError as error:
        if error.code not in ("not-found", "bad-request"):
            raise
        found = None
    if found is None:
        raise await archived.missing(ask, reference)
    return msgspec.convert(found, answers.Artifact)


async def reference_of(ask: Ask, name: str) -> str:
    """The reference of an artifact, of one that is archived or deleted too."""
    try:
        return (await resolve(ask, name)).ref
    except archived.GoneError as gone:
        return gone.ref


async def whole_reference(ask: Ask, begun: str, known: Iterable[str] = ()) -> str:
    """The one reference, of the store or of those that are known, that begins like this."""
    found = await _beginning(ask, begun, known)
    if found is None:
        raise archived.nowhere(begun)
    return found


async def _beginning(ask: Ask, begun: str, known: Iterable[str] = ()) -> str | None:
    digits = begun.removesuffix("…")
    found = set(known)
    async for page, _ in pages(ask, "list", {}, PAGE):
        found |= {info["ref"] for info in page["artifacts"] if info["ref"].startswith(digits)}
        if len(found) > 1:
            raise SymphonyError(
                ExitCode.NOT_FOUND,
                f"several artifacts begin like this: {', '.join(sorted(found)[:5])}",
                where=begun,
                help="write more of its digits",
            )
    return found.pop() if found else None


async def _by_reference(ask: Ask, reference: str) -> Any:
    """INFO of the one artifact whose reference begins like this."""
    whole: str | None = reference
    if len(reference.removesuffix("…")) < REFERENCE:
        whole = await _beginning(ask, reference)
    if whole is None:
        return None
    infos = (await ask(STORE, "stat", {"refs": [whole]}))["artifacts"]
    if [info["ref"] for info in infos] != [whole]:
        raise broken(STORE, "stat", "it does not tell of what it was asked for")
    return infos[0]


async def _by_name(ask: Ask, name: str) -> Any:
    """INFO of the newest artifact of this name, or of NAME@NUMBER."""
    newest = await archived.version_of(ask, name)
    if newest is None or (newest["there"] and "@" not in name):
        reply = await ask(STORE, "list", {"name": name, "limit": 1})
        return next(iter(reply["artifacts"]), None)
    return newest.get("info")  # none: it is not here any more, and an older one is not meant


async def read(ask: Ask, reference: str, **more_args: object) -> AsyncIterator[bytes]:
    """The bytes of a file artifact, in pieces; of a folder, those of its listing.

    Raises BusError `corrupt` at their end where they are not those of the reference.
    """
    offset, more, hasher = 0, True, blake3()
    while more:
        args = {"ref": reference, "offset": offset, "limit": CHUNK, **more_args}
        reply = await ask(STORE, "get", args)
        offset += len(reply["data"])
        more = reply["more"]
        if more and not (reply["data"] and offset < reply["bytes"]):
            raise broken(STORE, "get", "its pages do not go on, or never end")
        hasher.update(reply["data"])
        yield reply["data"]
    if f"blake3:{hasher.hexdigest()}" != reference:
        raise BusError("corrupt", "the store gave other bytes than were put", where=reference)


def asker() -> str:
    """Who asks, for the store's audit trail."""
    return f"console of {name}"[:128] if (name := user()) else "console"


def user() -> str:
    """Who gives this command; empty for a uid without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
