"""Consoles elsewhere: with a known key they are let in over tcp, everybody else gets nothing."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import msgspec
import pytest
import zmq
from command_harness import PEERS, Symphony
from interface_checks import check_error_json, check_errors, schema
from zmq.utils.monitor import recv_monitor_message

from symphony.bus.client import Client
from symphony.bus.codec import encode, encode_header
from symphony.bus.errors import BusError
from symphony.bus.listener import DeadLetter
from symphony.bus.messages import Hello
from symphony.bus.ticket import Curve, Ticket
from symphony.bus.wire import CALL, HELLO
from symphony.kernel.console import CAPABILITY
from symphony.kernel.deadletters import DeadLetterBox
from symphony.kernel.places import Places
from symphony.kernel.remote import METHODS

PATIENCE_MS = 10_000
TURNED_AWAY = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)


@pytest.fixture
def endpoint() -> str:
    """A loopback endpoint that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


def export(symphony: Symphony, name: str, endpoint: str, file: str = "") -> Path:
    out = symphony.folder / (file or f"{name}.ticket")
    symphony.answer("keys", "export", name, "--connect", endpoint, "--out", out)
    return out


def elsewhere(symphony: Symphony, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command on a machine without this home: it has nothing but its ticket."""
    away = symphony.folder / "elsewhere"
    environment = {**symphony.environment, "SYMPHONY_HOME": str(away)}
    done = symphony.kernel(*arguments, env=environment)
    assert not away.exists()
    return done


def hello_is_answered(ticket: Ticket) -> bool:
    """Says hello as this ticket allows; whether anything comes before it is turned away."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.routing_id = ticket.routing_id()
        if ticket.curve is not None:
            peer.curve_serverkey = ticket.curve.server.encode()
            peer.curve_publickey = ticket.curve.public.encode()
            peer.curve_secretkey = ticket.curve.secret.encode()
        watch = peer.get_monitor_socket(TURNED_AWAY)
        peer.connect(ticket.endpoint)
        hello = Hello(protocol=1, sdk="test", pid=os.getpid(), provides=[])
        peer.send_multipart([encode_header(HELLO), encode(hello)])
        poller = zmq.Poller()
        poller.register(peer, zmq.POLLIN)
        poller.register(watch, zmq.POLLIN)
        ready = dict(poller.poll(PATIENCE_MS))
        assert ready, "neither answered nor turned away"
        if watch in ready:
            recv_monitor_message(watch)
        peer.disable_monitor()
        watch.close(linger=0)
        return peer in ready


def test_a_known_key_may_ask_send_again_and_stop(symphony: Symphony, endpoint: str) -> None:
    process = symphony.serve("--listen", endpoint)
    made = symphony.answer("keys", "new", "laptop")
    assert made["name"] == "laptop"
    ticket = export(symphony, "laptop", endpoint)
    done = elsewhere(symphony, "status", "--ticket", ticket, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pid"] == process.pid

    symphony.environment = {**symphony.environment, "SYMPHONY_TICKET": f"file:{ticket}"}
    bus = json.loads(elsewhere(symphony, "bus", "--json").stdout)
    assert any(flow["caller"].startswith("remote/") for flow in bus["flows"])
    check_errors(elsewhere(symphony, "deadletter", "redrive", "1f2e3d4c5b6a"), 4)
    done = elsewhere(symphony, "stop", "--json")
    assert json.loads(done.stdout) == {"stopped": False, "pid": process.pid}
    assert process.wait(30) == 0
    check_errors(elsewhere(symphony, "status"), 5, endpoint)


def test_a_damaged_key_keeps_nobody_else_out(symphony: Symphony, endpoint: str) -> None:
    symphony.serve("--listen", endpoint)
    symphony.answer("keys", "new", "laptop")
    ticket = export(symphony, "laptop", endpoint)
    consoles = symphony.home / "keys" / "consoles"
    (consoles / "broken.json").write_text('{"bad')
    pair = json.loads((consoles / "laptop.json").read_text())
    (consoles / "also.json").write_text(json.dumps({**pair, "public": "~" * 40}))
    for _ in range(2):
        done = elsewhere(symphony, "status", "--ticket", ticket, "--json")
        assert done.returncode == 0, done.stderr
    log = (symphony.home / "logs" / "kernel.log").read_text()
    assert log.count("a key is left out") == 2
    assert "failed" not in log
    assert pair["secret"] not in log
    check_errors(symphony.kernel("keys", "list"), 6, "also.json")


def test_what_works_on_a_home_asks_which_while_a_ticket_names_a_kernel(
    symphony: Symphony, tmp_path: Path
) -> None:
    lost = DeadLetter(CALL, "asker-3", "", "test.count/1", None, "unavailable", encode({}), {})
    DeadLetterBox(symphony.home).add(lost)
    ticket = f"file:{tmp_path / 'elsewhere.ticket'}"
    symphony.environment = {**symphony.environment, "SYMPHONY_TICKET": ticket}
    for command in (("deadletter", "drop", "--all"), ("runs", "list"), ("keys", "rotate")):
        check_errors(symphony.kernel(*command), 2, "SYMPHONY_TICKET", "--home")
    assert len(DeadLetterBox(symphony.home).all(5).letters) == 1
    done = symphony.kernel("deadletter", "drop", "--all", "--home", symphony.home)
    assert done.returncode == 0, done.stderr


def test_the_page_s_program_asks_a_running_kernel(symphony: Symphony) -> None:
    page = (Path(__file__).parents[2] / "EXTENSION.md").read_text()
    text = page.partition("<!-- client: ask.py -->\n```python\n")[2].partition("```")[0]
    program = symphony.write("ask.py", text)
    symphony.serve()
    ticket = Places.find(symphony.home, symphony.environment).console
    done = subprocess.run(
        [sys.executable, program],
        env={**symphony.environment, "SYMPHONY_TICKET": f"file:{ticket}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    version, states = done.stdout.splitlines()
    assert version == symphony.answer("status")["version"]
    assert states.count("degraded") + states.count("running") == 3


def test_letters_are_looked_at_from_elsewhere_as_at_home(symphony: Symphony, endpoint: str) -> None:
    body = encode({"word": b"late"})
    lost = DeadLetter(CALL, "asker-3", "", "test.count/1", None, "unavailable", body, {})
    DeadLetterBox(symphony.home).add(lost)
    symphony.serve("--listen", endpoint)
    symphony.answer("keys", "new", "laptop")
    ticket = export(symphony, "laptop", endpoint)
    listed = symphony.answer("deadletter", "list")
    letter = listed["letters"][0]["id"]
    for command in (("list",), ("show", letter)):
        there = elsewhere(symphony, "deadletter", *command, "--ticket", ticket, "--json")
        assert there.returncode == 0, there.stderr
        assert json.loads(there.stdout) == symphony.answer("deadletter", *command)
    unknown = elsewhere(symphony, "deadletter", "show", "1f2e3d4c5b6a", "--ticket", ticket)
    check_errors(unknown, 4, "1f2e3d4c5b6a", "deadletter list")
    failed = elsewhere(symphony, "deadletter", "redrive", letter, "--ticket", ticket)
    check_errors(failed, 5, "test.count/1")
    with Client(Ticket.from_json(ticket.read_bytes())) as client:
        for limit in (0, 1_001, "all"):
            with pytest.raises(BusError, match="1 to 1000"):
                client.call(CAPABILITY, "letters", {"limit": limit}, ttl_ms=PATIENCE_MS)


def test_a_ticket_that_others_can_read_is_refused(symphony: Symphony, endpoint: str) -> None:
    symphony.answer("keys", "new", "laptop")
    ticket = export(symphony, "laptop", endpoint)
    ticket.chmod(0o644)
    done = elsewhere(symphony, "status", "--ticket", ticket, "--json")
    check_errors(done, 3, str(ticket), f"chmod 600 {ticket}")
    assert check_error_json(done)["code"] == "refused"


def test_from_elsewhere_nothing_else_is_answered(symphony: Symphony, endpoint: str) -> None:
    symphony.serve("--listen", endpoint)
    symphony.answer("keys", "new", "laptop")
    ticket = Ticket.from_json(export(symphony, "laptop", endpoint).read_bytes())
    folder = {"folder": str(PEERS / "counter")}
    with Client(ticket) as client:
        for method, args in (("attach", folder), ("call", {}), ("rekey", {}), ("attached", {})):
            with pytest.raises(BusError) as refused:
                client.call(CAPABILITY, method, args, ttl_ms=PATIENCE_MS)
            assert refused.value.code == "refused"
            assert refused.value.help == "from elsewhere: " + ", ".join(sorted(METHODS))
        with pytest.raises(BusError) as refused:
            client.call("pit.dag/1", "runs", {}, ttl_ms=PATIENCE_MS)
        assert refused.value.code == "refused"


@pytest.mark.parametrize("kind", ["plain", "unknown", "wrong-hub"])
def test_without_the_right_keys_nothing_is_answered(
    symphony: Symphony, endpoint: str, kind: str
) -> None:
    symphony.serve("--listen", endpoint)
    symphony.answer("keys", "new", "laptop")
    right = Ticket.from_json(export(symphony, "laptop", endpoint).read_bytes())
    assert right.curve is not None
    public, secret = (key.decode() for key in zmq.curve_keypair())
    wrong = {
        "plain": None,
        "unknown": Curve(right.curve.server, public, secret),
        "wrong-hub": Curve(public, right.curve.public, right.curve.secret),
    }[kind]
    assert hello_is_answered(right)
    assert not hello_is_answered(msgspec.structs.replace(right, curve=wrong))
    rule = "key" if kind == "unknown" else "handshake"
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not (refused := symphony.answer("bus")["refusals"]):
        assert time.monotonic() < deadline, "it was not counted"
    assert [(row["caller"], row["capability"], row["rule"]) for row in refused] == [
        ("remote", "connect", rule)
    ]


def test_a_revoked_key_is_cut_off_and_stays_out(symphony: Symphony, endpoint: str) -> None:
    symphony.serve("--listen", endpoint)
    for name in ("laptop", "desk"):
        symphony.answer("keys", "new", name)
    lost, kept = (export(symphony, name, endpoint) for name in ("laptop", "desk"))
    with Client(Ticket.from_json(lost.read_bytes())) as client:
        client.call(CAPABILITY, "status", ttl_ms=PATIENCE_MS)
        assert symphony.answer("keys", "revoke", "laptop") == {"revoked": "laptop"}
        with pytest.raises(BusError):
            client.call(CAPABILITY, "status", ttl_ms=2_000)
    done = elsewhere(symphony, "status", "--ticket", lost, "--json")
    check_errors(done, 3, endpoint, "revoked", "keys export")
    assert check_error_json(done)["code"] == "refused"
    assert elsewhere(symphony, "status", "--ticket", kept).returncode == 0
    listed = symphony.answer("keys", "list")
    jsonschema.validate(listed, schema("keys"))
    assert [key["name"] for key in listed["keys"]] == ["desk"]
    check_errors(symphony.kernel("keys", "export", "laptop", "--connect", endpoint, "-o", "x"), 4)
    check_errors(symphony.kernel("keys", "revoke", "laptop"), 4, "laptop")


def test_after_a_rotation_only_new_tickets_work(symphony: Symphony, endpoint: str) -> None:
    symphony.answer("keys", "new", "laptop")
    old = export(symphony, "laptop", endpoint)
    process = symphony.serve("--listen", endpoint)
    assert elsewhere(symphony, "status", "--ticket", old).returncode == 0
    assert "no ticket exported before works any more" in symphony.kernel("keys", "rotate").stdout
    check_errors(elsewhere(symphony, "status", "--ticket", old), 5, "rotated")
    new = export(symphony, "laptop", endpoint, "new.ticket")
    assert elsewhere(symphony, "status", "--ticket", new).returncode == 0
    process.terminate()
    process.wait(30)
    symphony.serve("--listen", endpoint)
    assert elsewhere(symphony, "status", "--ticket", new).returncode == 0


def test_secrets_are_the_users_alone_and_never_printed(symphony: Symphony, endpoint: str) -> None:
    said = [symphony.kernel("keys", "new", "laptop"), symphony.kernel("keys", "rotate")]
    ticket = export(symphony, "laptop", endpoint)
    said += [symphony.kernel("keys", "list"), symphony.kernel("keys", "list", "--json")]
    assert stat.S_IMODE(ticket.stat().st_mode) == 0o600
    found = list((symphony.home / "keys").rglob("*"))
    assert len(found) == 3
    for path in (symphony.home / "keys", *found):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
        if path.is_file():
            secret = json.loads(path.read_text())["secret"]
            assert not any(secret in done.stdout + done.stderr for done in said)
    check_errors(
        symphony.kernel("keys", "export", "laptop", "--connect", endpoint, "--out", ticket), 2
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("keys", "new", "Not A Name"), 2, "NAME"),
        (("keys", "new", "../x"), 2, "NAME"),
        (("keys", "new", "hub"), 2, "another name"),
        (("keys", "revoke", "hub"), 2, "keys rotate"),
        (("keys", "export", "hub", "--connect", "tcp://x:1", "--out", "t"), 2, "keys new NAME"),
        (("keys", "revoke", "../../kernel"), 4, "keys list"),
        (("keys", "export", "a", "--connect", "tcp://x", "--out", "t"), 4, "keys list"),
        (("serve", "--listen", "ipc:///tmp/x"), 2, "tcp://HOST:PORT"),
        (("serve", "--listen", "tcp://127.0.0.1:0"), 2, "tcp://HOST:PORT"),
        (("serve", "--listen", "tcp://127.0.0.1:70000"), 2, "tcp://HOST:PORT"),
        (("status", "--ticket", "missing.ticket"), 2, "missing.ticket"),
        (("status", "--ticket", "x", "--home", "y"), 2, "--home"),
    ],
)
def test_bad_usage_is_told_with_a_remedy(
    symphony: Symphony, arguments: tuple[str, ...], code: int, words: str
) -> None:
    check_errors(symphony.kernel(*arguments), code, words)


def test_without_keys_the_list_says_how_to_make_one(symphony: Symphony) -> None:
    assert "symphony-kernel keys new NAME" in symphony.kernel("keys", "list").stdout
    assert symphony.answer("keys", "list") == {"hub": None, "keys": []}


def test_a_taken_name_or_port_is_told(symphony: Symphony, endpoint: str) -> None:
    symphony.answer("keys", "new", "laptop")
    check_errors(symphony.kernel("keys", "new", "laptop"), 2, "keys revoke laptop")
    assert len(symphony.answer("keys", "list")["keys"]) == 1
    port = int(endpoint.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        check_errors(symphony.kernel("serve", "--listen", endpoint), 6, endpoint, "--listen")


def test_a_damaged_key_is_named_without_its_content(symphony: Symphony) -> None:
    symphony.answer("keys", "new", "laptop")
    path = symphony.home / "keys" / "consoles" / "laptop.json"
    path.write_text(path.read_text()[:-9])
    said = check_errors(symphony.kernel("keys", "list"), 6, str(path))
    assert "secret" not in said
