"""Sequences of hostile messages to a live hub, made smaller by hypothesis when one does harm.

After each the hub still serves two others that call each other, and sees a newcomer in.
"""

from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symphony.bus import wire
from symphony.bus.codec import encode
from symphony.bus.grants import Grants

from ..conftest import CAPABILITY, KINDS, NEEDS_NATIVE, Clock, Connection, Plane
from .conftest import INPUTS, tried

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=9), some, max_size=3)
    ),
    max_leaves=5,
)
options = st.dictionaries(
    st.sampled_from(["idem", "trace", "cap", "stream", "again", "keep", "snapshot", "gap", "x"]),
    values | st.integers(0, 2_000) | st.sampled_from([True, CAPABILITY]),
    max_size=3,
)
headers = st.tuples(
    st.just(wire.VERSION) | values,
    st.integers(1, wire.LAST_KIND) | values,
    st.sampled_from([None, CAPABILITY, "topic", "no.such/1"]) | st.integers(1, 9) | values,
    st.integers(0, 9) | values,
    st.sampled_from([0, 1, 1_000]) | values,
    st.none() | st.just("m") | values,
    st.none() | options | values,
)
frames = st.binary(max_size=64) | headers.map(encode) | values.map(encode)
messages = (
    st.tuples(headers.map(encode), frames)  # the shape is right, and perhaps the rest
    | st.lists(frames, min_size=1, max_size=5)
    | st.sampled_from([wire.MAX_FRAMES, wire.MAX_FRAMES + 1]).map(lambda many: [b""] * many)
    | st.sampled_from([wire.MAX_HEADER, wire.MAX_BODY + 1]).map(lambda size: [bytes(size), b""])
)


@pytest.mark.parametrize(
    "kind", ["memory", "reference", pytest.param("native", marks=NEEDS_NATIVE)]
)
def test_no_messages_harm_the_others(kind: str, tmp_path: Path) -> None:
    plane = Plane(tmp_path, KINDS[kind](clock=(clock := Clock())), clock)
    names, requests = count(1), count(1)
    rogue = Grants(
        provides=frozenset({CAPABILITY + "1"}),
        calls=frozenset({CAPABILITY}),
        publishes=frozenset({"topic"}),
        subscribes=frozenset({"topic"}),
    )

    def call(caller: Connection, provider: Connection) -> None:
        request = next(requests)
        caller.say(wire.CALL, CAPABILITY, request, body=b"\x80")
        while True:  # the rogue may call as well
            head, _ = provider.receive()
            if head.kind == wire.CALL:
                provider.say(wire.RESULT, head.target, head.request, body=encode(request))
                if head.target == flow.setdefault("good", head.target) and head.request == request:
                    break
        caller.expect(wire.RESULT, request)

    @settings(
        max_examples=max(1, INPUTS // 3), deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(messages, max_size=12), st.booleans())
    def harmless(sent: list[list[bytes]], welcomed: bool) -> None:
        name = f"rogue-{next(names)}"
        if welcomed:
            hostile = plane.join(name, rogue)
        else:
            hostile = Connection(plane, *plane.admit(name, rogue))
        for message in sent:
            hostile.send(*message)
        call(caller, provider)
        hostile.close()
        plane.control.remove(name)
        plane.datapath.unbind(hostile.endpoint)
        tried[kind] += 1

    flow: dict[str, object] = {}
    try:
        provider = plane.join("provider", Grants(provides=frozenset({CAPABILITY})))
        caller = plane.join("caller", Grants(calls=frozenset({CAPABILITY})))
        call(caller, provider)
        harmless()
        assert ("bus ended",) not in [notice[:1] for notice in plane.notices]
    finally:
        plane.close()
