"""Coverage-guided inputs for the codec: atheris_codec.py -runs=N [CORPUS]. Needs atheris.

Every decoder gives a value or its one error, and a header that was read is written and read back.
"""

import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports():
    from symphony.bus import codec, messages
    from symphony.bus.errors import BusError, ProtocolError
    from symphony.bus.ticket import Ticket

RECORDS = (
    messages.Hello,
    messages.Welcome,
    messages.Activate,
    messages.Unload,
    messages.Bye,
    messages.Progress,
    messages.Context,
)


def one_input(data: bytes) -> None:
    codec.is_foreign_hello(data)
    with suppress(ProtocolError):
        head = codec.decode_header(data)
        fields = (head.kind, head.target, head.request, head.ttl, head.method, head.options)
        written = codec.encode_header(*fields)
        # Not the header itself: a NaN among its options is not equal to itself.
        assert codec.encode_header(*fields) == written
        assert codec.decode_header(written).request == head.request
    for record in RECORDS:
        with suppress(ProtocolError):
            codec.decode_as(data, record)
    with suppress(ProtocolError):
        BusError.from_body(codec.decode(data))
    with suppress(BusError):
        Ticket.from_json(data)


atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
