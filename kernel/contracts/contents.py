"""Contents with their references, so that a suite needs no BLAKE3 of its own to tell right ones.

Tests compare every reference with the hash library's.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import NamedTuple

TS = "2026-01-01T00:00:00.000Z"
MIB = 1 << 20


class Content(NamedTuple):
    """Bytes and the name that follows from them."""

    data: bytes
    ref: str


@cache
def noise(seed: str, length: int) -> bytes:
    """Bytes that no compression makes shorter, always the same."""
    return hashlib.shake_128(seed.encode()).digest(length)


EMPTY = Content(b"", "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
HELLO = Content(
    b"hello\n", "blake3:8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99"
)
SMALL = tuple(
    Content(b"content %d" % number, f"blake3:{digits}")
    for number, digits in enumerate(
        (
            "ca2b3751b70bc7c1a1a256bf6b828f6bf62634c70ac88113c91d8342f47f3404",
            "36418f3c4910728c2852d7a640fb0efd590c435f073638feeab3ec6fc24c059d",
            "f50d7a20626519bbb0178d3510280d1d23e0673daadb7e06fbe296b05d182a48",
            "92b254e1fb1ff3498a549fb73f4f083d79751b83069df12eaf8e6485b8a16c45",
            "5a085b3abb5ab0a3fe34b6b9cddd75a0693b68523bcd750d48d04c94ec5f7983",
            "15fb7e176dc2937413651bdcdd447c72fdba8694a9961d6158acb3ad657a3702",
            "5cf0419fc016a6b4aa7548040a5be780808a8d0f48adb408d15332760e8d08a3",
            "df2a0dd1792ee5c78dd522a2b016bdb7035e1a34ed6abc2395c9ac1e5073e1c6",
            "193ae847700e451101759cdfa65ec94cc5e551030fcf678d891b05f4bc0a8d71",
            "f47c84b0a6c2f6316aa24aba3ae8b3b2e62a3245d04844b200891cd16f09c057",
        )
    )
)
NEVER = Content(
    b"never put", "blake3:aeb74c6495511dc3718f2a1edd3145f3c968e02bb98b04662ae2e5759f32f996"
)

# Of `noise` with the same seeds and lengths, which are made when they are asked for.
PIECES_REF = "blake3:4c688a180168b355e7ec0dff1a3303fb383be7e654c8eab799334860ef5af186"
LARGE_REF = "blake3:566d665158eca977b91fa290874cf3e9637e60e0af1b1c350bd5c5d0bd811368"
PIECES_BYTES = 600_000
LARGE_BYTES = 3 * MIB + 17

# A folder: its files (path, bytes, executable) and the listing that follows from them.
TREE = (("b.txt", b"bb", False), ("inner/run.sh", b"a", True))
TREE_REFS = (
    "blake3:58293e32b140c28c1debf42045417b312d36a6c2b6a649ec381ebe1350e12a87",
    "blake3:17762fddd969a453925d65717ac3eea21320b66b54342fde15128d6caf21215f",
)
TREE_REF = "blake3:81996c120fd27e66b72310c81e9720a00ef9ed8f56ea2a816ded0f7c3d465a9c"
NO_FOLDER = Content(
    b"symphony-folder 1\x90",  # as the listing of an empty folder
    "blake3:79fee41ea664c270e1f85833d891abbe57fa115389f47ea1d4451c333f58014b",
)


def pieces() -> Content:
    """More than one `get` gives without a limit."""
    return Content(noise("pieces", PIECES_BYTES), PIECES_REF)


def large() -> Content:
    """More than a message holds."""
    return Content(noise("large", LARGE_BYTES), LARGE_REF)
