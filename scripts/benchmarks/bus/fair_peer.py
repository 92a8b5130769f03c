"""One raw peer of the fairness benchmark: fair_peer.py ROLE TICKET.

`echo` answers calls and reads whatever else comes; `loud-echo` subscribes to a topic. `quiet`
makes one call after the other: for each line of input, which holds how many, it prints their median
time in microseconds. The others flood the hub as fast as it takes it, from the first line of input
on: `calls` keeps 100 calls open, `junk` sends what does not decode, `events` publishes.
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import zmq

from symphony.bus import wire
from symphony.bus.codec import decode_header, encode, encode_header
from symphony.bus.ticket import Ticket

IN_FLIGHT = 100
BODY = encode({"x": "x" * 64})
TOPIC = "bench.flood"

Socket = zmq.Socket[bytes]


def echo(hub: Socket) -> None:
    while True:
        header, body = hub.recv_multipart()
        head = decode_header(header)
        if head.kind == wire.CALL:
            hub.send_multipart([encode_header(wire.RESULT, head.target, head.request), body])


def one_call(hub: Socket, target: int | str, request: int) -> int | str:
    """Waits for the answer; gives what to call next time."""
    hub.send_multipart([encode_header(wire.CALL, target, request), BODY])
    head = decode_header(hub.recv_multipart()[0])
    if head.kind != wire.RESULT or isinstance(head.target, str) or head.target is None:
        sys.exit(f"no result: {head}")
    return head.target


def quiet(hub: Socket) -> None:
    request, flow = 1, one_call(hub, "bench.quiet/1", 1)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            request += 1
            begun = time.perf_counter()
            one_call(hub, flow, request)
            times.append(time.perf_counter() - begun)
        print(median(times) * 1e6, flush=True)


def calls(hub: Socket) -> None:
    request, flow = 1, one_call(hub, "bench.loud/1", 1)
    sys.stdin.readline()
    while True:
        request += 1
        hub.send_multipart([encode_header(wire.CALL, flow, request), BODY])
        if request > IN_FLIGHT:
            hub.recv_multipart()


def junk(hub: Socket) -> None:
    sys.stdin.readline()
    while True:
        hub.send_multipart([b"junk", b""])


def events(hub: Socket) -> None:
    header = encode_header(wire.EVENT, TOPIC)
    sys.stdin.readline()
    while True:
        hub.send_multipart([header, BODY])


ROLES: dict[str, Callable[[Socket], None]] = {
    "echo": echo,
    "quiet": quiet,
    "calls": calls,
    "junk": junk,
    "events": events,
}

_, role, path = sys.argv
ticket = Ticket.load({"SYMPHONY_TICKET": f"file:{path}"})
dealer = zmq.Context().socket(zmq.DEALER)
dealer.set(zmq.ROUTING_ID, ticket.routing_id())
dealer.set(zmq.LINGER, 0)
dealer.connect(ticket.endpoint)
provides = [f"bench.{ticket.instance.removesuffix('-echo')}/1"] if role == "echo" else []
hello = {"protocol": wire.VERSION, "sdk": "bench", "pid": 1, "provides": provides}
dealer.send_multipart([encode_header(wire.HELLO), encode(hello)])
if decode_header(dealer.recv_multipart()[0]).kind != wire.WELCOME:
    sys.exit("not welcome")
if ticket.instance == "loud-echo":
    dealer.send_multipart([encode_header(wire.SUBSCRIBE, TOPIC, 1), encode(True)])
    dealer.recv_multipart()
print("ready", flush=True)
ROLES[role](dealer)
