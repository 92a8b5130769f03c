"""What is said where a sandbox cannot be had: each refusal with the remedy, none in silence."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from symphony.sandboxes import Level, LocalLauncher, SandboxPolicy, SandboxRefused, SpawnSpec

_USER = 12_345

# Makes this interpreter reachable for another user although it lies in a private home, then drops.
_AS_USER = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/base
mount --bind "$BASE" /mnt/base
home=/$(echo "$BASE" | cut -d/ -f2)
if [ "$home" != /usr ]; then
  mount -t tmpfs -o mode=755 tmpfs "$home"
  mkdir -p "$BASE"
  mount --move /mnt/base "$BASE"
fi
cd /
exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups "$@"
"""


def as_user(*argv: str) -> list[str]:
    """A command that runs `argv` as an ordinary user (in a private mount namespace)."""
    return ["unshare", "--mount", "sh", "-c", _AS_USER, "sh", *argv]


def user_environment(folder: Path) -> dict[str, str]:
    return {
        **{key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ},
        "BASE": sys.base_prefix,
        "USER_ID": str(_USER),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def user_folder(as_root: None) -> Any:
    """A folder of the ordinary user's, reachable for it."""
    made = subprocess.run(["mktemp", "-d", "/var/tmp/symphony-test-XXXXXX"], **_RUN)
    folder = Path(made.stdout.strip())
    os.chown(folder, _USER, _USER)
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


_RUN: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 300, "check": True}

_TRY = """
import asyncio, sys
from pathlib import Path
from symphony.sandboxes import Level, LocalLauncher, SandboxPolicy, SandboxRefused, SpawnSpec
async def main():
    launcher = LocalLauncher()
    await launcher.start()
    log = Path(sys.argv[1], "log")
    try:
        for level in (Level.STRICT, Level.NONE):
            spec = SpawnSpec(instance="x", argv=("/usr/bin/true",),
                             policy=SandboxPolicy(level=level), log=log)
            try:
                print(level, (await (await launcher.spawn(spec)).wait()).kind)
            except SandboxRefused as refusal:
                print(level, refusal.mechanism, "|", refusal.remedy)
    finally:
        await launcher.close()
asyncio.run(main())
"""


def _refusal(launcher: LocalLauncher, log: Path, level: Level = Level.STRICT) -> SandboxRefused:
    async def whole() -> SandboxRefused:
        await launcher.start()
        try:
            policy = SandboxPolicy(level=level)
            spec = SpawnSpec(instance="x", argv=("/usr/bin/true",), policy=policy, log=log)
            with pytest.raises(SandboxRefused) as caught:
                await launcher.spawn(spec)
            trusted = SandboxPolicy(level=Level.NONE)
            plain = SpawnSpec(instance="x", argv=("/usr/bin/true",), policy=trusted, log=log)
            assert (await (await launcher.spawn(plain)).wait()).kind == "finished"
            return caught.value
        finally:
            await launcher.close()

    return asyncio.run(whole())


def test_without_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refusal = _refusal(LocalLauncher(), tmp_path / "log")
    assert refusal.mechanism == "bubblewrap"
    assert "apt-get install bubblewrap" in refusal.remedy


def test_with_a_bubblewrap_that_does_not_work(tmp_path: Path) -> None:
    refusal = _refusal(LocalLauncher(bwrap="/usr/bin/false"), tmp_path / "log")
    assert refusal.mechanism
    assert refusal.remedy


def test_the_level_minimal_is_not_there_yet(tmp_path: Path) -> None:
    refusal = _refusal(LocalLauncher(), tmp_path / "log", Level.MINIMAL)
    assert "minimal" in refusal.mechanism


def test_before_start_nothing_can_be_spawned(tmp_path: Path) -> None:
    spec = SpawnSpec(
        instance="x", argv=("/usr/bin/true",), policy=SandboxPolicy(), log=tmp_path / "log"
    )
    with pytest.raises(RuntimeError, match="not started"):
        asyncio.run(LocalLauncher().spawn(spec))


def test_where_user_namespaces_are_forbidden(user_folder: Path) -> None:
    """In a user namespace whose own limit is zero, as an administrator would set it."""
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --no-new-privs "
    inner = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c"]
    command = [*inner, f'{forbid} --inh-caps=-all --ambient-caps=-all "$@"', "sh"]
    argv = as_user(*command, sys.executable, "-c", _TRY, str(user_folder))
    done = subprocess.run(argv, env=user_environment(user_folder), **_RUN)
    strict, none = done.stdout.splitlines()
    assert "strict user namespaces" in strict, done
    assert "max_user_namespaces" in strict
    assert none == "none finished"


def test_a_root_that_cannot_use_other_user_ids(tmp_path: Path, as_root: None) -> None:
    argv = ["unshare", "--user", "--map-root-user", sys.executable, "-c", _TRY, str(tmp_path)]
    done = subprocess.run(argv, **_RUN)
    strict, none = done.stdout.splitlines()
    assert strict.startswith("strict user ids")
    assert "ordinary user" in strict
    assert none == "none finished"


def test_all_of_it_holds_for_an_ordinary_user(user_folder: Path) -> None:
    """The tests of confinement, files and lifecycle again, by a user without any privilege."""
    here = Path(__file__).parent
    tests = [str(here / f"test_{name}.py") for name in ("confinement", "files", "lifecycle")]
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-W", "error"]
    argv = as_user(
        *(sys.executable, "-m", "pytest", *options, "--rootdir", str(user_folder)),
        *("--basetemp", str(user_folder / "tmp"), "-k", "not killing", *tests),
    )
    done = subprocess.run(argv, env=user_environment(user_folder), **(_RUN | {"check": False}))
    assert done.returncode == 0, done.stdout + done.stderr
