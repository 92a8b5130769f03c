"""What a fuzzer sends: messages that are right, nearly right and not right at all.

Everything follows from one `random.Random`, so that a seed names a run.
"""

import random
from collections.abc import Callable

from symphony.bus import wire
from symphony.bus.codec import encode, encode_header

CAPABILITIES = ("soak.echo/1", "soak.none/1", "kernel.x/1", "soak.topic", "", "É/0", "a" * 300)
METHODS = (None, "call", "other", "", "x" * 500)
OPTIONS = (
    wire.IDEM_OPTION,
    wire.TRACE_OPTION,
    wire.CAPABILITY_OPTION,
    wire.STREAM_OPTION,
    wire.AGAIN_OPTION,
    wire.KEEP_OPTION,
    wire.SNAPSHOT_OPTION,
    wire.GAP_OPTION,
    "unknown",
)
NUMBERS = (0, 1, 2, 3, 1_024, 1_025, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**63, 2**64 - 1)
ODD: tuple[object, ...] = (
    None,
    True,
    -1,
    1.5,
    "text",
    b"bytes",
    [],
    {},
    [[[]]],
    {"a": {"b": None}},
)
ENDS = 0.01
DEEP = b"\x91" * 3_000  # arrays in arrays

Frames = list[bytes]


class Inputs:
    """Makes messages without end; `next` gives one and the sort that it is of."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - to be repeatable
        self._sorts: dict[str, Callable[[], Frames]] = {
            "well-formed": self._well_formed,  # of any kind, in any order
            "wrong-type": self._wrong_type,
            "damaged": self._damaged,
            "truncated": self._truncated,
            "random": self._noise,
            "tiny": self._tiny,
            "frames": self._frames,
            "oversized": self._oversized,
            "deep": lambda: [DEEP, DEEP],
        }
        # How many of each there are in a thousand; large ones are slow and prove no more.
        self._names = list(self._sorts)
        self._shares = [330, 150, 150, 100, 100, 150, 15, 4, 1]

    def next(self) -> tuple[str, Frames]:
        """One message as the frames that a peer sends."""
        (name,) = self._random.choices(self._names, self._shares)
        return name, self._sorts[name]()

    def _number(self) -> int:
        some = self._random
        return some.choice((some.choice(NUMBERS), some.randrange(64), some.getrandbits(20)))

    def _kind(self) -> int:
        kind = self._random.randrange(1, wire.LAST_KIND + 1)
        # Whoever has left or was turned away is not listened to: seldom, or little else is tried.
        ends = kind in (wire.BYE, wire.HELLO)
        return kind if not ends or self._random.random() < ENDS else wire.CALL

    def _fields(self) -> list[object]:
        some = self._random
        target = some.choice((None, some.choice(CAPABILITIES), 1 + some.randrange(20)))
        fields: list[object] = [
            wire.VERSION,
            self._kind(),
            target,
            some.choice((0, 1 + some.randrange(50), some.randrange(2**53))),
            some.choice((0, 1, 50, 10_000)),
            some.choice(METHODS),
        ]
        if some.random() < 0.4:
            fields.append(self._options())
        return fields

    def _options(self) -> dict[str, object]:
        some = self._random
        values = (True, False, 0, 1, 16, 2**20, "key", "soak.echo/1", *ODD)
        return {name: some.choice(values) for name in some.sample(OPTIONS, some.randrange(4))}

    def _body(self) -> bytes:
        some = self._random
        hello: object = {"protocol": some.choice((1, 2, -1)), "sdk": "", "pid": 1, "provides": []}
        bodies: tuple[object, ...] = ({"no": "key"}, hello, self._number(), *ODD)
        return encode(some.choice(bodies))

    def _well_formed(self) -> Frames:
        return [encode(self._fields()), self._body()]

    def _wrong_type(self) -> Frames:
        fields = self._fields()
        place = self._random.randrange(len(fields))
        fields[place] = self._random.choice((self._number(), *ODD))
        if self._random.random() < 0.2:
            del fields[self._random.randrange(len(fields)) :]
        return [encode(fields), self._body()]

    def _damaged(self) -> Frames:
        header, body = (bytearray(frame) for frame in self._well_formed())
        for frame in (header, body):
            for _ in range(self._random.randrange(3)):
                if frame:
                    frame[self._random.randrange(len(frame))] = self._random.randrange(256)
        return [bytes(header), bytes(body)]

    def _truncated(self) -> Frames:
        header, body = self._well_formed()
        return [
            header[: self._random.randrange(len(header) + 1)],
            body[: self._random.randrange(len(body) + 1)],
        ]

    def _noise(self) -> Frames:
        return [self._random.randbytes(self._random.randrange(40)) for _ in range(2)]

    def _tiny(self) -> Frames:
        return [self._random.randbytes(self._random.randrange(2)) for _ in range(2)]

    def _frames(self) -> Frames:
        """Another number of frames than two, up to what a message may have at most."""
        header = encode_header(wire.CALL, "soak.echo/1", 1)
        return [header] * self._random.choice((1, 3, 4, wire.MAX_FRAMES))

    def _oversized(self) -> Frames:
        header, body = self._well_formed()
        if self._random.random() < 0.9:
            return [header + bytes(wire.MAX_HEADER), body]
        return [header, bytes(wire.MAX_BODY)]
