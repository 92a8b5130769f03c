"""Real hub, real sockets, real processes: the SDK and both clients."""

import asyncio
import os
import queue
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from symphony.bus.aio import AsyncClient
from symphony.bus.client import Client
from symphony.bus.datapath import Datapath
from symphony.bus.errors import BusError
from symphony.bus.hub import DeadLetter, Grants, Hub, Request
from symphony.bus.messages import Hello
from symphony.bus.reference import ReferenceDatapath
from symphony.bus.ticket import Ticket

LIMIT_S = 20.0
ECHO = "test.echo/1"
CODE = """
import os, threading
from pathlib import Path
from symphony.bus.extension import Extension

ext = Extension()

@ext.provides("test.echo/1")
def echo(ctx, text: str, times: int = 1) -> dict:
    ctx.progress(1, 2, "half")
    place = ctx.outbox / "out.txt"
    place.write_text(text * times)
    return {"file": place, "text": text, "who": ctx.params.get("who")}

@ext.provides("test.echo/1", "wait")
def wait(ctx):
    ctx.progress(0)
    ctx.wait(3_600)

@ext.provides("test.echo/1", "hang")
def hang(ctx):
    ctx.progress(0)
    threading.Event().wait()

@ext.provides("test.echo/1", "die")
def die(ctx):
    os._exit(3)

@ext.provides("test.echo/1", "wrong")
def wrong(ctx) -> Path:
    return Path("/etc/hostname")

@ext.provides("test.echo/1", "raises")
def raises(ctx):
    raise ValueError("no good")

@ext.provides("test.other/1")
def other(ctx):
    return ctx.call("kernel.served/1", "m", x=1)

ext.run()
"""


class Kernel:
    """The least a kernel does: a hub, and one event per notice."""

    def __init__(
        self, folder: Path, make: Callable[[], Datapath] | Datapath = ReferenceDatapath
    ) -> None:
        self.folder = folder
        self.notices: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self.hub = Hub(make, heartbeat_ms=200, liveness=5, listener=self)
        self.processes: list[subprocess.Popen[bytes]] = []

    def registered(self, instance: str, hello: Hello) -> None:
        self.notices.put_nowait(("registered", instance))

    def rejected(self, instance: str, reason: str) -> None:
        self.notices.put_nowait(("rejected", instance, reason))

    def silent(self, instance: str) -> None:
        self.notices.put_nowait(("silent", instance))

    def left(self, instance: str, reason: str) -> None:
        self.notices.put_nowait(("left", instance, reason))

    def overdue(self, instance: str) -> None:
        self.notices.put_nowait(("overdue", instance))

    def undelivered(self, letter: DeadLetter) -> None:
        """Tested elsewhere."""

    def bus_ended(self, reason: str) -> None:
        self.notices.put_nowait(("bus ended", reason))

    async def told(self, *notice: str) -> None:
        while await self.notices.get() != notice:
            pass

    def ticket(self, name: str, grants: Grants) -> Ticket:
        ticket = self.hub.add_peer(name, f"ipc://{self.folder}/{name}", grants)
        inbox, outbox = self.folder / "in", self.folder / "out"
        inbox.mkdir(exist_ok=True)
        outbox.mkdir(exist_ok=True)
        return msgspec.structs.replace(ticket, inbox=str(inbox), outbox=str(outbox))

    async def spawn(self, name: str = "p") -> "subprocess.Popen[bytes]":
        grants = Grants(
            provides=frozenset({ECHO, "test.other/1"}), calls=frozenset({"kernel.served/1"})
        )
        ticket = self.ticket(name, grants)
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [sys.executable, "-c", CODE],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"SYMPHONY_TICKET": "fd:0"},
        )
        self.processes.append(process)
        assert process.stdin is not None
        process.stdin.write(ticket.to_json())
        process.stdin.close()
        await self.told("registered", name)
        return process

    async def ended(self, process: "subprocess.Popen[bytes]") -> int:
        return await asyncio.to_thread(process.wait, LIMIT_S)


@asynccontextmanager
async def kernel(
    folder: Path, make: Callable[[], Datapath] | Datapath = ReferenceDatapath
) -> AsyncIterator[Kernel]:
    made = Kernel(folder, make)
    await made.hub.start()
    try:
        yield made
    finally:
        await made.hub.close()
        for process in made.processes:
            process.kill()
            process.wait()


def run(
    folder: Path,
    test: Callable[[Kernel], Any],
    make: Callable[[], Datapath] | Datapath = ReferenceDatapath,
) -> None:
    async def main() -> None:
        async with asyncio.timeout(LIMIT_S), kernel(folder, make) as made:
            await test(made)

    asyncio.run(main())


def test_an_extension_answers_with_progress_files_and_typed_errors(tmp_path: Path) -> None:
    async def test(kernel: Kernel) -> None:
        await kernel.spawn()
        call = kernel.hub.call
        await kernel.hub.activate("p", {}, {"who": "me"}, ttl_ms=5_000)
        (tmp_path / "in" / "f").mkdir()
        (tmp_path / "in" / "f" / "a.txt").write_text("é")
        progress: list[dict[str, Any]] = []
        args = {"text": {"$file": "a.txt"}, "times": 2, "$": {"folder": "f"}}
        answer = await call(ECHO, None, args, on_progress=progress.append)
        assert answer == {"file": {"$file": "out.txt"}, "text": "é", "who": "me"}
        assert (tmp_path / "out" / "f" / "out.txt").read_text() == "éé"
        assert progress == [{"done": 1, "total": 2, "message": "half", "spent": {}}]
        wrong: list[tuple[dict[str, object], str]] = [
            ({"text": 1}, "text"),
            ({}, "text"),
            ({"text": "x", "times": "2"}, "times"),
            ({"text": "x", "more": 1}, "more"),
            ({"text": {"$file": "../a.txt"}}, "text"),
        ]
        for bad, where in wrong:
            with pytest.raises(BusError) as caught:
                await call(ECHO, None, bad)
            assert (caught.value.code, caught.value.where) == ("bad-request", where)
        with pytest.raises(BusError) as caught:
            await call(ECHO, "wrong", {})
        assert caught.value.code == "wrong-output"
        with pytest.raises(BusError) as caught:
            await call(ECHO, "raises", {})
        assert (caught.value.code, caught.value.cls, caught.value.message) == (
            "failed",
            "ValueError",
            "no good",
        )

    run(tmp_path, test)


def test_calls_end_by_deadline_cancellation_and_crash(tmp_path: Path) -> None:
    async def test(kernel: Kernel) -> None:
        process = await kernel.spawn()
        with pytest.raises(BusError) as caught:
            await kernel.hub.call(ECHO, "wait", {}, ttl_ms=50)
        assert caught.value.code == "deadline"
        task = asyncio.create_task(kernel.hub.call(ECHO, "wait", {}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await kernel.hub.call(ECHO, None, {"text": "still here"}))["text"]
        dying = asyncio.create_task(kernel.hub.call(ECHO, "die", {}))
        assert await kernel.ended(process) == 3
        kernel.hub.remove_peer("p")
        with pytest.raises(BusError) as caught:
            await dying
        assert caught.value.code == "crashed"
        with pytest.raises(BusError) as caught:
            await kernel.hub.call(ECHO, None, {})
        assert caught.value.code == "unavailable"

    run(tmp_path, test)


def test_a_call_cancelled_before_its_turn_is_not_run(tmp_path: Path) -> None:
    async def test(kernel: Kernel) -> None:
        await kernel.spawn()
        started = asyncio.Event()
        call = kernel.hub.call
        running = asyncio.create_task(call(ECHO, "wait", {}, on_progress=lambda _: started.set()))
        await started.wait()
        waiting = asyncio.create_task(call(ECHO, None, {"text": "x", "$": {"folder": "late"}}))
        await asyncio.sleep(0)
        for task in (waiting, running):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await call(ECHO, None, {"text": "x", "$": {"folder": "after"}})
        assert (tmp_path / "out" / "after").exists()
        assert not (tmp_path / "out" / "late").exists()

    run(tmp_path, test)


def test_an_extension_leaves_on_unload_and_on_sigterm(tmp_path: Path) -> None:
    async def test(kernel: Kernel) -> None:
        first, second = await kernel.spawn("a"), await kernel.spawn("b")
        kernel.hub.unload("a", 2_000)
        await kernel.told("left", "a", "unload")
        assert await kernel.ended(first) == 0
        second.send_signal(signal.SIGTERM)
        await kernel.told("left", "b", "terminated")
        assert await kernel.ended(second) == 128 + signal.SIGTERM

    run(tmp_path, test)


@pytest.mark.parametrize("busy", [None, "wait", "hang"])
def test_an_extension_ends_when_the_hub_is_dead(tmp_path: Path, busy: str | None) -> None:
    async def test(kernel: Kernel) -> None:
        process = await kernel.spawn()
        await kernel.hub.call(ECHO, None, {"text": "it was welcomed"})
        if busy:
            started = asyncio.Event()
            calling = asyncio.create_task(
                kernel.hub.call(ECHO, busy, {}, ttl_ms=60_000, on_progress=lambda _: started.set())
            )
            await started.wait()
        await kernel.hub.close()
        assert await kernel.ended(process) == 1
        if busy:
            calling.cancel()

    run(tmp_path, test)


def test_a_stopped_process_is_silent(tmp_path: Path) -> None:
    async def test(kernel: Kernel) -> None:
        process = await kernel.spawn()
        process.send_signal(signal.SIGSTOP)
        await kernel.told("silent", "p")

    run(tmp_path, test)


def test_an_extension_calls_what_the_kernel_serves(tmp_path: Path) -> None:
    async def serve(request: Request) -> object:
        if request.args == {"x": 1}:
            return [request.caller, request.method]
        raise RuntimeError("a bug")

    async def test(kernel: Kernel) -> None:
        kernel.hub.serve("kernel.served/1", serve)
        await kernel.spawn()
        assert await kernel.hub.call("test.other/1", None, {}) == ["p", "m"]
        with pytest.raises(BusError) as caught:
            await kernel.hub.call("kernel.served/1", None, {})
        assert (caught.value.code, caught.value.cls) == ("internal", "RuntimeError")

    run(tmp_path, test)


def test_clients_call_publish_and_listen(tmp_path: Path) -> None:
    topic = frozenset({"t.opic"})

    async def test(kernel: Kernel) -> None:
        await kernel.spawn()
        grants = Grants(calls=frozenset({"*"}), publishes=topic, subscribes=topic)
        ticket = kernel.hub.add_console(f"ipc://{tmp_path}/console", grants)
        heard: queue.SimpleQueue[object] = queue.SimpleQueue()

        def blocking() -> None:
            with Client(ticket) as client:
                client.subscribe("t.opic", lambda event: heard.put(event.value))
                progress: list[float] = []
                for _ in range(2):
                    answer = client.call(
                        ECHO, None, {"text": "x"}, on_progress=lambda p: progress.append(p.done)
                    )
                    assert answer["text"] == "x"
                assert progress == [1, 1]
                calls = [client.start_call(ECHO, None, {"text": str(n)}) for n in range(50)]
                assert [call.result()["text"] for call in calls] == [str(n) for n in range(50)]
                waiting = client.start_call(ECHO, "wait")
                waiting.cancel()
                with pytest.raises(BusError, match="cancelled"):
                    waiting.result()
                with pytest.raises(BusError, match="deadline"):
                    client.call(ECHO, "wait", ttl_ms=30)
                with pytest.raises(BusError, match="unavailable"):
                    client.call("no.such/1")
                with pytest.raises(BusError, match="bad-request"):
                    client.call(ECHO, None, {"text": object()})
                client.publish("t.opic", {"from": "blocking"})
                assert heard.get(timeout=LIMIT_S) == {"from": "blocking"}

        async with await AsyncClient.connect(ticket) as client:
            events: asyncio.Queue[object] = asyncio.Queue()
            await client.subscribe("t.opic", lambda event: events.put_nowait(event.value))
            await asyncio.to_thread(blocking)
            assert await events.get() == {"from": "blocking"}
            answers = await asyncio.gather(
                *(client.call(ECHO, None, {"text": str(n)}) for n in range(50))
            )
            assert [answer["text"] for answer in answers] == [str(n) for n in range(50)]
            with pytest.raises(BusError, match="deadline"):
                await client.call(ECHO, "wait", ttl_ms=30)
            kernel.hub.publish("t.opic", 7)
            assert await events.get() == 7

    run(tmp_path, test)


def test_a_client_without_a_hub_says_so(tmp_path: Path) -> None:
    async def test(kernel: Kernel) -> None:
        ticket = kernel.ticket("c", Grants())
        client = await asyncio.to_thread(Client, ticket)
        await kernel.hub.close()
        code = ""
        while code != "unavailable":  # the first calls may still be refused by a hub that ends
            with pytest.raises(BusError) as caught:
                await asyncio.to_thread(client.call, ECHO, ttl_ms=5_000)
            code = caught.value.code
        client.close()

    run(tmp_path, test)


def test_a_missing_ticket_is_one_clear_error(tmp_path: Path) -> None:
    environ = {key: value for key, value in os.environ.items() if key != "SYMPHONY_TICKET"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no ticket" in done.stderr
    assert "Traceback" not in done.stderr
