"""Peers that are there and no more, all in one process: idle.py TICKET...

Each says hello, and once a second that it is alive. Ends with its input.
"""

import resource
import select
import sys
import time
from itertools import cycle

import zmq

from symphony.bus import wire
from symphony.bus.codec import encode_header
from symphony.bus.session import Session
from symphony.bus.ticket import Ticket

BEAT_S = 1.0
BEAT = (encode_header(wire.HEARTBEAT), b"")

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
context = zmq.Context()
context.set(zmq.MAX_SOCKETS, 16_384)
sockets = []
for path in sys.argv[1:]:
    ticket = Ticket.load({"SYMPHONY_TICKET": f"file:{path}"})
    socket = context.socket(zmq.DEALER)
    socket.set(zmq.ROUTING_ID, ticket.routing_id())
    socket.connect(ticket.endpoint)
    for hello in Session(time.monotonic()).out:
        socket.send_multipart(hello)
    sockets.append(socket)

for socket in cycle(sockets):
    if select.select([sys.stdin], [], [], BEAT_S / len(sockets))[0]:
        break
    socket.send_multipart(BEAT)
    while socket.poll(0):  # the hub's answers are of no interest
        socket.recv_multipart()
context.destroy(linger=0)
