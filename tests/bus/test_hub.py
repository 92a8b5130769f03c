"""The hub on asyncio: real sockets, threads and processes as peers, and a datapath that ends."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from zmq.utils import z85

from symphony.bus import wire
from symphony.bus.client import Client
from symphony.bus.codec import Header, decode, decode_header, encode, encode_header
from symphony.bus.control import LocalCall
from symphony.bus.datapath import Datapath
from symphony.bus.errors import BusError
from symphony.bus.hub import Curve, DeadLetter, Grants, Hub, Request
from symphony.bus.localcalls import LocalCalls
from symphony.bus.memory import MemoryDatapath
from symphony.bus.messages import Hello
from symphony.bus.reference import ReferenceDatapath
from symphony.bus.ticket import Ticket

LIMIT_S = 30.0
ECHO = "test.echo/1"
LOCAL = "kernel.echo/1"
NOBODY = 65_534

# Connects with a ticket's endpoint and identity, says hello, and prints what came of it.
JOIN = """
import os, sys, zmq
endpoint, identity, uid, limit_ms, hello = sys.argv[1:]
if int(uid) != os.getuid():
    os.setgid(int(uid)); os.setuid(int(uid))
context = zmq.Context()
peer = context.socket(zmq.DEALER)
peer.set(zmq.ROUTING_ID, bytes.fromhex(identity))
peer.set(zmq.LINGER, 0)
peer.connect(endpoint)
header, body = hello.split("/")
peer.send_multipart([bytes.fromhex(header), bytes.fromhex(body)])
print("joined" if peer.poll(int(limit_ms)) else "nothing", flush=True)
context.destroy(0)
"""


class World:
    """A hub and what it says; `made` are the datapaths that it had."""

    def __init__(self, make: Callable[[], Datapath] = ReferenceDatapath, **more: Any) -> None:
        self.made: list[Any] = []
        self.notices: list[tuple[str, ...]] = []

        def making() -> Datapath:
            self.made.append(make())
            return self.made[-1]  # type: ignore[no-any-return]

        self.hub = Hub(making, listener=self, **more)
        self._changed = asyncio.Event()

    def _note(self, *notice: str) -> None:
        self.notices.append(notice)
        self._changed.set()

    def registered(self, instance: str, hello: Hello) -> None:
        self._note("registered", instance)

    def rejected(self, instance: str, reason: str) -> None:
        self._note("rejected", instance, reason)

    def silent(self, instance: str) -> None:
        self._note("silent", instance)

    def left(self, instance: str, reason: str) -> None:
        self._note("left", instance, reason)

    def overdue(self, instance: str) -> None:
        self._note("overdue", instance)

    def undelivered(self, letter: DeadLetter) -> None:
        self._note("undelivered", letter.name)

    def bus_ended(self, reason: str) -> None:
        self._note("bus ended")

    async def told(self, *notice: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            while notice not in self.notices:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def world(make: Callable[[], Datapath] = ReferenceDatapath) -> AsyncIterator[World]:
    made = World(make)
    await made.hub.start()
    try:
        yield made
    finally:
        await made.hub.close()


class Peer(threading.Thread):
    """A DEALER in a thread that handles message by message until `done`."""

    def __init__(self, ticket: Ticket, *provides: str) -> None:
        super().__init__(daemon=True)
        self._ticket = ticket
        self._provides = provides
        self.epochs: list[int] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        context = zmq.Context()
        self.socket = dealer = context.socket(zmq.DEALER)
        dealer.set(zmq.ROUTING_ID, self._ticket.routing_id())
        dealer.set(zmq.LINGER, 1_000)
        dealer.set(zmq.RECONNECT_IVL, 5)
        dealer.connect(self._ticket.endpoint)
        hello = {"protocol": 1, "sdk": "", "pid": 1, "provides": list(self._provides)}
        self.say(encode_header(wire.HELLO), encode(hello))
        try:
            while not self.done():
                assert dealer.poll(LIMIT_S * 1_000), "nothing came"
                header, body = dealer.recv_multipart()
                self.handle(decode_header(header), body)
        except BaseException as error:
            self.failure = error
        finally:
            dealer.close()
            context.term()

    def say(self, header: bytes, body: bytes) -> None:
        self.socket.send_multipart([header, body])

    def handle(self, head: Header, body: bytes) -> None:
        if head.kind == wire.WELCOME:
            self.epochs.append(decode(body)["epoch"])
            self.welcomed()
        else:
            self.heard(head, body)

    def welcomed(self) -> None:
        """With the first epoch or another one."""

    def heard(self, head: Header, body: bytes) -> None:
        """Anything else."""

    def done(self) -> bool:
        return False


class Provider(Peer):
    """Does each call once, as section 11 asks; `ledger` counts what it did."""

    def __init__(self, ticket: Ticket) -> None:
        super().__init__(ticket, ECHO)
        self.ledger: Counter[str] = Counter()
        self._answers: dict[tuple[Any, int], bytes] = {}
        self._unloaded = False

    def heard(self, head: Header, body: bytes) -> None:
        key = (head.target, head.request)
        if head.kind == wire.UNLOAD:
            self._unloaded = True
        elif head.kind == wire.CALL:
            if not ((head.options or {}).get("again") and key in self._answers):
                self.ledger[decode(body)["id"]] += 1
                self._answers[key] = body
            self.say(encode_header(wire.RESULT, *key), self._answers[key])

    def done(self) -> bool:
        return self._unloaded


class Caller(Peer):
    """Makes `total` calls, so many at once, and repeats the open ones in each new epoch."""

    def __init__(
        self, ticket: Ticket, total: int, window: int, mark: Callable[[int], None]
    ) -> None:
        super().__init__(ticket)
        self.ledger: Counter[str] = Counter()
        self._total, self._window, self._mark = total, window, mark
        self._open: dict[int, str] = {}
        self._made = 0

    def welcomed(self) -> None:
        for request in self._open:
            self._call(request, {"again": True})
        self._fill()

    def heard(self, head: Header, body: bytes) -> None:
        assert head.kind == wire.RESULT, decode(body)
        if head.request not in self._open:
            return  # the answer to a call that was repeated while its first answer was on the way
        capability = self._open.pop(head.request)
        said = decode(body)["id"]
        assert said == f"{capability} {head.request}"
        self.ledger[said] += 1
        self._mark(self.ledger.total())
        self._fill()

    def _fill(self) -> None:
        while self._made < self._total and len(self._open) < self._window:
            self._made += 1
            self._open[self._made] = (ECHO, LOCAL)[self._made % 2]
            self._call(self._made, None)

    def _call(self, request: int, options: dict[str, object] | None) -> None:
        capability = self._open[request]
        header = encode_header(wire.CALL, capability, request, options=options)
        self.say(header, encode({"id": f"{capability} {request}"}))

    def done(self) -> bool:
        return self.ledger.total() == self._total


def test_nothing_is_lost_or_done_twice_when_the_bus_ends_under_load(tmp_path: Path) -> None:
    total, crashes = 3_000, (300, 900, 1_500, 2_400)

    async def main() -> None:
        async with world() as made:
            hub, loop = made.hub, asyncio.get_running_loop()
            kernel: Counter[str] = Counter()

            async def serve(request: Request) -> object:
                kernel[request.args["id"]] += 1
                return request.args

            def mark(answered: int) -> None:
                if answered in crashes:
                    made.made[-1]._crash()

            hub.serve(LOCAL, serve)
            grants = Grants(provides=frozenset({ECHO}))
            provider = Provider(hub.add_peer("p", f"ipc://{tmp_path}/p", grants))
            provider.start()
            await made.told("registered", "p")
            grants = Grants(calls=frozenset({ECHO, LOCAL}))
            ticket = hub.add_peer("c", f"ipc://{tmp_path}/c", grants)
            caller = Caller(ticket, total, 100, mark)
            caller.start()
            own = 0
            while caller.is_alive():  # the kernel calls as well, one after the other
                own += 1
                answer = await hub.call(ECHO, None, {"id": f"kernel {own}"}, ttl_ms=20_000)
                assert answer == {"id": f"kernel {own}"}
            await asyncio.to_thread(caller.join)
            hub.unload("p", 0)
            await asyncio.to_thread(provider.join)
            assert (caller.failure, provider.failure) == (None, None)
            done = provider.ledger + kernel
            assert set(caller.ledger.values()) == {1}
            assert set(done.values()) == {1}
            assert done.total() == total + own
            assert set(caller.ledger) < set(done)
            assert caller.epochs == [1, 2, 3, 4, 5]
            assert hub.counters()["restarts"] == len(crashes)
            assert loop is asyncio.get_running_loop()

    asyncio.run(main())


def test_the_file_of_an_endpoint_lasts_as_long_as_its_peer(tmp_path: Path) -> None:
    async def main() -> None:
        async with world() as made:
            path = tmp_path / "p"
            made.hub.add_peer("p", f"ipc://{path}", Grants())
            inode = path.stat().st_ino
            with pytest.raises(BusError, match="another process listens"):
                made.hub.add_peer("q", f"ipc://{path}", Grants())
            made.made[-1]._crash()
            made.hub.add_peer("q", f"ipc://{tmp_path}/q", Grants())  # finds that it has ended
            assert len(made.made) == 2
            assert path.stat().st_ino == inode
            made.hub.remove_peer("p")
            assert not path.exists()

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_a_console_is_the_same_one_when_the_bus_has_started_anew(tmp_path: Path) -> None:
    async def main() -> None:
        async with world() as made:
            begun, go_on = asyncio.Event(), asyncio.Event()
            callers = []

            async def serve(request: Request) -> object:
                callers.append(request.caller)
                begun.set()
                await go_on.wait()
                return "once"

            made.hub.serve(LOCAL, serve)
            ticket = made.hub.add_console(
                f"ipc://{tmp_path}/console", Grants(calls=frozenset({LOCAL}))
            )

            def ask() -> Any:
                with Client(ticket) as client:
                    return client.call(LOCAL)

            asked = asyncio.create_task(asyncio.to_thread(ask))
            await begun.wait()
            made.made[-1]._crash()
            made.hub.add_peer("q", f"ipc://{tmp_path}/q", Grants())  # finds that it has ended
            assert len(made.made) == 2
            go_on.set()
            assert await asked == "once"
            assert callers == ["console/1"]

    asyncio.run(main())


def test_a_number_that_is_used_again_too_soon_has_the_later_answer() -> None:
    """The first call was over for its caller, but its handler takes its time to end."""

    async def main() -> None:
        answers: list[tuple[int, object]] = []
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: failures.append(what))
        local = LocalCalls(lambda _, kind, body: answers.append((kind, decode(body))))

        async def serve(request: Request) -> object:
            try:
                await asyncio.sleep(60 if request.args["slow"] else 0)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                raise
            return "quick"

        def call(slow: bool) -> LocalCall:
            return LocalCall("c", LOCAL, "call", encode({"slow": slow}), 1, 5)

        local.serve(LOCAL, serve)
        local.begin(call(slow=True))
        await asyncio.sleep(0)
        local.cancel(1, 5)
        local.begin(call(slow=False))
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)
        assert answers == [(wire.RESULT, "quick")]
        assert failures == []

    asyncio.run(main())


def test_a_bus_that_keeps_ending_is_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(MemoryDatapath) as made:
            ticket = made.hub.add_peer("p", "memory://p", Grants(provides=frozenset({ECHO})))
            peer = made.made[0].connect(ticket.endpoint, ticket.routing_id())
            body = encode({"protocol": 1, "sdk": "", "pid": 1, "provides": [ECHO]})
            peer.send(encode_header(wire.HELLO), body)
            await made.told("registered", "p")
            waiting = asyncio.create_task(made.hub.call(ECHO, None, {}))
            for _ in range(5):
                made.made[-1]._crash()
                made.hub.add_peer(f"p{len(made.made)}", f"memory://{len(made.made)}", Grants())
            assert len(made.made) == 6
            assert not waiting.done()
            made.made[-1]._crash()
            with pytest.raises(BusError, match="the bus has ended"):
                await waiting
            with pytest.raises(BusError, match="the bus has ended"):
                made.hub.add_peer("late", "memory://late", Grants())
            assert made.notices.count(("bus ended",)) == 1

    asyncio.run(main())


def test_a_flood_of_one_peer_leaves_the_loop_and_the_others_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("symphony.bus.hub.SLICE_S", 0.0)

    async def main() -> None:
        async with world(MemoryDatapath) as made:
            hub = made.hub
            peers = {}
            for name in ("noisy", "quiet"):
                ticket = hub.add_peer(name, f"memory://{name}", Grants())
                peers[name] = made.made[0].connect(ticket.endpoint, ticket.routing_id())
                body = encode({"protocol": 1, "sdk": "", "pid": 1, "provides": []})
                peers[name].send(encode_header(wire.HELLO), body)
                await made.told("registered", name)
            await asyncio.sleep(0)
            event = encode_header(wire.EVENT, "not.mine")

            def refused(name: str) -> int:
                return hub.refusals().get((name, "not.mine", "publishes"), 0)

            for _ in range(500):
                peers["noisy"].send(event, b"")
            peers["quiet"].send(event, b"")
            await asyncio.sleep(0)  # the hub is told
            await asyncio.sleep(0)
            assert (refused("noisy") > 0, refused("quiet")) == (True, 1)
            assert refused("noisy") < 100
            made.made[0]._crash()  # what was said before that is heard before it has an effect
            async with asyncio.timeout(LIMIT_S):
                while refused("noisy") < 500:
                    assert len(made.made) == 1
                    await asyncio.sleep(0)
                while len(made.made) == 1:  # noqa: ASYNC110
                    await asyncio.sleep(0)

    asyncio.run(main())


def test_the_kernel_hears_events_of_those_who_may_publish_them() -> None:
    async def main() -> None:
        async with world(MemoryDatapath) as made:
            hub, heard = made.hub, []
            hub.hear("stock.moving", heard.append)
            grants = {"may": Grants(publishes=frozenset({"stock.moving"})), "may-not": Grants()}
            for name, granted in grants.items():
                ticket = hub.add_peer(name, f"memory://{name}", granted)
                peer = made.made[0].connect(ticket.endpoint, ticket.routing_id())
                hello = encode({"protocol": 1, "sdk": "", "pid": 1, "provides": []})
                peer.send(encode_header(wire.HELLO), hello)
                await made.told("registered", name)
                for body in (b"\xc1", encode({"from": name})):  # the first does not decode
                    peer.send(encode_header(wire.EVENT, "stock.moving"), body)
            hub.publish("stock.moving", {"from": "kernel"})
            hub.publish("stock.other", {})
            async with asyncio.timeout(LIMIT_S):
                while len(heard) < 2 or not hub.refusals():  # noqa: ASYNC110
                    await asyncio.sleep(0)
            assert sorted(row["from"] for row in heard) == ["kernel", "may"]

    asyncio.run(main())


def test_the_kernel_streams_both_ways(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(MemoryDatapath) as made:
            hub = made.hub
            sent: list[int] = []
            stopped = asyncio.Event()

            async def count(request: Request) -> object:
                assert request.streams
                assert request.trace == "00-1-2-01"
                try:
                    for number in range(request.args["to"]):
                        await request.chunk(number)
                        sent.append(number)
                finally:
                    stopped.set()
                return "done"

            hub.serve(LOCAL, count)
            trace = "00-1-2-01"
            async with hub.stream(LOCAL, None, {"to": 50}, credit=4, trace=trace) as chunks:
                assert await anext(chunks) == 0
                assert [chunk async for chunk in chunks] == list(range(1, 50))
                assert await chunks.result() == "done"
            sent.clear()
            stopped.clear()
            async with hub.stream(LOCAL, None, {"to": 50}, credit=4, trace=trace) as chunks:
                await anext(chunks)
            await stopped.wait()  # leaving it cancelled the call
            assert len(sent) <= 4
            rows = {(row.caller, row.capability, row.provider): row.stats for row in hub.flows()}
            assert rows["", LOCAL, ""].calls == 2

    asyncio.run(main())


def hello() -> str:
    body = encode({"protocol": 1, "sdk": "", "pid": 1, "provides": []})
    return f"{encode_header(wire.HELLO).hex()}/{body.hex()}"


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that other users reach."""
    with tempfile.TemporaryDirectory(prefix="symphony-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


async def join(
    ticket: Ticket, *, uid: int = os.getuid(), limit_ms: int, shell: bool = False
) -> Any:
    """A process that joins with this ticket; with `shell`, a shell's child does."""
    code = [sys.executable, "-c", JOIN, ticket.endpoint, ticket.identity, str(uid), str(limit_ms)]
    argv = [*code, hello()]
    if shell:
        argv = ["/bin/sh", "-c", '"$@"; exit', "sh", *argv]
    return await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)


class TestWhoMayConnect:
    def test_the_expected_process_and_those_below_it(self, folder: Path) -> None:
        async def main() -> None:
            async with world() as made:
                for name, shell in (("own", False), ("child", True)):
                    ticket = made.hub.add_peer(
                        name, f"ipc://{folder}/{name}", Grants(), uid=os.getuid()
                    )
                    process = await join(ticket, limit_ms=20_000, shell=shell)
                    made.hub.expect(name, process.pid)
                    assert (await process.communicate())[0] == b"joined\n"
                assert ("registered", "own") in made.notices
                assert ("registered", "child") in made.notices

        asyncio.run(main())

    def test_a_copied_ticket_is_of_no_use_outside_the_tree(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            async with world() as made:
                ticket = made.hub.add_peer("p", f"ipc://{folder}/p", Grants(), uid=os.getuid())
                owner = await asyncio.create_subprocess_exec("/bin/cat", stdin=subprocess.PIPE)
                made.hub.expect("p", owner.pid)
                thief = await join(ticket, limit_ms=300)
                assert (await thief.communicate())[0] == b"nothing\n"
                assert made.hub.counters()["refused p connect pid"] >= 1
                owner.kill()
                await owner.wait()
                assert made.notices == []
                assert any(record.message == "refused" for record in caplog.records)
                secret = ticket.identity
                assert not any(secret in str(record.__dict__) for record in caplog.records)

        asyncio.run(main())

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
    def test_another_user_is_refused(self, folder: Path) -> None:
        async def main() -> None:
            async with world() as made:
                ticket = made.hub.add_peer("p", f"ipc://{folder}/p", Grants(), uid=os.getuid())
                (folder / "p").chmod(0o666)
                other = await join(ticket, uid=NOBODY, limit_ms=300)
                made.hub.expect("p", other.pid)
                assert (await other.communicate())[0] == b"nothing\n"
                assert made.hub.counters()["refused p connect uid"] >= 1

        asyncio.run(main())

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
    @pytest.mark.parametrize(
        ("uid", "said"), [(NOBODY, b"joined\n"), (0, b"joined\n"), (1, b"nothing\n")]
    )
    def test_consoles_are_the_kernels_user_and_root(
        self, folder: Path, uid: int, said: bytes
    ) -> None:
        async def main() -> None:
            async with world() as made:
                ticket = made.hub.add_console(f"ipc://{folder}/c", Grants(), uid=NOBODY)
                (folder / "c").chmod(0o666)
                ticket = msgspec.structs.replace(ticket, identity=2 * ticket.identity)
                limit_ms = 300 if said == b"nothing\n" else 20_000
                other = await join(ticket, uid=uid, limit_ms=limit_ms)
                assert (await other.communicate())[0] == said
                refused = made.hub.counters().get("refused console connect uid", 0)
                assert (refused > 0) == (uid == 1)

        asyncio.run(main())

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
    def test_root_is_no_instance(self, folder: Path) -> None:
        async def main() -> None:
            async with world() as made:
                ticket = made.hub.add_peer("p", f"ipc://{folder}/p", Grants(), uid=NOBODY)
                root = await join(ticket, uid=0, limit_ms=300)
                made.hub.expect("p", root.pid)
                assert (await root.communicate())[0] == b"nothing\n"

        asyncio.run(main())

    def test_a_secret_is_worth_nothing_after_its_instance(self, folder: Path) -> None:
        async def main() -> None:
            async with world() as made:
                ticket = made.hub.add_peer("p", f"ipc://{folder}/p", Grants())
                first = await join(ticket, limit_ms=20_000)
                assert (await first.communicate())[0] == b"joined\n"
                made.hub.remove_peer("p")
                # Even through the endpoint of another instance.
                other = made.hub.add_peer("other", f"ipc://{folder}/other", Grants())
                replayed = Ticket(
                    v=1, endpoint=other.endpoint, identity=ticket.identity, instance="p"
                )
                late = await join(replayed, limit_ms=300)
                assert (await late.communicate())[0] == b"nothing\n"
                assert made.hub.counters()["unknown-identity"] == 1

        asyncio.run(main())

    def test_the_rules_hold_when_the_bus_has_started_anew(self, folder: Path) -> None:
        async def main() -> None:
            async with world() as made:
                ticket = made.hub.add_peer("p", f"ipc://{folder}/p", Grants(), uid=os.getuid())
                made.hub.expect("p", os.getpid())
                made.made[-1]._crash()
                made.hub.add_peer("q", f"ipc://{folder}/q", Grants())  # finds that it has ended
                assert len(made.made) == 2
                child = await join(ticket, limit_ms=20_000)
                assert (await child.communicate())[0] == b"joined\n"

        asyncio.run(main())

    def test_over_tcp_keys_are_required_and_checked(self) -> None:
        server, known, strange = (zmq.curve_keypair() for _ in range(3))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            endpoint = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        curve = Curve(z85.decode(server[1]), lambda key: key == z85.decode(known[0]))
        assert repr(curve) == "Curve(...)"

        def answers(ticket: Ticket, keys: tuple[bytes, bytes], limit_ms: int) -> bool:
            context = zmq.Context()
            peer = context.socket(zmq.DEALER)
            try:
                peer.set(zmq.CURVE_SERVERKEY, server[0])
                peer.set(zmq.CURVE_PUBLICKEY, keys[0])
                peer.set(zmq.CURVE_SECRETKEY, keys[1])
                peer.set(zmq.ROUTING_ID, ticket.routing_id())
                peer.connect(ticket.endpoint)
                header, body = hello().split("/")
                peer.send_multipart([bytes.fromhex(header), bytes.fromhex(body)])
                return bool(peer.poll(limit_ms))
            finally:
                context.destroy(0)

        async def main() -> None:
            async with world() as made:
                with pytest.raises(BusError, match="only CURVE"):
                    made.hub.add_peer("p", endpoint, Grants())
                ticket = made.hub.add_peer("p", endpoint, Grants(), curve=curve)
                assert not await asyncio.to_thread(answers, ticket, strange, 300)
                assert made.hub.counters()["refused p connect key"] >= 1
                assert await asyncio.to_thread(answers, ticket, known, 20_000)

        asyncio.run(main())


EXTENSION = """
from pathlib import Path
from symphony.bus.extension import Extension

ext = Extension()

@ext.provides("test.echo/1")
def echo(ctx, id: str) -> str:
    with open(LEDGER, "a") as ledger:
        ledger.write(id + "\\n")
    return id

ext.run()
"""


def test_the_clients_and_the_extension_outlive_the_bus(tmp_path: Path) -> None:
    """The same with our own peers: the client of threads, and an extension in a process."""
    total, crashes = 1_500, (200, 700, 1_100)
    ledger = tmp_path / "ledger"
    code = EXTENSION.replace("LEDGER", repr(str(ledger)))

    async def main() -> None:
        async with world() as made:
            provides = made.hub.add_peer(
                "p", f"ipc://{tmp_path}/p", Grants(provides=frozenset({ECHO}))
            )
            folders = {"inbox": str(tmp_path), "outbox": str(tmp_path)}
            ticket = msgspec.structs.replace(provides, **folders).to_json()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                code,
                stdin=subprocess.PIPE,
                env=os.environ | {"SYMPHONY_TICKET": "fd:0"},
            )
            assert process.stdin is not None
            process.stdin.write(ticket)
            process.stdin.close()
            await made.told("registered", "p")
            grants = Grants(calls=frozenset({ECHO}))
            calls = made.hub.add_peer("c", f"ipc://{tmp_path}/c", grants)
            answered: Counter[str] = Counter()

            def work() -> None:
                with Client(calls) as client:
                    open_calls = deque[Any]()
                    for number in range(total):
                        open_calls.append(client.start_call(ECHO, None, {"id": str(number)}))
                        if number in crashes:
                            made.made[-1]._crash()
                        while len(open_calls) >= 50:
                            answered[open_calls.popleft().result()] += 1
                    for call in open_calls:
                        answered[call.result()] += 1

            async with asyncio.timeout(LIMIT_S):
                await asyncio.to_thread(work)
            made.hub.unload("p", 1_000)
            assert await process.wait() == 0
            done = Counter(ledger.read_text().split())
            assert answered == Counter(str(number) for number in range(total))
            assert done == answered
            assert made.hub.counters()["restarts"] == len(crashes)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "where"),
    [
        *((name, "method") for name in ("RESUME", "__init__", "", "stat\0", "a-b")),
        pytest.param("a" * wire.MAX_HEADER, "header", id="long"),
    ],
)
def test_a_method_that_nobody_could_read_is_refused_at_once(method: str, where: str) -> None:
    async def test() -> None:
        async with world() as made:
            for call in (made.hub.call, made.hub.stream):
                with pytest.raises(BusError) as refused:
                    await call(ECHO, method, {})
                assert (refused.value.code, refused.value.where) == ("bad-request", where)

    asyncio.run(test())
