"""A body of the bus as JSON shows it."""

import json
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphony.bus.codec import encode
from symphony.kernel.shown import MAX_DEPTH, shown

FOREVER = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def unshown(value: Any) -> Any:
    """What was shown, as msgpack's own library reads it with its maps as pairs."""
    if isinstance(value, list):
        return [unshown(one) for one in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$bytes": str(raw)}:
            return bytes.fromhex(raw)
        case {"$ext": [code, raw]}:
            return msgpack.ExtType(code, bytes.fromhex(raw))
        case {"$float": text}:
            return float(text)
        case {"$map": items}:
            return tuple((unshown(key), unshown(one)) for key, one in items)
    return tuple((key, unshown(one)) for key, one in value.items())


ITEMS = st.recursive(
    FOREVER
    | st.binary(max_size=300)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=300)),
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.dictionaries(
            st.integers(-(2**63), 2**64 - 1)
            | st.none()
            | st.binary()
            | st.sampled_from(["$bytes", "$map", "a"]),
            inner,
        )
    ),
    max_leaves=30,
)


@given(ITEMS)
def test_nothing_of_a_value_is_lost(value: Any) -> None:
    body = msgpack.packb(value)
    told = json.loads(msgspec.json.encode(shown(body)))
    kept = msgpack.unpackb(body, object_pairs_hook=tuple, strict_map_key=False)
    assert repr(unshown(told)) == repr(kept)


@given(FOREVER)
def test_what_json_can_hold_is_shown_as_it_is(value: Any) -> None:
    told = shown(encode(value))
    if "$" not in repr(told):
        assert told == value


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_json_can_hold_what_is_shown(body: bytes) -> None:
    json.loads(msgspec.json.encode(shown(body)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", None),
        (b"\x82\xa1a\x01\xa1a\x02", {"$map": [["a", 1], ["a", 2]]}),  # which of them is meant?
        (b"\xa1\xff", {"$text": "ff"}),
        (b"\xc0\xc0", {"$msgpack": "c0c0"}),
        (b"\x92\x01", {"$msgpack": "9201"}),
        (b"\xd6\xff\x00\x00\x00\x01", {"$ext": [-1, "00000001"]}),
        (b"\x81\xa6$bytes\xa2ff", {"$map": [["$bytes", "ff"]]}),  # a map that only looks like it
        (b"\xdd\xff\xff\xff\xff", {"$msgpack": "ddffffffff"}),
    ],
)
def test_what_json_cannot_hold(body: bytes, expected: Any) -> None:
    assert shown(body) == expected


def test_depth_is_bounded() -> None:
    deep = b"\x91" * MAX_DEPTH + b"\xc0"
    assert json.dumps(shown(deep)).count("[") == MAX_DEPTH
    assert shown(b"\x91" + deep) == {"$msgpack": (b"\x91" + deep).hex()}
    assert "$msgpack" in shown(b"\x91" * 100_000 + b"\xc0")
