"""Coverage-guided inputs for a whole hub in memory: atheris_hub.py -runs=N [CORPUS]. Needs atheris.

An input is a script: who sends which header and body, when time passes, what is read. Nothing that
peers send raises in the switch or the control plane, and the bounds hold.
"""

import sys

import atheris

with atheris.instrument_imports():
    from symphony.bus import wire
    from symphony.bus.codec import encode, encode_header
    from symphony.bus.control import Control
    from symphony.bus.grants import Grants
    from symphony.bus.memory import MemoryDatapath

ECHO = frozenset({"a.b/1"})
TOPICS = frozenset({"t"})
GRANTS = Grants(provides=ECHO, calls=ECHO, publishes=TOPICS, subscribes=TOPICS)
HELLO = {"protocol": 1, "sdk": "", "pid": 1, "provides": sorted(ECHO)}
TARGETS = [None, "a.b/1", "t", "no.such/1", 1, 2, 3]
STEPS = 24


class Silence:
    """A listener, and a kernel that provides nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


def header(choices: "atheris.FuzzedDataProvider") -> bytes:
    if choices.ConsumeBool():
        return choices.ConsumeBytes(choices.ConsumeIntInRange(0, 40))
    names = ["idem", "trace", "cap", "stream", "again", "keep", "snapshot", "gap"]
    options = {
        choices.PickValueInList(names): choices.PickValueInList([True, 0, 5, "a.b/1", None])
        for _ in range(choices.ConsumeIntInRange(0, 2))
    }
    return encode_header(
        choices.ConsumeIntInRange(1, wire.LAST_KIND),
        choices.PickValueInList(TARGETS),
        choices.ConsumeIntInRange(0, 4),
        choices.PickValueInList([0, 0, 1, 1_000]),
        choices.PickValueInList([None, "m"]),
        options or None,
    )


def one_input(data: bytes) -> None:
    choices = atheris.FuzzedDataProvider(data)
    now = [0.0]
    datapath = MemoryDatapath(clock=lambda: now[0])
    datapath.start(lambda: None, heartbeat_ms=1_000, liveness=5, grace_ms=2_000)
    control = Control(datapath, Silence(), Silence(), 1_000, 5, clock=lambda: now[0])
    peers = []
    for number in range(3):
        name, identity = f"p{number}", bytes([number]) * wire.IDENTITY_BYTES
        datapath.bind(f"memory://{name}")
        control.add(name, identity, GRANTS)
        peers.append(datapath.connect(f"memory://{name}", identity))
        if number:
            peers[-1].send(encode_header(wire.HELLO), encode(HELLO))
    for _ in range(STEPS):
        for upcall in datapath.poll():
            control.handle(upcall)
        if not choices.remaining_bytes():
            break
        peer = choices.PickValueInList(peers)
        what = choices.ConsumeIntInRange(0, 9)
        if what == 0:
            now[0] += choices.PickValueInList([0.001, 1.0, 3.0])
            control.tick()
            datapath.tick()
        elif what == 1:
            while peer.receive():
                pass
        else:
            body = choices.ConsumeBytes(choices.ConsumeIntInRange(0, 12))
            peer.send(header(choices), body if choices.ConsumeBool() else encode({}))
    assert all(row.queued <= wire.MAX_QUEUED for row in datapath.peers())


atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
