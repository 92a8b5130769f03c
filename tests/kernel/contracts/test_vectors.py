"""The golden vectors of the Pit's contracts: the bytes, that each contract's text names what is in
them, and that its examples are of them. The crates play them against their members."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from symphony.bus.codec import decode, encode
from symphony.bus.errors import FAULTS, BusError

ROOT = Path(__file__).resolve().parents[3]
CONTRACTS = ROOT / "bus" / "contracts"
VECTORS = ROOT / "bus" / "vectors" / "contracts"
NAMES = ["pit.arbitration-1", "pit.archive-1", "pit.pool-1", "pit.stale-1"]
ALL = [*NAMES, "pit.artifacts-1", "pit.dag-1"]
# A method that there is not.
UNKNOWN = "dance"
EXAMPLES = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Their replies tell of folders, or of keys: their contract says them in the text.
OF_PLACES = {"backup", "collect", "listing", "rotate", "stage"}

# Maps whose keys are names or data and not the contract's: resources, tenants, arguments of others.
OPEN = {"needs", "free", "amounts", "tenants", "resources", "used", "estimate", "reserve", "args"}
OPEN |= {"done", "totals", "tiers", "spend"}
OTHERS = {"pit.artifacts/1", "pit.dag/1"}


def vectors(name: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return told


def whole(name: str) -> str:
    return (CONTRACTS / f"{name}.md").read_text(encoding="utf-8")


def text(name: str) -> str:
    """Without the examples, in which every word of the vectors stands."""
    return EXAMPLES.sub("", whole(name))


def messages(name: str) -> Iterator[tuple[str, str, Any, bytes]]:
    """Vector, kind, value and bytes of every message."""
    for vector in vectors(name):
        # What the store and the tracker are asked is in their own contracts.
        asks = [ask for ask in vector.get("asks", []) if ask["capability"] not in OTHERS]
        for told in (vector, *vector.get("answers", []), *asks):
            for kind in ("request", "reply", "error"):
                if kind in told:
                    yield vector["name"], kind, told[kind], bytes.fromhex(told[f"{kind}_hex"])


def with_bytes(value: Any) -> Any:
    """The value, with `{"$bin": HEX}` as bytes."""
    if isinstance(value, dict):
        if set(value) == {"$bin"}:
            return bytes.fromhex(value["$bin"])
        return {key: with_bytes(below) for key, below in value.items()}
    return [with_bytes(below) for below in value] if isinstance(value, list) else value


def keys(value: Any) -> Iterator[str]:
    """Those that the contract has to explain."""
    if isinstance(value, list):
        for below in value:
            yield from keys(below)
    if isinstance(value, dict):
        for key, below in value.items():
            if key != "$bin":
                yield key
            if key in OPEN and isinstance(below, dict):
                for one in below.values():
                    yield from keys(one)
            else:
                yield from keys(below)


def methods(name: str) -> list[str]:
    """Those that the contract's headings have, in their order."""
    found: list[str] = []
    for line in text(name).splitlines():
        if line.startswith("### "):
            # `begin` `{…}` → … · `part` …: what is between backquotes and one word is a method.
            found += re.findall(r"`([a-z_]+)`", line)
    return found


def calls(name: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Method, arguments, and what holds the reply or error, whenever it came."""
    told = vectors(name)
    later = {answer["to"]: answer for vector in told for answer in vector.get("answers", [])}
    for vector in told:
        if "method" in vector:
            yield vector["method"], vector["request"], later.get(vector["name"], vector)


def said(outcome: str, answer: dict[str, Any]) -> str:
    if outcome == "reply":
        return json.dumps(answer["reply"], ensure_ascii=False)
    error = answer["error"]
    place = f" at {error['where']}" if "where" in error else ""
    return f"{error['code']}{place}: {error['message']}"


def examples(name: str) -> str:
    """Of each method, in the contract's order, the first call with a reply and the first with an
    error."""
    lines = []
    for method in methods(name):
        for outcome in ("reply", "error"):
            of_it = ((given, got) for called, given, got in calls(name) if called == method)
            for given, got in of_it:
                if outcome in got:
                    lines.append(f"> {method} {json.dumps(given, ensure_ascii=False)}")
                    lines.append(f"< {said(outcome, got)}")
                    break
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("name", ALL)
def test_every_method_of_a_contract_has_vectors_with_a_reply_and_an_error(name: str) -> None:
    replied: set[str] = set()
    refused: set[str] = set()
    without_arguments: set[str] = set()
    for method, given, got in calls(name):
        (replied if "reply" in got else refused).add(method)
        if not given and "reply" in got:
            without_arguments.add(method)
    known = set(methods(name))
    assert replied | refused == known | {UNKNOWN}
    assert known - replied == (OF_PLACES if name == "pit.artifacts-1" else set())
    assert known - refused <= without_arguments


@pytest.mark.parametrize("name", ALL)
def test_the_examples_of_a_contract_are_those_of_its_vectors(name: str) -> None:
    expected = examples(name)
    assert EXAMPLES.findall(whole(name)) == [expected], f"the block as it should be:\n{expected}"


@pytest.mark.parametrize("name", ALL)
def test_the_bytes_are_those_of_the_values(name: str) -> None:
    for vector, kind, value, bytes_ in messages(name):
        assert decode(bytes_) == with_bytes(value), (vector, kind)
        if kind == "request" and vector in {told["name"] for told in vectors(name)}:
            assert decode(encode(with_bytes(value))) == with_bytes(value), vector


@pytest.mark.parametrize("name", ALL)
def test_every_error_is_one_of_the_bus(name: str) -> None:
    codes = set()
    for vector, kind, value, bytes_ in messages(name):
        if kind == "error":
            error = BusError.from_body(decode(bytes_))
            assert (error.code, error.message) == (value["code"], value["message"]), vector
            codes.add(error.code)
    assert codes <= set(FAULTS)
    assert {"bad-request", "conflict", "not-found"} <= codes


@pytest.mark.parametrize("name", NAMES)
def test_every_key_stands_in_the_contract(name: str) -> None:
    words = set(re.findall(r"\w+", text(name)))
    counters = {vector["name"] for vector in vectors(name) if vector.get("method") == "stats"}
    unknown = {
        (vector, key)
        for vector, kind, value, _ in messages(name)
        if kind != "error" and vector not in counters
        for key in keys(value)
        if key not in words
    }
    assert unknown == set()
