"""Documents made to hurt: whatever a file holds, the answer is one typed error, soon and small."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from document_samples import ECHO, MELODY, kit_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symphony.kernel.document import MAX_BYTES, MAX_FAULTS
from symphony.kernel.errors import Problems
from symphony.kernel.kit import Kit
from symphony.kernel.manifest import load_manifest
from symphony.kernel.melody import load_melody

SECONDS = 60  # of processor time: an order of magnitude above what is needed
MEBIBYTES = 600

TOML_HEAD = '[melody]\nname = "x"\nversion = "1.0.0"\n'
JSON_HEAD = '{"melody": {"name": "x", "version": "1.0.0"}, '
STEP = '{"id": "s%d", "capability": "demo.echo/1", "after": ["t%d"], "condition": "inputs.a > %d"}'
HOSTILE = {
    "dotted-key.toml": TOML_HEAD + "a" + ".a" * 100_000 + " = 1\n",
    "dotted-header.toml": TOML_HEAD + "[a" + " . 'a.b'.\"c\"" * 50_000 + "]\n",
    "tables-in-tables.toml": TOML_HEAD + "".join(f"[{'a.' * n}a]\n" for n in range(63)) + "[b",
    "arrays.toml": TOML_HEAD + "a = " + "[" * 1_000_000,
    "inline-tables.toml": TOML_HEAD + "a = " + "{a = [" * 900 + "]}" * 900,
    "not-numbers.toml": TOML_HEAD + "a = [" + "nan, " * 100_000 + "]\n",
    "digits.toml": TOML_HEAD + "a = " + "9" * 1_000_000 + "\n",
    "bad-steps.toml": TOML_HEAD + "[[steps]]\nid = 3\n" * 19_999,
    "version.toml": TOML_HEAD.replace("1.0.0", "1.0.0-" + "1." * 1_000_000 + "!"),
    "ten-megabytes.toml": "#" * 10_000_000,
    "deep.json": JSON_HEAD + '"a": ' + "[" * 1_000_000 + "]" * 1_000_000 + "}",
    "less-deep.json": JSON_HEAD + '"a": ' + '{"a":' * 900 + "1" + "}" * 900 + "}",
    "zeros.json": JSON_HEAD + '"steps": [' + "0," * 1_000_000 + "0]}",
    "empty-steps.json": JSON_HEAD + '"steps": [' + "{}," * 19_998 + "{}]}",
    "one-key.json": JSON_HEAD + '"a": 0, ' * 100_000 + '"steps": []}',
    "bad-names.json": JSON_HEAD + ",".join(f'"K{n}": 1' for n in range(100_000)) + "}",
    "strangers.json": JSON_HEAD
    + '"steps": ['
    + ",".join(STEP % (n, n, n) for n in range(10_000))
    + "]}",
    "numbers.json": JSON_HEAD + '"a": [NaN, 1e999, -Infinity]}',
    "half-letters.json": JSON_HEAD + '"\\ud800": "\\udfff"}',
}


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return kit_of(tmp_path_factory.mktemp("home"), ECHO)


@pytest.fixture
def bounded() -> Iterator[None]:
    """Ends the test run if the time is exceeded, and fails if the memory was."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEBIBYTES * 1024


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_document_made_to_hurt_is_refused(tmp_path: Path, kit: Kit, name: str) -> None:
    path = tmp_path / name
    path.write_text(HOSTILE[name])
    for load in (lambda: load_melody(path, kit), lambda: load_manifest(path)):
        with pytest.raises(Problems) as caught:
            load()
        assert 1 <= len(caught.value.problems) <= 2 * MAX_FAULTS + 10
        assert all((p.where or "").startswith(str(path)) for p in caught.value.problems)
        assert len(caught.value.render()) < 100_000


@pytest.mark.parametrize("text", ['"' + "a. " * 100 + '"', "'''\n" + "… a.b.c" * 100 + "'''"])
def test_a_text_with_many_dots_is_no_long_key(tmp_path: Path, kit: Kit, text: str) -> None:
    path = tmp_path / "dots.melody.toml"
    path.write_text(MELODY.replace("[inputs]", f"description = {text}\n[inputs]"))
    assert load_melody(path, kit).name == "two-steps"


TOKENS = [
    *("[", "]", "[[", "]]", "{", "}", '"', "'", '"""', "'''", "=", ".", ",", ":", "#", "\n", "\r"),
    *("melody", "steps", "inputs", "outputs", "id", "extension", "provides", "entry", "schema"),
    *("a", "1", "-", "nan", "1e999", "0x", "NaN", "2020-01-01", "null", "true", "9" * 30, "\0"),
    *("\\ud800", "\\u0000", "\ufeff", "é", "🎼", "$inputs.a", "demo.echo/1", "$ref", "#/"),
]
hostile_text = st.text(max_size=200) | st.lists(st.sampled_from(TOKENS), max_size=60).map("".join)
grafts = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["\ud800", "$steps.first.out", "#", "^(a+)+$", "1/0 > 0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
PLACES: list[tuple[str | int, ...]] = [
    *(("melody",), ("inputs",), ("steps",), ("outputs",), ("inputs", "brief"), ("steps", 0)),
    *(("steps", 0, key) for key in ("id", "inputs", "after", "gate", "condition", "retry")),
    *(("inputs", "brief", key) for key in ("type", "schema", "default", "media")),
    *(("extension",), ("provides",), ("provides", 0), ("extension", "entry"), ("needs",)),
    *(("provides", 0, "inputs"), ("provides", 0, "inputs", "text"), ("probe",), ("permissions",)),
]


def graft(data: object, place: tuple[str | int, ...], value: object) -> None:
    for part in place[:-1]:
        if not isinstance(data, dict | list) or (isinstance(part, int) != isinstance(data, list)):
            return
        data = data[part] if isinstance(data, list) else data.setdefault(part, {})  # type: ignore[index, call-overload]
    if isinstance(data, dict):
        data[place[-1]] = value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=hostile_text, suffix=st.sampled_from([".toml", ".json"]))
def test_any_text_is_refused(tmp_path: Path, kit: Kit, text: str, suffix: str) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for load in (lambda: load_melody(path, kit), lambda: load_manifest(path)):
        with pytest.raises(Problems) as caught:
            load()
        assert caught.value.render().encode()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200
)
@given(place=st.sampled_from(PLACES), value=grafts)
def test_any_value_in_any_place_is_read_or_refused(
    tmp_path: Path, kit: Kit, place: tuple[str | int, ...], value: object
) -> None:
    (tmp_path / "main.py").touch()
    path = tmp_path / "grafted.json"
    for data, load in (
        (json.loads(json.dumps(VALID_MELODY)), lambda: load_melody(path, kit)),
        (json.loads(json.dumps(VALID_MANIFEST)), lambda: load_manifest(path)),
    ):
        graft(data, place, value)
        path.write_text(json.dumps(data))
        said = ""
        try:
            load()
        except Problems as problems:
            said = problems.render()
        assert "Traceback" not in said.encode().decode()


VALID_MELODY = {
    "melody": {"name": "x", "version": "1.0.0"},
    "inputs": {"brief": {"type": "json"}},
    "steps": [{"id": "first", "capability": "demo.echo/1", "inputs": {"text": "x"}}],
    "outputs": {"out": "$steps.first.out"},
}
VALID_MANIFEST = {
    "extension": {"name": "x", "version": "1.0.0", "entry": {"python": "main.py"}},
    "provides": [{"capability": "a/1", "inputs": {"text": {"type": "json", "schema": {}}}}],
    "probe": {"capability": "a/1", "inputs": {"text": 1}},
}


def test_the_largest_file_that_is_read(tmp_path: Path, kit: Kit) -> None:
    path = tmp_path / "large.melody.toml"
    path.write_text(MELODY + "#" * (MAX_BYTES - len(MELODY)))
    assert load_melody(path, kit).name == "two-steps"
    path.write_text(MELODY + "#" * (MAX_BYTES - len(MELODY) + 1))
    with pytest.raises(Problems, match="larger than 4 MiB"):
        load_melody(path, kit)
