"""The parts that decide without touching anything: options, exits, identities, runtime folders."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from symphony.sandboxes import (
    Bind,
    Level,
    SandboxPolicy,
    SandboxRefused,
    SpawnSpec,
    bubblewrap,
    exits,
    places,
    runtime,
)
from symphony.sandboxes.identities import COUNT, FIRST, Identities, check_range

RUNTIME = runtime.Runtime("/opt/py/bin/python", (Path("/opt/py"),))


def spec(**fields: object) -> SpawnSpec:
    fields.setdefault("policy", SandboxPolicy())
    return SpawnSpec(instance="x", argv=("python", "a"), log=Path("/log"), **fields)  # type: ignore[arg-type]


def test_mounts_are_outer_before_inner() -> None:
    binds = (Bind(Path("/h/deep"), "/data/a/b"), Bind(Path("/h"), "/data"))
    shown = bubblewrap.mounts(spec(policy=SandboxPolicy(binds=binds)), RUNTIME)
    targets = [mount.target for mount in shown]
    assert targets.index("/data") < targets.index("/data/a/b")


def test_only_the_outbox_and_writable_grants_are_writable() -> None:
    folders = {name: Path("/h", name) for name in ("code", "socket", "inbox", "outbox")}
    binds = (Bind(Path("/h/r"), "/r"), Bind(Path("/h/w"), "/w", writable=True))
    shown = bubblewrap.mounts(spec(policy=SandboxPolicy(binds=binds), **folders), RUNTIME)
    assert {m.target for m in shown if m.writable} == {"/outbox", "/w"}
    assert {m.target for m in shown} == {
        *("/opt/py", "/ext", "/run/bus.sock", "/inbox", "/outbox", "/r", "/w")
    }


def test_python_is_the_runtime_s_and_other_commands_stay() -> None:
    assert bubblewrap.command(("python", "-m", "x"), RUNTIME) == [
        *("/opt/py/bin/python", "-E", "-s", "-B", "-u", "-m", "x")
    ]
    assert bubblewrap.command(("/ext/tool", "x"), RUNTIME) == ["/ext/tool", "x"]


def test_no_option_shares_the_network_or_another_namespace() -> None:
    options = bubblewrap.options(SandboxPolicy(), [], [])
    for name in ("user", "pid", "net", "ipc", "uts"):
        assert f"--unshare-{name}" in options
    assert not any(option.startswith("--share") for option in options)
    assert options[-6:-2] == ["--remount-ro", "/", "--remount-ro", "/dev"]


def test_places_are_those_inside_or_the_host_s() -> None:
    inside = spec(inbox=Path("/h/in"), outbox=Path("/h/out"))
    assert places(inside) == ("/ext", "/inbox", "/outbox", "/run/bus.sock")
    outside = spec(inbox=Path("/h/in"), policy=SandboxPolicy(level=Level.NONE))
    assert places(outside) == ("", "/h/in", "", "")


@pytest.mark.parametrize(
    ("code", "text", "killed", "kind"),
    [
        (0, "", None, "finished"),
        (1, "x\nwhy\n\n", None, "error"),
        (137, "", None, "signal"),
        (137, "", "deadline", "killed"),
        (0, "", "deadline", "killed"),
        (159, "", None, "seccomp"),
        (152, "", None, "cpu"),
        (200, "", None, "error"),
        (127, "prlimit: failed to execute /x: No such file or directory", None, "spawn-failed"),
        (127, "sh: x: not found", None, "error"),
        (None, "bwrap: Can't find source path /x", None, "spawn-failed"),
        (None, "", None, "spawn-failed"),
    ],
)
def test_reasons(code: int | None, text: str, killed: str | None, kind: str) -> None:
    assert exits.interpret(code, text, killed=killed).kind == kind


def test_reasons_carry_signal_and_text() -> None:
    assert exits.interpret(139, "").signal == signal.SIGSEGV
    assert exits.interpret(1, "x\nwhy\n").text == "why"


def test_identities_are_distinct_until_given_back() -> None:
    identities = Identities()
    taken = {identities.take() for _ in range(1000)}
    assert len(taken) == 1000
    assert all(FIRST <= uid < FIRST + COUNT for uid in taken)


def test_identities_refuse_a_small_map(tmp_path: Path) -> None:
    uid_map = tmp_path / "uid_map"
    uid_map.write_text("         0          0 4294967295\n")
    check_range(uid_map)
    uid_map.write_text("0 100000 65536\n")
    with pytest.raises(SandboxRefused, match="user ids"):
        check_range(uid_map)


def test_this_runtime_has_no_nested_folder_and_covers_the_interpreter() -> None:
    found = runtime.find()
    for folder in found.folders:
        assert folder.is_dir()
        assert not folder.is_relative_to("/usr")
        assert not Path.home().is_relative_to(folder)
        others = [other for other in found.folders if other != folder]
        assert not any(folder.is_relative_to(other) for other in others)
    shown = (*found.folders, Path("/usr"))
    for path in (sys.executable, sys.prefix, sys.base_prefix, Path(sys.executable).resolve()):
        assert any(Path(path).is_relative_to(folder) for folder in shown)


def test_a_nul_byte_cannot_smuggle_in_an_option() -> None:
    policy = SandboxPolicy(environment={"A": "x\0--bind\0/\0/host"})
    with pytest.raises(ValueError, match="NUL"):
        bubblewrap.options(policy, [], [])
    for argv in ((), ("a\0b",)):
        with pytest.raises(ValueError, match="command"):
            bubblewrap.command(argv, RUNTIME)
