"""What a Melody means, checked: names, types, expressions, order. All faults at once.

Works on a file whose structure is right (or was made right by leaving faulty parts out).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .bindings import Binding, FromInput, FromStep, Literal, Malformed, parse_binding
from .circles import circles
from .document import KeyPath
from .expressions import ExpressionError, compile_expression
from .manifest import Provides
from .melody import Contract, MelodyFile, Step, contract_key, dependencies
from .structure import Finding, Report, shown
from .syntax import hint
from .valuetypes import ValueType, compatible, declaration_findings

if TYPE_CHECKING:
    from .kit import Kit

QUALITY = "quality"  # in expressions every step has it beside its outputs


def check(file: MelodyFile, kit: Kit, report: Report) -> dict[str, Contract]:
    """Reports every fault of meaning; returns the types of the capabilities used, by contract."""
    checker = _Checker(file, kit, report)
    for finding in checker.findings():
        report.add(*finding)
        if report.full:
            break
    return checker.contracts


class _Checker:
    def __init__(self, file: MelodyFile, kit: Kit, report: Report) -> None:
        self._file = file
        self._kit = kit
        self._report = report
        self._some_id_is_broken = any(
            report.is_broken(("steps", index, "id")) for index in range(len(file.steps))
        )
        self._index: dict[str, int] = {}
        for index, step in enumerate(file.steps):
            self._index.setdefault(step.id, index)
        self.contracts: dict[str, Contract] = {}
        for step in file.steps:
            key = contract_key(step)
            provides = None if key in self.contracts else self._provides(step)
            if provides is not None:
                self.contracts[key] = Contract(provides.inputs, provides.outputs)

    def findings(self) -> Iterator[Finding]:
        for name, declared in self._file.inputs.items():
            yield from declaration_findings(("inputs", name), declared)
        for index, step in enumerate(self._file.steps):
            yield from self._step_findings(step, index)
        for name, text in self._file.outputs.items():
            yield from self._output_findings(name, text)
        yield from self._cycles()

    def _provides(self, step: Step) -> Provides | None:
        player = self._kit.get(step.player) if step.player else None
        preferred = player.manifest.provided(step.capability) if player else None
        return preferred or self._kit.capability(step.capability)

    def _contract(self, step: Step) -> Contract | None:
        return self.contracts.get(contract_key(step))

    def _step_findings(self, step: Step, index: int) -> Iterator[Finding]:
        key: KeyPath = ("steps", index)
        if self._index[step.id] != index:
            message = f'the step id "{step.id}" is used twice'
            yield Finding((*key, "id"), message, "give every step an id of its own")
        yield from self._player_findings(step, key)
        contract = self._contract(step)
        if contract is not None:
            yield from self._input_findings(step, key, contract, "")
            for position, name in enumerate(step.outputs):
                if name not in contract.outputs:
                    remedy = hint(name, contract.outputs, "outputs")
                    message = f'"{step.capability}" has no output "{name}"'
                    yield Finding((*key, "outputs", position), message, remedy)
        for name, value in step.inputs.items():
            yield from self._source_findings(parse_binding(value), (*key, "inputs", name))
        for position, name in enumerate(step.after):
            yield from self._member_findings(name, None, (*key, "after", position))
        yield from self._expression_findings(step, key)

    def _player_findings(self, step: Step, key: KeyPath) -> Iterator[Finding]:
        if self._kit.capability(step.capability) is None:
            known = self._kit.capabilities()
            message = f'no installed extension provides "{step.capability}"'
            broken = self._kit.promised(step.capability)
            remedy = hint(step.capability, known, "capabilities")
            if broken is not None:
                remedy = f'"{broken.name}" would, but is broken: symphony-ext check {broken.folder}'
            yield Finding((*key, "capability"), message, remedy)
        named: list[tuple[KeyPath, str]] = [((*key, "player"), step.player)] if step.player else []
        named += [((*key, "fallbacks", at), name) for at, name in enumerate(step.fallbacks)]
        tried: set[str] = set()
        for place, name in named:
            extension = self._kit.get(name)
            providers = [player.name for player in self._kit.players(step.capability)]
            if place[-1] != "player" and name in tried:
                what = "is the player already" if name == step.player else "is named twice"
                remedy = "name other extensions, or remove it"
                yield Finding(place, f'the fallback "{name}" {what}', remedy)
                continue
            tried.add(name)
            if extension is None:
                remedy = hint(name, providers, f"players of {step.capability}")
                yield Finding(place, f'no extension "{name}" is installed', remedy)
            elif (provides := extension.manifest.provided(step.capability)) is None:
                message = f'the extension "{name}" does not provide "{step.capability}"'
                yield Finding(place, message, hint(name, providers, "players of it"))
            elif place[-1] != "player":
                contract = Contract(provides.inputs, provides.outputs)
                if contract != self._contract(step):
                    yield from self._input_findings(
                        step, key, contract, f'for the fallback "{name}": '
                    )

    def _input_findings(
        self, step: Step, key: KeyPath, contract: Contract, owner: str
    ) -> Iterator[Finding]:
        for name, value in step.inputs.items():
            place = (*key, "inputs", name)
            if name not in contract.inputs:
                remedy = hint(name, contract.inputs, "inputs")
                message = f'{owner}"{step.capability}" has no input "{name}"'
                yield Finding(place, message, remedy)
                continue
            declared = contract.inputs[name]
            binding = parse_binding(value)
            if isinstance(binding, Literal):
                for problem in declared.check(binding.value, name, convert=True):
                    yield Finding(place, f"{owner}{problem.message}", declared.remedy)
                continue
            source = self._source_type(binding)
            if source is not None and (misfit := self._misfit(binding, source, declared)):
                reason, remedy = misfit
                message = f'{owner}"{value}" does not fit the input "{name}": {reason}'
                yield Finding(place, message, remedy)
        for name, declared in contract.inputs.items():
            if declared.required and name not in step.inputs:
                message = f'{owner}the step "{step.id}" lacks the input "{name}"'
                yield Finding((*key, "inputs"), message, f'add {name} = "$…" or a value')

    def _source_type(self, binding: Binding) -> ValueType | None:
        """The declared type of what a reference names, or None where that is not known."""
        if isinstance(binding, FromInput):
            return self._file.inputs.get(binding.name)
        if isinstance(binding, FromStep) and binding.step in self._index:
            contract = self._contract(self._file.steps[self._index[binding.step]])
            return contract.outputs.get(binding.output) if contract else None
        return None

    def _misfit(
        self, binding: Binding, source: ValueType, target: ValueType
    ) -> tuple[str, str] | None:
        """Why a referenced value cannot feed an input, and what to do; None if it can."""
        if reason := compatible(source, target):
            return reason, "refer to a value that fits, or to a step that converts it"
        if not source.may_be_absent or not target.required:
            return None
        remedy = "give it a default, or remove its optional"
        if isinstance(binding, FromStep):
            step = self._file.steps[self._index[binding.step]]
            if binding.output in step.outputs:
                return None
            remedy = f'list "{binding.output}" in the outputs of the step "{binding.step}"'
        return "it may be absent", remedy

    def _source_findings(self, binding: Binding, place: KeyPath) -> Iterator[Finding]:
        if isinstance(binding, Malformed):
            remedy = 'write "$inputs.NAME" or "$steps.ID.OUTPUT"; "$$" begins a literal "$"'
            yield Finding(place, f"{shown(binding.text)} is not a reference", remedy)
        elif isinstance(binding, FromInput):
            yield from self._run_input_findings(binding.name, place)
        elif isinstance(binding, FromStep):
            yield from self._member_findings(binding.step, binding.output, place)

    def _run_input_findings(self, name: str, place: KeyPath) -> Iterator[Finding]:
        if name not in self._file.inputs and not self._report.is_broken(("inputs", name)):
            remedy = hint(name, self._file.inputs, "inputs")
            yield Finding(place, f'the Melody has no input "{name}"', remedy)

    def _member_findings(
        self, step: str, output: str | None, place: KeyPath, *also: str
    ) -> Iterator[Finding]:
        if step not in self._index:
            if not self._some_id_is_broken:
                yield Finding(place, f'there is no step "{step}"', hint(step, self._index, "steps"))
            return
        contract = self._contract(self._file.steps[self._index[step]])
        if contract and output and output not in contract.outputs and output not in also:
            remedy = hint(output, contract.outputs, "outputs")
            yield Finding(place, f'the step "{step}" has no output "{output}"', remedy)

    def _output_findings(self, name: str, text: str) -> Iterator[Finding]:
        binding, place = parse_binding(text), ("outputs", name)
        if isinstance(binding, Literal):
            remedy = 'write "$steps.ID.OUTPUT" or "$inputs.NAME"'
            yield Finding(place, f'the output "{name}" is not a reference', remedy)
        yield from self._source_findings(binding, place)

    def _expression_findings(self, step: Step, key: KeyPath) -> Iterator[Finding]:
        if step.condition is not None:
            yield from self._one_expression(
                step.condition, ("inputs", "steps"), {}, (*key, "condition")
            )
        if step.gate is None:
            return
        if step.gate.expression is None and step.gate.min_quality is None:
            remedy = "give it an expression or min_quality"
            yield Finding((*key, "gate"), f'the gate of "{step.id}" checks nothing', remedy)
        if step.gate.expression is not None:
            contract = self._contract(step)
            yield from self._one_expression(
                step.gate.expression,
                ("inputs", "outputs"),
                contract.outputs if contract else None,
                (*key, "gate", "expression"),
            )

    def _one_expression(
        self,
        text: str,
        variables: tuple[str, ...],
        outputs: Mapping[str, ValueType] | None,
        place: KeyPath,
    ) -> Iterator[Finding]:
        try:
            expression = compile_expression(text, variables)
        except ExpressionError as error:
            yield Finding(place, error.message, error.help)
            return
        for root, *members in expression.references:
            if not members:
                continue
            name = members[0]
            if root == "steps":
                output = members[1] if len(members) > 1 else None
                yield from self._member_findings(name, output, place, QUALITY)
            elif root == "inputs":
                yield from self._run_input_findings(name, place)
            elif root == "outputs" and outputs is not None and name not in outputs:
                remedy = hint(name, outputs, "outputs")
                yield Finding(place, f'the step has no output "{name}"', remedy)

    def _cycles(self) -> Iterator[Finding]:
        graph: dict[str, set[str]] = {name: set() for name in self._index}
        for step in self._file.steps:
            graph[step.id] |= {on for on in self._waits_for(step) if on in self._index}
        for ring in circles(graph):
            path = " → ".join([*ring, ring[0]])
            message = f"the steps wait for each other in a circle: {path}"
            remedy = "each waits for the next: break the circle in one place"
            yield Finding(("steps", self._index[ring[0]], "id"), message, remedy)

    def _waits_for(self, step: Step) -> Iterator[str]:
        try:
            yield from dependencies(step, None)
        except ExpressionError:  # reported with its place by the check of expressions
            yield from dependencies(_without_condition(step), None)


def _without_condition(step: Step) -> Step:
    return Step(step.id, step.capability, inputs=step.inputs, after=step.after)
