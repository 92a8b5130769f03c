"""The printed schemas describe what the kernel reads and writes."""

from __future__ import annotations

import tomllib
from typing import Any, get_args

import msgspec
import pytest
from document_samples import ECHO, MELODY
from jsonschema import Draft202012Validator

from symphony.kernel import events
from symphony.kernel.errors import SymphonyError
from symphony.kernel.schemas import NAMES, schema

COMMON = {"seq", "ts", "run", "event"}
EVENTS = {  # as the machine interface lists them
    "run.opened": {"melody", "version", "inputs"},
    "run.resumed": {"melody", "version", "inputs", "from_seq"},
    "step.started": {"step", "attempt", "player", "instance", "pid", "sandbox"},
    "step.progress": {"step", "done", "total", "message"},
    "step.finished": {"step", "attempt", "outputs", "quality"},
    "step.failed": {"step", "attempt", "error", "exit"},
    "step.skipped": {"step", "reason"},
    "decision": {"action", "step", "player", "by", "reason"},
    "gate": {"step", "gate", "passed", "score", "reason"},
    "run.finished": {"outcome", "artifacts", "metrics"},
}


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_valid_and_titled(name: str) -> None:
    printed = schema(name)
    Draft202012Validator.check_schema(printed)
    assert printed["title"]


def undescribed(node: object, place: str) -> list[str]:
    """The keys of a schema that say nothing of their meaning; `event` names the type itself."""
    if isinstance(node, list):
        return [found for inner in node for found in undescribed(inner, place)]
    if not isinstance(node, dict):
        return []
    keys = node.get("properties", {})
    found = [
        f"{place}.{key}"
        for key, inner in keys.items()
        if "description" not in inner and key != "event"
    ]
    for key, inner in node.items():
        found += undescribed(inner, f"{place}.{key}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_key_of_a_schema_says_what_it_means(name: str) -> None:
    assert undescribed(schema(name), name) == []


def test_an_unknown_schema_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SymphonyError) as caught:
        schema("melodie")
    assert caught.value.help == 'did you mean "melody"?'


@pytest.mark.parametrize(("name", "text"), [("melody", MELODY), ("manifest", ECHO)])
def test_valid_documents_fit_their_schema(name: str, text: str) -> None:
    validator = Draft202012Validator(schema(name))
    data: dict[str, Any] = tomllib.loads(text)
    assert validator.is_valid(data)
    assert not validator.is_valid({**data, "unknown": 1})


def test_events_have_exactly_the_keys_of_the_interface() -> None:
    keys = {}
    for event in get_args(events.RunEvent):
        info = msgspec.inspect.type_info(event)
        assert isinstance(info, msgspec.inspect.StructType)
        keys[info.tag] = {field.encode_name for field in info.fields} | {"event"}
    keys["step.started"] -= {"grant"}  # ours, beyond the page: `why` explains it
    warning = keys.pop("budget.warning")  # readers ignore what they do not know
    assert warning == COMMON | {"budget", "who", "resource", "spent", "limit", "state"}
    assert keys == {name: fields | COMMON for name, fields in EVENTS.items()}


def test_an_encoded_event_fits_the_schema() -> None:
    event = events.StepFailed(
        seq=3,
        ts="2026-01-31T12:00:00.000Z",
        run="r-1",
        step="a",
        attempt=1,
        error=events.ErrorInfo(class_="crashed", message="killed", fault="provider"),
    )
    data = msgspec.json.decode(msgspec.json.encode(event))
    assert data["event"] == "step.failed"
    assert data["error"]["class"] == "crashed"
    validator = Draft202012Validator(schema("events"))
    assert validator.is_valid(data)
    assert validator.is_valid({**data, "from_the_future": 1})
    assert not validator.is_valid({**data, "event": "step.exploded"})
