"""The Melody: a workflow file (`*.melody.toml`, or the same as JSON), valid and frozen.

`load_melody` checks a file as a whole against the installed extensions. What it found out there
(the input and output types of every capability used) travels with the Melody in its document, so
that a run rebuilt from its journal plays exactly what was validated, without asking anew.
"""

from __future__ import annotations

import functools
import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from typing import Literal as OneOf

import msgspec
from msgspec import Meta, Struct

from .bindings import Binding, FromStep, parse_binding
from .document import load_document
from .errors import ExitCode, Problem, Problems, SymphonyError
from .expressions import compile_expression
from .structure import DROP, Report, decode
from .syntax import (
    CAPABILITY,
    MELODY_NAME,
    STEP_ID,
    Capability,
    ExtensionName,
    FieldName,
    MelodyName,
    StepId,
    Version,
)
from .valuetypes import ValueType

if TYPE_CHECKING:
    from .kit import Kit

MAX_STEPS: Final = 20_000
FORMAT: Final = 1
PACKED: Final = 2  # zlib over the JSON of format 1
PACKED_FROM: Final = 256 << 10  # bytes: a run is opened with its Melody in one call

_REFERENCE: Final = re.compile(rb"blake3:[0-9a-f]{64}")
_STAND_INS: Final = {
    "melody": {"name": "unnamed", "version": "0.0.0"},
    "melody.name": "unnamed",
    "melody.version": "0.0.0",
    "inputs.*.type": DROP,
    "steps.*.id": "unnamed",
    "steps.*.capability": "unknown/1",
}

Kind = OneOf["hard", "optional", "soft"]
_STRENGTH: Final[dict[Kind, int]] = {"soft": 0, "optional": 1, "hard": 2}


class Retry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Attempts per player and the growing pause between them, in seconds."""

    attempts: Annotated[int, Meta(ge=1, le=100, description="attempts per player")] = 3
    backoff_s: Annotated[
        float, Meta(ge=0, le=86_400, description="seconds before the second attempt")
    ] = 0.2
    factor: Annotated[
        float, Meta(ge=1, le=100, description="by how much each pause is longer than the last")
    ] = 2.0
    max_backoff_s: Annotated[
        float, Meta(ge=0, le=86_400, description="seconds that no pause exceeds")
    ] = 30.0


class GateRule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a step's result must satisfy."""

    expression: Annotated[
        str | None,
        Meta(
            description="CEL over outputs (of the step) and inputs (of the run); "
            "false refuses the result",
            examples=["outputs.score >= 0.9"],
        ),
    ] = None
    min_quality: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="least quality, 0 to 1, in the output quality or score of the step"),
    ] = None


class Step(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One `[[steps]]`."""

    id: Annotated[StepId, Meta(description=f"the step's name, given to no other step: {STEP_ID}")]
    capability: Annotated[
        Capability, Meta(description=f"what is done, whoever does it: {CAPABILITY}")
    ]
    inputs: Annotated[
        dict[str, Any],
        Meta(description='"$inputs.NAME", "$steps.ID.OUTPUT", or a literal ("$$x" is "$x")'),
    ] = {}
    outputs: Annotated[tuple[str, ...], Meta(description="outputs that it must give")] = ()
    player: Annotated[
        ExtensionName | None,
        Meta(description="the extension to try first; without it the kernel prefers one"),
    ] = None
    fallbacks: Annotated[
        tuple[ExtensionName, ...], Meta(description="tried in order when its retries are spent")
    ] = ()
    importance: Annotated[
        OneOf["critical", "normal", "optional"],
        Meta(description="an optional step that fails is skipped, any other fails the run"),
    ] = "normal"
    retry: Annotated[Retry, Meta(description="how often each player is tried, and when again")] = (
        Retry()
    )
    timeout_s: Annotated[
        float, Meta(gt=0, le=604_800, description="seconds that an attempt may take")
    ] = 600.0
    estimate_s: Annotated[
        Annotated[float, Meta(ge=0, le=604_800)] | None,
        Meta(
            description="seconds that it probably takes, to begin with what the run will wait for "
            "longest; without it by what was measured of its capability"
        ),
    ] = None
    after: Annotated[tuple[str, ...], Meta(description="steps that must have ended before")] = ()
    condition: Annotated[
        str | None,
        Meta(
            description="CEL over inputs (of the run) and steps (their outputs and quality), "
            "when the step is ready; false skips it",
            examples=["steps.test.score < 1.0", "inputs.language == 'de'"],
        ),
    ] = None
    gate: Annotated[
        GateRule | None, Meta(description="what the result must satisfy beside its types")
    ] = None

    @property
    def bindings(self) -> dict[str, Binding]:
        """Where each input comes from."""
        return {name: parse_binding(value) for name, value in self.inputs.items()}


class Header(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The table `[melody]`."""

    name: Annotated[MelodyName, Meta(description=f"the Melody's name: {MELODY_NAME}")]
    version: Version
    description: Annotated[str, Meta(description="one sentence on what it does")] = ""
    deadline_s: Annotated[
        Annotated[float, Meta(gt=0, le=8_640_000)] | None,
        Meta(
            description="seconds from its opening in which a run should end: of several that wait "
            "the most urgent goes first; a late run is not ended"
        ),
    ] = None


class MelodyFile(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A Melody as it is written."""

    melody: Annotated[Header, Meta(description="what it is called")]
    steps: Annotated[
        tuple[Step, ...],
        Meta(
            min_length=1,
            max_length=MAX_STEPS,
            description="what is done; their order follows from what they need, not from the file",
        ),
    ]
    inputs: Annotated[
        dict[FieldName, ValueType], Meta(description="what a run is given, by name")
    ] = {}
    outputs: Annotated[
        dict[FieldName, str], Meta(description="what a run delivers: a reference by name")
    ] = {}


class Contract(Struct, frozen=True, omit_defaults=True):
    """The types that a step was validated against."""

    inputs: dict[str, ValueType] = {}
    outputs: dict[str, ValueType] = {}


class _Stored(Struct, frozen=True):
    format: int
    file: MelodyFile
    contracts: dict[str, Contract]


@dataclass(frozen=True)
class Melody:
    """A valid Melody."""

    file: MelodyFile
    contracts: Mapping[str, Contract]

    @property
    def name(self) -> str:
        """Its name."""
        return self.file.melody.name

    @property
    def version(self) -> str:
        """Its version."""
        return self.file.melody.version

    @property
    def inputs(self) -> Mapping[str, ValueType]:
        """The declared inputs of a run."""
        return self.file.inputs

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the order of the file."""
        return self.file.steps

    @functools.cached_property
    def step(self) -> Mapping[str, Step]:
        """The steps by id."""
        return {step.id: step for step in self.file.steps}

    @functools.cached_property
    def outputs(self) -> Mapping[str, Binding]:
        """What a run delivers, by name."""
        return {name: parse_binding(value) for name, value in self.file.outputs.items()}

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """Plain data from which `from_document` rebuilds this Melody; a large one is packed."""
        stored = _Stored(FORMAT, self.file, dict(self.contracts))
        text = msgspec.json.encode(stored)
        if len(text) > PACKED_FROM:
            # Whoever looks which artifacts a run refers to must not have to unpack it.
            references = sorted({found.decode() for found in _REFERENCE.findall(text)})
            return {"format": PACKED, "packed": zlib.compress(text), "references": references}
        data: dict[str, Any] = msgspec.to_builtins(stored)
        return data

    @functools.cached_property
    def canonical(self) -> bytes:
        """The file as canonical JSON: sorted keys, no spaces, defaults left out."""
        return msgspec.json.encode(self.file, order="deterministic")

    @functools.cached_property
    def digest(self) -> str:
        """64 hex digits: BLAKE2b-256 of the canonical JSON; TOML and JSON of one Melody agree."""
        return hashlib.blake2b(self.canonical, digest_size=32).hexdigest()

    def contract(self, step: Step) -> Contract:
        """The types that `step` was validated against."""
        return self.contracts[contract_key(step)]

    def plan(self) -> dict[str, list[tuple[str, Kind]]]:
        """What each step waits for, in the order of the file.

        `hard`: an input that must be there comes from that step (whatever the importance of the
        step that makes it: without the value this one cannot run). `optional`: an input that may
        be absent comes from it. `soft`: order only, from `after` or named in the condition.
        """
        return {
            step.id: list(dependencies(step, self.contract(step)).items()) for step in self.steps
        }


def contract_key(step: Step) -> str:
    """Steps that share this key share their types."""
    return f"{step.capability} {step.player}" if step.player else step.capability


def dependencies(step: Step, contract: Contract | None) -> dict[str, Kind]:
    """The steps that `step` waits for; without a contract every input counts as required."""
    found: dict[str, Kind] = {}

    def depend(on: str, kind: Kind) -> None:
        if _STRENGTH[kind] >= _STRENGTH[found.get(on, "soft")]:
            found[on] = kind

    for name, binding in step.bindings.items():
        if isinstance(binding, FromStep):
            declared = contract.inputs.get(name) if contract else None
            depend(binding.step, "hard" if declared is None or declared.required else "optional")
    for on in step.after:
        depend(on, "soft")
    if step.condition is not None:
        for reference in compile_expression(step.condition).references:
            if reference[0] == "steps" and len(reference) > 1:
                depend(reference[1], "soft")
    return found


def load_melody(path: Path, kit: Kit) -> Melody:
    """The valid Melody at `path`. Raises `Problems` with every fault and its line."""
    from .melodycheck import check

    document = load_document(path)
    steps = document.data.get("steps")
    if isinstance(steps, list) and len(steps) > MAX_STEPS:
        message = f"a Melody has at most {MAX_STEPS} steps, this one {len(steps)}"
        where = document.where(("steps", MAX_STEPS))
        raise Problems([Problem(message, where, "split it into several Melodies")])
    report = Report(document)
    file = decode(document, MelodyFile, report, _STAND_INS)
    contracts = check(file, kit, report) if file is not None else {}
    report.raise_if_any()
    assert file is not None  # noqa: S101 - decode gives None only with findings
    return Melody(file, contracts)


def from_document(data: object) -> Melody:
    """The Melody whose `document` is `data`, e.g. from a journal."""
    try:
        if isinstance(data, dict) and data.get("format") == PACKED:
            stored = msgspec.json.decode(zlib.decompress(data["packed"]), type=_Stored)
        else:
            stored = msgspec.convert(data, _Stored)
    except (msgspec.DecodeError, zlib.error, KeyError, TypeError) as error:
        raise SymphonyError(
            ExitCode.IO, f"the stored Melody cannot be read: {error}", name="corrupt"
        ) from error
    if stored.format != FORMAT:
        raise SymphonyError(
            ExitCode.IO,
            f"the stored Melody has format {stored.format}, this kernel reads {FORMAT}",
            help="resume the run with the version that began it",
        )
    return Melody(stored.file, stored.contracts)
