"""Peers that send a hub anything: fuzzer.py INPUTS SEED TICKET...

Sends so many messages, in turns through a peer for every ticket, and prints how many of each sort.
A console's ticket makes a new peer every so often; every other one begins with a hello.
"""

import json
import sys
from collections import Counter
from itertools import cycle
from pathlib import Path

import zmq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from fuzzinputs import Inputs

from symphony.bus import wire
from symphony.bus.codec import encode, encode_header
from symphony.bus.ticket import Ticket

LIMIT_S = 30.0
LIFE = 1_000  # messages of one console
STEP = 5_000  # messages from one sign of progress to the next
HELLO = [
    encode_header(wire.HELLO),
    encode({"protocol": wire.VERSION, "sdk": "fuzz", "pid": 1, "provides": []}),
]


def connect(context: "zmq.Context[zmq.Socket[bytes]]", ticket: Ticket) -> "zmq.Socket[bytes]":
    peer = context.socket(zmq.DEALER)
    peer.set(zmq.ROUTING_ID, ticket.routing_id())
    peer.set(zmq.RECONNECT_IVL, 1)
    peer.set(zmq.SNDTIMEO, int(LIMIT_S * 1000))
    peer.connect(ticket.endpoint)
    return peer


def main(total: int, seed: int, tickets: list[Ticket]) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    peers = [connect(context, ticket) for ticket in tickets]
    greets = cycle((True, True, True, False))
    inputs, sent = Inputs(seed), Counter[str]()
    for number in range(total):
        at = number % len(peers)
        if number // len(peers) % LIFE == at:
            if tickets[at].is_console:
                peers[at].close(linger=int(LIMIT_S * 1000))
                peers[at] = connect(context, tickets[at])
            if next(greets):
                peers[at].send_multipart(HELLO)
        sort, frames = inputs.next()
        peers[at].send_multipart(frames)
        sent[sort] += 1
        while peers[at].poll(0):
            peers[at].recv_multipart()
        if number % STEP == 0:
            print(number, flush=True)
    for peer in peers:  # what is under way has to arrive
        peer.close(linger=int(LIMIT_S * 1000))
    context.term()
    print(json.dumps(sent), flush=True)


main(
    int(sys.argv[1]),
    int(sys.argv[2]),
    [Ticket.from_json(Path(path).read_bytes()) for path in sys.argv[3:]],
)
