"""`symphony-ext test`: the extensions that pass their contract's suite, and what fails it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_harness import Symphony
from interface_checks import check_errors

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = """
[extension]
name = "{name}"
version = "1.0.0"
entry = {{ python = "main.py" }}
sandbox = "none"

[[provides]]
capability = "{capability}"
"""
FORGETFUL = """
from blake3 import blake3

from symphony.bus.extension import Extension

ext = Extension()
kept = {}


@ext.provides("pit.artifacts/1", "put")
def put(ctx, data: bytes, **_):
    ref = f"blake3:{blake3(data).hexdigest()}"
    new = ref not in kept
    kept[ref] = data
    return {"ref": ref, "bytes": len(data), "new": new}


@ext.provides("pit.artifacts/1", "get")
def get(ctx, ref: str, **_):
    return {"data": kept[ref], "bytes": len(kept[ref]), "kind": "file", "more": False}


ext.run()
"""
MUTE = """
from symphony.bus.extension import Extension

ext = Extension()


@ext.provides("pit.pool/1", "configure")
def configure(ctx, **_):
    return {}


ext.run()
"""


def write(symphony: Symphony, name: str, capability: str, program: str) -> Path:
    manifest = MANIFEST.format(name=name, capability=capability)
    symphony.write(f"{name}/main.py", program)
    return symphony.write(f"{name}/extension.toml", manifest).parent


def found_by(symphony: Symphony, folder: Path, *arguments: str) -> dict[str, Any]:
    done = symphony.ext("test", folder, *arguments, "--json")
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 1)
    return found


@pytest.mark.parametrize(
    ("folder", "contract"),
    [
        ("extensions/pit-artifacts", "pit.artifacts/1"),
        ("extensions/pit-dag", "pit.dag/1"),
        ("extensions/pit-arbitration", "pit.arbitration/1"),
        ("extensions/pit-pool", "pit.pool/1"),
        ("extensions/pit-stale", "pit.stale/1"),
        pytest.param("examples/folder-store", "pit.artifacts/1", marks=pytest.mark.slow),
    ],
)
def test_what_comes_with_the_product_fulfils_its_contract(
    symphony: Symphony, folder: str, contract: str
) -> None:
    found = found_by(symphony, ROOT / folder, "--contract", contract)
    assert [check for check in found["checks"] if check["outcome"] == "failed"] == []
    assert found["ok"]
    assert {check["capability"] for check in found["checks"]} == {contract}


@pytest.mark.slow
def test_a_store_that_forgets_is_found_out(symphony: Symphony) -> None:
    folder = write(symphony, "forgetful", "pit.artifacts/1", FORGETFUL)
    checks = {check["check"]: check for check in found_by(symphony, folder)["checks"]}
    assert checks["put names a content by its hash"]["outcome"] == "passed"
    assert checks["the same content is new once"]["outcome"] == "passed"
    killed = checks["what was acknowledged survives a kill"]
    assert killed["outcome"] == "failed"
    assert "on disk" in killed["sentence"]


def test_what_fails_is_told_with_the_sentence_of_the_contract(symphony: Symphony) -> None:
    folder = write(symphony, "mute", "pit.pool/1", MUTE)
    found = found_by(symphony, folder)
    assert found["failed"] == len(found["checks"]) > 10
    check = found["checks"][0]
    assert check["expected"] == "resync to be answered"
    assert check["came"].startswith("bad-request: there is no method resync")
    done = symphony.shell(f"cd {folder} && symphony-ext test --contract pit.pool/1")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == f"failed   {check['check']}"
    assert lines[1] == "  expected: resync to be answered"
    assert lines[2] == f"  came:     {check['came']}"
    assert lines[3] == f"  contract: pit.pool/1: “{check['sentence']}”"
    assert f"{found['failed']} failed" in lines[-1]


def test_nothing_is_left_behind_but_what_is_to_be_kept(symphony: Symphony) -> None:
    folder = write(symphony, "mute", "pit.pool/1", MUTE)
    temporary = symphony.folder / "tmp"
    temporary.mkdir()
    symphony.environment = {**symphony.environment, "TMPDIR": str(temporary)}
    found_by(symphony, folder)
    assert list(temporary.iterdir()) == []
    kept = Path(found_by(symphony, folder, "--keep")["kept"])
    assert list(temporary.iterdir()) == [kept]
    assert list(kept.rglob("*.log"))


def test_a_capability_without_a_suite_is_refused_with_those_there_are(symphony: Symphony) -> None:
    folder = write(symphony, "shout", "text.shout/1", "")
    done = symphony.ext("test", folder)
    assert done.returncode == 4
    assert "there is no contract suite for text.shout/1" in done.stderr
    assert "pit.archive/1" in done.stderr
    done = symphony.ext("test", folder, "--contract", "pit.artifacts/1")
    assert done.returncode == 2
    assert "shout does not provide pit.artifacts/1" in done.stderr


def test_a_folder_without_an_extension_is_refused_with_what_to_name(symphony: Symphony) -> None:
    done = symphony.ext("test", "--contract", "pit.artifacts/1")
    check_errors(done, 2, "no extension.toml", "symphony-ext test FOLDER", "examples/folder-store")
    assert f"({symphony.folder})" in done.stderr


def test_an_extension_that_does_not_start_is_told_apart_from_one_that_fails(
    symphony: Symphony,
) -> None:
    folder = write(symphony, "broken", "pit.artifacts/1", "raise SystemExit('no store here')")
    done = symphony.ext("test", folder)
    assert done.returncode == 5
    assert "broken does not start" in done.stderr
    assert "no store here" in done.stderr
