"""The golden vectors of the Pit's contracts: the bytes, and that each contract's text names what is
in them. The crates play them against their members."""

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

# Maps whose keys are names or data and not the contract's: resources, tenants, arguments of others.
OPEN = {"needs", "free", "amounts", "tenants", "resources", "used", "estimate", "reserve", "args"}
OPEN |= {"done", "totals", "tiers", "spend"}
OTHERS = {"pit.artifacts/1", "pit.dag/1"}


def vectors(name: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return told


def text(name: str) -> str:
    return (CONTRACTS / f"{name}.md").read_text(encoding="utf-8")


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


def methods(name: str) -> set[str]:
    """Those that the contract's headings have."""
    found: set[str] = set()
    part = text(name)
    for line in part.splitlines():
        if line.startswith("### "):
            # `begin` `{…}` → … · `part` …: what is between backquotes and one word is a method.
            found |= set(re.findall(r"`([a-z_]+)`", line))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_method_of_a_contract_has_vectors(name: str) -> None:
    called = {vector["method"] for vector in vectors(name) if "method" in vector}
    assert called - {"dance"} == methods(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_are_those_of_the_values(name: str) -> None:
    for vector, kind, value, bytes_ in messages(name):
        assert decode(bytes_) == with_bytes(value), (vector, kind)
        if kind == "request" and vector in {told["name"] for told in vectors(name)}:
            assert decode(encode(with_bytes(value))) == with_bytes(value), vector


@pytest.mark.parametrize("name", NAMES)
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
