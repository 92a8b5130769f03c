"""What `symphony-ext` does with a kernel: inventory, attach, call."""

from __future__ import annotations

import codecs
import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

import msgspec

from symphony.bus.client import Client
from symphony.bus.errors import BusError
from symphony.sandboxes.policy import Level

from ..answers import BrokenExtension, ExtensionInfo, Extensions, ProblemInfo, Status
from ..console import CAPABILITY, LONGEST_CALL_S
from ..errors import ExitCode, Problem, Problems, SymphonyError, from_bus
from ..kit import load_kit
from ..manifest import load_manifest
from ..places import Places, lock_holder
from ..plaintext import one_line
from . import render
from .common import print_json
from .session import ask_kernel, console_client


def inventory(places: Places, folders: tuple[Path, ...]) -> Extensions:
    """All extensions of the home, with the sandbox level their instances really have."""
    running: dict[str, str] = {}
    attached: list[Path] = []
    if lock_holder(places) is not None:
        status = msgspec.convert(ask_kernel(places, "status"), Status)
        running = {entry.name: entry.sandbox for entry in status.extensions}
        attached = [Path(folder) for folder in ask_kernel(places, "attached")["folders"]]
    kit = load_kit(places.home, attached=[*attached, *folders])
    found = [
        ExtensionInfo(
            name=entry.name,
            version=entry.version,
            description=entry.manifest.extension.description,
            folder=str(entry.folder),
            origin=entry.origin,
            sandbox=running.get(entry.name, entry.sandbox),
            provides=[provided.capability for provided in entry.manifest.provides],
            granted=msgspec.to_builtins(entry.granted),
            missing=entry.missing,
        )
        for entry in kit.extensions
    ]
    broken = [
        BrokenExtension(
            name=entry.name,
            folder=str(entry.folder),
            problems=[
                ProblemInfo(message=p.message, where=p.where, help=p.help)
                for p in entry.error.problems
            ],
        )
        for entry in kit.broken
    ]
    return Extensions(extensions=found, broken=broken)


def show(found: Extensions) -> None:
    """The inventory as a table."""
    render.table(
        ("extension", "version", "origin", "sandbox", "provides", "not granted"),
        (
            (
                entry.name,
                entry.version,
                entry.origin,
                entry.sandbox,
                " ".join(entry.provides),
                ", ".join(entry.missing),
            )
            for entry in found.extensions
        ),
    )
    for entry in found.broken:
        for problem in entry.problems:
            print(Problem(problem.message, problem.where, problem.help).render(), file=sys.stderr)


def attach(
    places: Places, folder: Path, level: Level | None, background: bool, as_json: bool
) -> int:
    """Attaches and, unless in the background, follows the log until Ctrl-C or its end."""
    load_manifest(folder)  # here, so that every fault of it is told with its line
    wanted = {"folder": str(folder.absolute()), "level": level}
    attached = ask_kernel(places, "attach", wanted)
    if as_json:
        print_json(attached)
    else:
        provides = ", ".join(attached["provides"])
        render.say(f"{attached['instance']} attached (sandbox {attached['sandbox']}): {provides}")
    if background:
        return ExitCode.DONE
    instance = attached["instance"]
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    follower = _Follower(
        Path(attached["log"]), attached["log_start"], sys.stderr if as_json else sys.stdout
    )
    with console_client(places) as client:
        reason = None
        while not interrupted.is_set() and reason is None:
            follower.copy()
            reason = _end(client, instance)
        follower.copy()
        if reason is not None:
            raise SymphonyError(
                ExitCode.FAILED,
                f"{instance} ended: {reason}",
                where=attached["log"],
                help="correct it and attach it again",
            )
        client.call(CAPABILITY, "detach", {"instance": instance}, ttl_ms=10_000)
        print(f"{instance} detached", file=sys.stderr)
    return ExitCode.DONE


def call(
    places: Places,
    capability: str,
    arguments: str,
    player: str | None,
    level: Level | None,
    timeout_s: float,
    method: str | None,
    out: Path | None,
) -> Any:
    """The outputs of one call by name."""
    remedy = """e.g. --json '{"text": "hello"}'"""
    try:
        args = json.loads(arguments)
    except (ValueError, RecursionError) as error:
        raise Problems([Problem(f"not valid JSON: {error}", "--json", remedy)]) from error
    if not isinstance(args, dict):
        raise Problems([Problem("the arguments must be a JSON object", "--json", remedy)])
    if not 0 < timeout_s <= LONGEST_CALL_S:  # nor is it when it is not a number
        message = f"{timeout_s:g} is no time limit"
        remedy = f"give seconds, more than 0 and at most {LONGEST_CALL_S:.0f}"
        raise Problems([Problem(message, "--timeout", remedy)])
    if out is not None and not out.is_dir():
        raise Problems([Problem(f"there is no folder {out}", "--out", "give one that is there")])
    wanted = {
        "capability": capability,
        "method": method,
        "out": str(out) if out else None,
        "args": args,
        "player": player,
        "level": level,
        "timeout_s": timeout_s,
    }
    try:
        return ask_kernel(places, "call", wanted, timeout_s=timeout_s + 30)
    except BusError as error:
        raise from_bus(error, capability) from error


def _end(client: Client, instance: str) -> str | None:
    """Waits a moment for the instance to end; why it did, or None."""
    try:
        answer = client.call(CAPABILITY, "wait", {"instance": instance}, ttl_ms=300)
    except BusError as error:
        if error.code == "deadline":
            return None
        raise
    return answer["exit"] or "it was detached"


class _Follower:
    """Copies what a log file gains."""

    def __init__(self, path: Path, start: int, target: TextIO) -> None:
        self._path = path
        self._target = target
        self._offset = start
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def copy(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while piece := file.read(65536):
                self._offset += len(piece)
                self._target.write(self._seen(piece))
        self._target.flush()

    def _seen(self, piece: bytes) -> str:
        lines = self._decoder.decode(piece).split("\n")
        return "\n".join(map(one_line, lines))
