"""The Rust runtime through the Pit's real binaries: joining, calls, ways to end, refusals."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path

import pytest
import zmq
from pit_stage import PATIENCE_S, Play, Stage, binary, ended, launch

from symphony.bus import wire
from symphony.bus.codec import decode_header, encode, encode_header
from symphony.bus.errors import BusError
from symphony.bus.ticket import Ticket
from symphony.kernel import VERSION

DAG = ("symphony-dag-tracker", "pit.dag/1")
ARTIFACTS = ("symphony-artifact-store", "pit.artifacts/1")
POOL = ("symphony-pool-manager", "pit.pool/1")
ARBITRATION = ("symphony-arbitration", "pit.arbitration/1")
MEMBERS = pytest.mark.parametrize(("name", "capability"), [DAG, ARTIFACTS, POOL, ARBITRATION])
TS = "2026-01-01T00:00:00.000Z"


@MEMBERS
def test_a_member_joins_answers_and_leaves_when_asked(
    play: Play, tmp_path: Path, name: str, capability: str
) -> None:
    async def test(stage: Stage) -> None:
        process = await stage.member(name, capability, tmp_path / "store")
        await stage.hub.activate(name, {}, {}, ttl_ms=20_000)
        with pytest.raises(BusError) as caught:
            await stage.hub.call(capability, "no_such_method", {}, ttl_ms=20_000)
        assert caught.value.code in {"bad-request", "not-found"}
        stage.hub.unload(name, 5_000)
        assert await stage.seen.expect("left", name) == "unload"
        code, text = await ended(process)
        assert code == 0, text

    play(test)


def test_many_puts_at_once_are_all_answered_and_survive_a_kill(play: Play, tmp_path: Path) -> None:
    name, capability = ARTIFACTS

    async def test(stage: Stage) -> None:
        process = await stage.member(name, capability, tmp_path)

        async def call(method: str, args: dict[str, object]) -> dict[str, object]:
            reply = await stage.hub.call(capability, method, args, ttl_ms=20_000)
            assert isinstance(reply, dict)
            return reply

        contents = [f"content {number}".encode() for number in range(300)]
        puts = [call("put", {"data": data, "ts": TS}) for data in contents]
        refs = [reply["ref"] for reply in await asyncio.gather(*puts)]
        assert len(set(refs)) == len(contents)
        process.kill()
        await ended(process)
        stage.hub.remove_peer(name)
        await stage.member(name, capability, tmp_path)
        for ref, data in zip(refs, contents, strict=True):
            assert (await call("get", {"ref": ref}))["data"] == data

    play(test)


def test_a_run_is_tracked_across_a_kill(play: Play, tmp_path: Path) -> None:
    name, capability = DAG

    async def test(stage: Stage) -> None:
        process = await stage.member(name, capability, tmp_path)
        run = {
            "run": "r1",
            "melody": "m",
            "version": "1.0.0",
            "digest": "d",
            "document": {},
            "inputs": {},
            "steps": [{"id": "a"}, {"id": "b", "after": [["a", "hard"]]}],
            "ts": TS,
        }
        opened = await stage.hub.call(capability, "open", run, ttl_ms=20_000)
        assert [step for step, _ in opened["ready"]] == ["a"]
        process.kill()
        await ended(process)
        stage.hub.remove_peer(name)
        await stage.member(name, capability, tmp_path)
        runs = await stage.hub.call(capability, "runs", {}, ttl_ms=20_000)
        assert [row["run"] for row in runs["runs"]] == ["r1"]

    play(test)


@MEMBERS
def test_a_member_ends_when_the_hub_falls_silent(
    play: Play, tmp_path: Path, name: str, capability: str
) -> None:
    async def test(stage: Stage) -> None:
        process = await stage.member(name, capability, tmp_path)
        await stage.hub.activate(name, {}, {}, ttl_ms=20_000)
        await stage.hub.close()
        code, text = await ended(process)
        assert code == 5
        assert "error: the hub has fallen silent\nhelp: " in text

    play(test, heartbeat_ms=50)


@MEMBERS
def test_sigterm_ends_a_member_with_bye(
    play: Play, tmp_path: Path, name: str, capability: str
) -> None:
    async def test(stage: Stage) -> None:
        process = await stage.member(name, capability, tmp_path)
        # It is welcomed once it answers: a bye before that would be dropped.
        await stage.hub.activate(name, {}, {}, ttl_ms=20_000)
        process.send_signal(signal.SIGTERM)
        assert await stage.seen.expect("left", name) == "stop"
        code, text = await ended(process)
        assert code == 0, text

    play(test)


def test_a_member_that_may_not_provide_is_sent_away(play: Play, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        process = stage.start(DAG[0], stage.ticket("dag", "pit.other/1"), tmp_path)
        assert await stage.seen.expect("rejected", "dag") == "manifest"
        code, text = await ended(process)
        assert code == 3
        assert "error: the hub sent this process away: manifest\nhelp: " in text

    play(test)


def test_the_secret_is_nowhere_to_be_seen(play: Play, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        ticket = stage.ticket("dag", DAG[1])
        process = stage.start(DAG[0], ticket, tmp_path)
        await stage.seen.expect("registered", "dag")
        proc = Path("/proc", str(process.pid))
        seen = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
        assert ticket.identity.encode() not in seen
        stage.hub.unload("dag", 5_000)
        _, text = await ended(process)
        assert "joined" in text
        assert ticket.identity not in text

    play(test)


@MEMBERS
def test_a_store_in_use_is_refused_naming_the_process(
    play: Play, tmp_path: Path, name: str, capability: str
) -> None:
    async def test(stage: Stage) -> None:
        first = await stage.member(name, capability, tmp_path)
        second = stage.start(name, stage.ticket("second", capability), tmp_path)
        code, text = await ended(second)
        assert code == 6
        assert f"error: the store is in use by process {first.pid} ({tmp_path})\nhelp: " in text
        assert first.poll() is None

    play(test)


@pytest.mark.parametrize("frames", [2, 1])
def test_a_hub_of_another_protocol_is_refused_as_incompatible(
    sockets: Path, tmp_path: Path, frames: int
) -> None:
    """The reason of its bye says so; a malformed message that comes first changes nothing."""
    ticket = Ticket(
        v=1,
        endpoint=f"ipc://{sockets}/hub.sock",
        identity="5e" * 16,
        instance="dag",
        inbox="/inbox",
        outbox="/outbox",
    )
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        router.rcvtimeo = int(PATIENCE_S * 1000)
        router.bind(ticket.endpoint)
        process = launch(DAG[0], ticket, tmp_path)
        try:
            peer, header, _ = router.recv_multipart()
            assert peer == bytes.fromhex(ticket.identity)
            assert decode_header(header).kind == wire.HELLO
            if frames == 1:
                router.send_multipart([peer, b"\xc1"])
            router.send_multipart([peer, encode_header(wire.BYE), encode({"reason": "protocol"})])
            _, error = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 5
    assert b"error: the hub does not speak protocol 1" in error


@MEMBERS
def test_bad_use_is_told_in_two_lines(tmp_path: Path, name: str, capability: str) -> None:
    def use(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [binary(name), *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    version = use("--version")
    assert (version.returncode, version.stdout) == (0, f"{name} {VERSION} (protocol 1)\n")
    assert "--store" in use("--help").stdout
    for arguments in ([], ["--nonsense"], ["--store"]):
        bad = use(*arguments)
        assert bad.returncode == 2
        assert [line.split(":")[0] for line in bad.stderr.splitlines()] == ["error", "help"]
    process = launch(name, None, tmp_path)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert b"error: SYMPHONY_TICKET is not set\nhelp: " in error


@MEMBERS
@pytest.mark.parametrize("damage", ["newer", "unwritable", "a link"])
def test_a_store_that_cannot_be_opened_is_refused(
    play: Play, tmp_path: Path, name: str, capability: str, damage: str
) -> None:
    store = tmp_path / "store"
    if damage == "newer":
        store.mkdir()
        kind = capability.partition("/")[0].removeprefix("pit.")
        (store / "format").write_text(f"symphony-{kind} 99\n")
    elif damage == "a link":
        (tmp_path / "elsewhere").mkdir()
        store.symlink_to("elsewhere")
    else:
        store.write_text("a file stands where the folder should be")

    async def test(stage: Stage) -> None:
        process = stage.start(name, stage.ticket(name, capability), store)
        code, text = await ended(process)
        assert code == 6
        *_, error, remedy = text.splitlines()
        assert error.startswith("error: ")
        assert str(store) in error
        assert remedy.startswith("help: ")

    play(test)
