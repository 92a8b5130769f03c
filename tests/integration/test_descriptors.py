"""A player that takes descriptors of the kernel's by connecting to the bus again and again."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from command_harness import PLAYERS, Symphony, of

_, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.mark.parametrize("limits", [(1024, 4096), (1024, HARD)])
def test_a_player_that_floods_its_socket_is_ended_and_the_others_go_on(
    symphony: Symphony, limits: tuple[int, int]
) -> None:
    """The other one is busy meanwhile, and lives until its own deadline."""
    melody = symphony.melody(
        {
            "id": "a",
            "inputs": {"plan": ["connect", "ok"]},
            "retry": {"attempts": 2, "backoff_s": 0},
        },
        {"id": "b", "inputs": {"plan": ["hang"]}, "timeout_s": 4, "importance": "optional"},
    )
    done = symphony.kernel(
        *("run", melody, "--extensions", PLAYERS, "--json", "-"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits),
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (failed,) = of(events, "step.failed", step="a")
    assert failed["exit"].startswith("held ")
    assert failed["exit"].endswith(" connections to its bus socket")
    assert failed["error"]["fault"] == "provider"
    assert {event["error"]["class"] for event in of(events, "step.failed", step="b")} == {
        "deadline"
    }


def test_players_and_members_start_with_the_limit_that_the_kernel_was_given(
    symphony: Symphony,
) -> None:
    kernel = symphony.start("serve", "--json")
    assert kernel.stdout is not None
    kernel.stdout.readline()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    status = json.loads(symphony.kernel("status", "--json").stdout)
    for member in status["extensions"]:
        line = Path(f"/proc/{member['pid']}/limits").read_text().partition("Max open files")[2]
        assert int(line.split()[0]) == soft
