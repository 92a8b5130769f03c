"""Who may connect: the right user and process; everybody else gets nothing and is counted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from command_harness import LIMIT_S, PEERS, Symphony
from interface_checks import schema

from symphony.bus.client import Client
from symphony.bus.errors import BusError
from symphony.bus.ticket import Ticket
from symphony.kernel.places import Places

NOBODY = 65_534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def runtime_of(symphony: Symphony) -> Path:
    return Places.find(symphony.home, symphony.environment).runtime


def refusals(symphony: Symphony) -> list[dict[str, Any]]:
    answer = symphony.answer("bus")
    jsonschema.validate(answer, schema("bus"))
    found: list[dict[str, Any]] = answer["refusals"]
    return found


def leaked(symphony: Symphony, instance: str) -> Ticket:
    """The ticket that the peer `leaker` wrote to its log, for use outside of its sandbox."""
    log = (symphony.home / "logs" / f"{instance}.log").read_text()
    ticket = Ticket.from_json(
        next(line for line in log.splitlines() if "identity" in line).encode()
    )
    number = instance.rpartition("-")[2]
    endpoint = f"ipc://{runtime_of(symphony) / f'{number}.sock'}"
    return msgspec.structs.replace(ticket, endpoint=endpoint)


def join(ticket: Ticket) -> str:
    """The code of the error that a new console gets with this ticket; empty: it is let in."""
    try:
        Client(ticket).close()
    except BusError as error:
        return error.code
    return ""


def join_as_nobody(ticket: Ticket) -> str:
    """The same of a process of another user. Not another program: it need not be able to read
    the interpreter."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writing, join(ticket).encode() or b"let in")
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as said:  # noqa: PTH123 - a descriptor
        code = said.read().decode()
    os.waitpid(child, 0)
    return code


def is_logged(symphony: Symphony, peer: str, rule: str) -> bool:
    lines = (symphony.home / "logs" / "kernel.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return any(e.get("peer") == peer and e.get("rule") == rule for e in entries)


@as_root
def test_another_user_with_the_consoles_ticket_is_refused(symphony: Symphony) -> None:
    symphony.serve()
    runtime = runtime_of(symphony)
    stolen = Ticket.from_json((runtime / "console.json").read_bytes())
    assert join(stolen) == ""
    # As if the folder had been open: it is not, but the hub relies on no folder.
    runtime.chmod(0o711)
    (runtime / "console.sock").chmod(0o666)
    assert join_as_nobody(stolen) == "unavailable"
    assert {"caller": "console", "capability": "connect", "rule": "uid"}.items() <= refusals(
        symphony
    )[0].items()
    assert is_logged(symphony, "console", "uid")
    assert symphony.answer("status")["refusals"] >= 1
    assert "refusals" in symphony.kernel("status").stdout


@pytest.mark.parametrize(
    ("level", "rule"), [("none", "pid"), pytest.param("strict", "uid", marks=as_root)]
)
def test_an_instances_ticket_is_of_no_use_outside_of_its_processes(
    symphony: Symphony, level: str, rule: str
) -> None:
    symphony.serve()
    instance = symphony.attach(PEERS / "leaker", "--sandbox", level)["instance"]
    ticket = leaked(symphony, instance)
    assert join(ticket) == "unavailable"
    (row,) = [row for row in refusals(symphony) if row["caller"] == instance]
    assert (row["capability"], row["rule"]) == ("connect", rule)
    assert is_logged(symphony, instance, rule)
    # Nothing happened to the one that it belongs to.
    states = {e["instance"]: e["state"] for e in symphony.answer("status")["extensions"]}
    assert states[instance] == "activated"
    assert ticket.identity not in (symphony.home / "logs" / "kernel.log").read_text()


def test_a_refused_call_is_counted_with_caller_capability_and_rule(symphony: Symphony) -> None:
    symphony.serve()
    asker = symphony.attach(PEERS / "asker")["instance"]
    (error,) = symphony.ask("x", capability="pit.dag/1")["found"]
    assert error["code"] == "refused"
    assert error["help"]
    assert {"caller": asker, "capability": "pit.dag/1", "rule": "calls", "times": 1} in refusals(
        symphony
    )
    assert "pit.dag/1" in symphony.kernel("bus").stdout


def test_an_instances_socket_goes_with_it(symphony: Symphony) -> None:
    symphony.serve()
    instance = symphony.attach(PEERS / "counter")
    number = instance["instance"].rpartition("-")[2]
    path = runtime_of(symphony) / f"{number}.sock"
    assert path.is_socket()
    os.kill(instance["pid"], signal.SIGKILL)
    deadline = time.monotonic() + LIMIT_S
    while any(
        e["instance"] == instance["instance"] for e in symphony.answer("status")["extensions"]
    ):
        assert time.monotonic() < deadline, "it is still there"
    assert not path.exists()
