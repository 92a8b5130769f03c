"""The golden bytes, with our codec and with an independent one; the Rust side reads the same."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.bus import codec, messages, wire
from symphony.bus.errors import BusError, ProtocolError
from symphony.bus.ticket import Ticket

VECTORS = Path(__file__).parents[2] / "bus" / "vectors"
FIELDS = ("version", "kind", "target", "request", "ttl", "method", "options")


def load(name: str) -> list[Any]:
    cases = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", load("headers"))
def test_headers(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    assert codec.is_foreign_hello(data) == case.get("foreign_hello", False)
    if not case["valid"]:
        with pytest.raises(ProtocolError):
            codec.decode_header(data)
        return
    head = codec.decode_header(data)
    value = {name: getattr(head, name) for name in FIELDS}
    assert value == case["value"]
    if case["canonical"]:
        rest = [value[name] for name in FIELDS[1:]]
        assert codec.encode_header(*rest) == data
        plain = list(value.values()) if value["options"] is not None else list(value.values())[:6]
        assert msgpack.packb(plain) == data
        assert msgpack.unpackb(data) == plain


@pytest.mark.parametrize("case", load("bodies"))
def test_bodies(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    kind = getattr(messages, case["type"].capitalize())
    if not case["valid"]:
        with pytest.raises(ProtocolError):
            codec.decode_as(data, kind)
        return
    value = codec.decode_as(data, kind)
    assert msgpack.unpackb(codec.encode(value)) == case["value"]
    if case["canonical"]:
        assert codec.encode(value) == data


@pytest.mark.parametrize("case", load("errors"))
def test_errors(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    if not case["valid"]:
        with suppress(ProtocolError):
            assert BusError.from_body(codec.decode(data)).code == "protocol"
        return
    error = BusError.from_body(codec.decode(data))
    assert error.to_body() == case["value"]
    if case["canonical"]:
        assert codec.encode(error.to_body()) == data


@pytest.mark.parametrize("case", load("tickets"))
def test_tickets(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["hex"])
    if not case["valid"]:
        with pytest.raises(BusError) as caught:
            Ticket.from_json(data)
        assert caught.value.code == "bad-request"
        return
    ticket = Ticket.from_json(data)
    assert json.loads(ticket.to_json()) == case["value"]
    assert ticket.is_console == ("inbox" not in case["value"])
    assert ticket.identity not in repr(ticket)


@given(st.binary(max_size=200))
def test_no_bytes_make_a_decoder_raise_anything_else(data: bytes) -> None:
    for decode in (
        codec.decode_header,
        codec.decode,
        codec.is_foreign_hello,
        lambda raw: codec.decode_as(raw, messages.Hello),
    ):
        with suppress(ProtocolError):
            decode(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_bodies_come_back_and_read_alike_elsewhere(value: object) -> None:
    data = codec.encode(value)
    assert codec.decode(data) == value
    assert msgpack.unpackb(data) == value


# Options without a meaning: one that has one must have its type, too.
UNKNOWN = st.text(max_size=5).filter(lambda name: name not in codec.Options.__struct_fields__)
FIELD_VALUES = st.tuples(
    st.integers(1, 12),
    st.none() | st.integers(1, 2**32 - 1) | st.text(max_size=50),
    st.integers(0, 2**53 - 1),
    st.integers(0, 2**32 - 1),
    st.none() | st.from_regex(wire.METHOD),
    st.none() | st.dictionaries(UNKNOWN, JSON, max_size=3),
)


@given(FIELD_VALUES)
def test_headers_come_back(fields: tuple[Any, ...]) -> None:
    head = codec.decode_header(codec.encode_header(*fields))
    assert tuple(getattr(head, name) for name in FIELDS[1:]) == fields


@given(JSON)
def test_any_body_is_a_usable_error(value: object) -> None:
    error = BusError.from_body(value)
    assert BusError.from_body(error.to_body()).to_body() == error.to_body()
