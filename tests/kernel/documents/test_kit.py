"""The kit: where extensions are found, who is preferred, what they are granted."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from document_samples import ECHO, IMAGE, kit_of, write_extension

from symphony.kernel.errors import Problems
from symphony.kernel.grants import Grant, save_grant
from symphony.kernel.kit import load_kit
from symphony.kernel.manifest import Permissions

ASKING = ECHO + '\n[permissions]\ncalls = ["pit.artifacts/1"]\nout = true\n'


def named(text: str, name: str, version: str = "1.2.0") -> str:
    return text.replace('"echo"', f'"{name}"').replace("1.2.0", version)


def test_a_broken_manifest_hides_no_other(tmp_path: Path) -> None:
    kit = kit_of(tmp_path, ECHO, IMAGE.replace("type =", "typ ="))
    assert [extension.name for extension in kit.extensions] == ["echo"]
    (broken,) = kit.broken
    assert broken.capabilities == {"image.draw/1", "demo.count/1"}
    assert kit.promised("image.draw/1") is broken
    assert len(broken.error.problems) > 3


def test_nearer_places_replace_and_come_first(tmp_path: Path) -> None:
    bundled, home = tmp_path / "bundled", tmp_path / "home"
    write_extension(bundled, named(ECHO, "alpha", "9.0.0"), "a")
    write_extension(bundled, named(ECHO, "beta", "1.0.0"), "b")
    write_extension(home / "extensions", named(ECHO, "beta", "0.1.0"), "b")
    write_extension(home / "extensions", named(ECHO, "gamma", "0.2.0"), "c")
    attached = write_extension(tmp_path, named(ECHO, "delta", "0.0.1"), "d")
    kit = load_kit(home, bundled=bundled, attached=[attached])
    order = [(player.name, player.version) for player in kit.players("demo.echo/1")]
    assert order == [("delta", "0.0.1"), ("gamma", "0.2.0"), ("beta", "0.1.0"), ("alpha", "9.0.0")]
    assert kit.capabilities() == ["demo.echo/1"]
    assert kit.capability("demo.echo/2") is None
    assert kit.players("demo.echo/2") == []


def test_versions_are_compared_as_semver_and_then_the_cheaper_wins(tmp_path: Path) -> None:
    cost = 'demo.echo/1"\ncost = { per_call = 0.5 }'
    texts = [
        named(ECHO, "old", "1.9.0"),
        named(ECHO, "new", "1.10.0"),
        named(ECHO, "next", "1.10.0-rc.1"),
        named(ECHO, "dear", "1.10.0").replace('demo.echo/1"', cost),
    ]
    kit = kit_of(tmp_path, *texts)
    assert [player.name for player in kit.players("demo.echo/1")] == ["new", "dear", "next", "old"]


def test_an_extension_installed_twice_is_reported_and_the_newer_used(tmp_path: Path) -> None:
    kit = kit_of(tmp_path, named(ECHO, "echo", "1.0.0"), named(ECHO, "echo", "1.1.0"))
    extension = kit.get("echo")
    assert extension is not None
    assert extension.version == "1.1.0"
    assert "installed twice" in kit.problems[0].message


def test_what_is_bundled_gets_what_it_asks_for_and_what_is_installed_nothing(
    tmp_path: Path,
) -> None:
    write_extension(tmp_path / "bundled", ASKING, "a")
    write_extension(tmp_path / "home" / "extensions", named(ASKING, "mine"), "b")
    kit = load_kit(tmp_path / "home", bundled=tmp_path / "bundled")
    bundled, mine = kit.get("echo"), kit.get("mine")
    assert bundled is not None
    assert mine is not None
    assert bundled.bundled
    assert bundled.granted.out
    assert bundled.missing == []
    assert mine.granted == Permissions()
    assert mine.missing == ["calls pit.artifacts/1", "out"]


def test_grants_are_kept_and_never_more_than_asked(tmp_path: Path) -> None:
    write_extension(tmp_path / "extensions", ASKING)
    grant = Grant(Permissions(calls=("pit.artifacts/1", "secret.store/1")))
    save_grant(tmp_path, "echo", grant)
    assert (tmp_path / "grants.json").stat().st_mode & 0o777 == 0o600
    kit = load_kit(tmp_path, bundled=tmp_path / "none")
    extension = kit.get("echo")
    assert extension is not None
    assert extension.granted.words() == ["calls pit.artifacts/1"]
    save_grant(tmp_path, "echo", None)
    assert json.loads((tmp_path / "grants.json").read_text()) == {}


def test_a_grants_file_that_others_can_write_grants_nothing(tmp_path: Path) -> None:
    write_extension(tmp_path / "extensions", ASKING)
    save_grant(tmp_path, "echo", Grant(Permissions(out=True)))
    (tmp_path / "grants.json").chmod(0o660)
    kit = load_kit(tmp_path, bundled=tmp_path / "none")
    extension = kit.get("echo")
    assert extension is not None
    assert not extension.granted.out
    assert "must be yours alone" in kit.problems[0].message
    with pytest.raises(Problems):
        save_grant(tmp_path, "echo", None)


def test_a_damaged_grants_file_grants_nothing_and_is_reported(tmp_path: Path) -> None:
    write_extension(tmp_path / "extensions", ASKING)
    path = tmp_path / "grants.json"
    path.write_text('{"echo": {"permissions": {"owt": true}}}')
    path.chmod(0o600)
    kit = load_kit(tmp_path, bundled=tmp_path / "none")
    assert kit.problems[0].where == f"{path}:1"


def test_a_weaker_sandbox_must_be_granted(tmp_path: Path) -> None:
    text = ECHO.replace("entry", 'sandbox = "none"\nentry')
    write_extension(tmp_path / "extensions", text)
    extension = load_kit(tmp_path, bundled=tmp_path / "none").get("echo")
    assert extension is not None
    assert extension.sandbox == "strict"
    assert extension.missing == ["sandbox none"]
    save_grant(tmp_path, "echo", Grant(sandbox="none"))
    extension = load_kit(tmp_path, bundled=tmp_path / "none").get("echo")
    assert extension is not None
    assert extension.sandbox == "none"


def test_attaching_replaces_until_it_is_detached(tmp_path: Path) -> None:
    kit = kit_of(tmp_path, ECHO)
    folder = write_extension(tmp_path, named(ASKING, "echo", "0.1.0"), "dev")
    attached = kit.attach(folder)
    assert kit.get("echo") is attached
    assert attached.granted.out
    newer = kit.attach(folder)
    assert kit.get("echo") is newer
    kit.detach(newer)
    assert kit.get("echo") is attached
    kit.detach(attached)
    again = kit.get("echo")
    assert again is not None
    assert again.version == "1.2.0"
    kit.detach(attached)
    assert kit.get("echo") is again
    with pytest.raises(Problems):
        kit.attach(tmp_path / "gone")


def test_without_a_home_there_is_only_what_is_bundled(tmp_path: Path) -> None:
    write_extension(tmp_path, ECHO, "a")
    assert [extension.name for extension in load_kit(None, bundled=tmp_path).extensions] == ["echo"]


def test_ten_extensions_are_read(tmp_path: Path) -> None:
    """Prints how long it takes; the time is a budget of the benchmarks, not of this test."""
    for number in range(10):
        write_extension(tmp_path / "extensions", named(ASKING, f"e{number}"), f"e{number}")
    begun = time.perf_counter()
    kit = load_kit(tmp_path, bundled=tmp_path / "none")
    print(f"{(time.perf_counter() - begun) * 1000:.1f} ms")
    assert len(kit.extensions) == 10
