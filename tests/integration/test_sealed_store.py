"""A store that is sealed: without its key a run stops and can be resumed, and nothing passes for
verified that nobody could read."""

from __future__ import annotations

import pytest
from command_harness import PLAYERS, Symphony
from interface_checks import check_errors

KEY, OTHER = "11" * 32, "22" * 32


def give(symphony: Symphony, *keys: str, mode: int = 0o600) -> None:
    file = symphony.home / "artifacts.keys"
    file.write_text("\n".join(keys))
    file.chmod(mode)


@pytest.fixture
def sealed(symphony: Symphony) -> Symphony:
    """A home with a sealed artifact `symphony.ref`."""
    give(symphony, KEY)
    step = {"id": "a", "inputs": {"plan": ["secret words"]}}
    symphony.path = symphony.melody(step, outputs={"x": "$steps.a.answer"})
    code, events = symphony.play(symphony.path)
    assert code == 0, events
    symphony.ref = events[-1]["artifacts"]["x"]["reference"]
    return symphony


def test_without_the_key_nothing_is_lost_and_nothing_passes_for_verified(
    sealed: Symphony,
) -> None:
    give(sealed, OTHER)
    check_errors(sealed.kernel("artifacts", "get", sealed.ref), 3, "not among those given")
    for command in (("artifacts", "verify"), ("artifacts", "verify", sealed.ref), ("verify",)):
        said = check_errors(sealed.kernel(*command), 3, "could not be read", "artifacts.keys")
        assert "as they were put" not in said

    done = sealed.kernel("run", sealed.path, "--extensions", PLAYERS, "--json", "-")
    said = check_errors(done, 3, "not among those given", "run --resume")
    run = said.rpartition("--resume ")[2].split()[0]
    assert sealed.answer("runs", "show", run)["state"] == "open"
    give(sealed, OTHER, KEY)  # the new key seals, both open
    resumed = sealed.kernel("run", "--resume", run, "--extensions", PLAYERS)
    assert resumed.returncode == 0, resumed.stderr
    assert sealed.kernel("artifacts", "get", sealed.ref).stdout == "secret words"
    assert sealed.kernel("verify").returncode == 0


def test_a_key_that_others_can_read_is_refused(sealed: Symphony) -> None:
    for keys, mode in (((KEY,), 0o644), (("zz",), 0o600)):
        give(sealed, *keys, mode=mode)
        done = sealed.kernel("artifacts", "get", sealed.ref)
        check_errors(done, 6, "artifacts.keys", "file of mode 0600")
    give(sealed, KEY)
    assert sealed.kernel("artifacts", "get", sealed.ref).stdout == "secret words"
