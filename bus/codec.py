"""Bytes to values and back: the only module that knows msgpack.

Decoding raises `ProtocolError` and nothing else, whatever the bytes are.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict, TypeVar

import msgspec
from msgspec import Meta, Struct

from . import wire
from .errors import BusError, ProtocolError

T = TypeVar("T")
Buffer = bytes | bytearray | memoryview


class Header(Struct, array_like=True, frozen=True, gc=False):
    """A message's header (`PROTOCOL.md` section 2); elements after the seventh are ignored."""

    version: Annotated[int, Meta(ge=wire.VERSION, le=wire.VERSION)]
    kind: Annotated[int, Meta(ge=1, le=wire.LAST_KIND)]
    target: Annotated[int, Meta(ge=1, le=wire.MAX_FLOW)] | str | None
    request: Annotated[int, Meta(ge=0, le=wire.MAX_REQUEST)]
    ttl: Annotated[int, Meta(ge=0, le=wire.MAX_TTL)]
    method: str | None
    options: dict[str, Any] | None = None

    @property
    def again(self) -> bool:
        """Whether it says that it was sent before, so that its provider may know it."""
        return self.options is not None and self.options.get(wire.AGAIN_OPTION) is True


class _Options(TypedDict, total=False):
    """The options of a header that have a meaning, with their types."""

    idem: Annotated[str, Meta(max_length=wire.MAX_IDEM)]
    trace: str
    cap: Annotated[str, Meta(pattern=wire.NAME)]
    stream: Annotated[int, Meta(ge=0)]  # more than the bound counts as the bound
    again: bool
    keep: bool
    snapshot: bool
    gap: Annotated[int, Meta(ge=0)]


class _AnyVersion(Struct, array_like=True, frozen=True, gc=False):
    """The two positions that every version of the protocol keeps."""

    version: Annotated[int, Meta(ge=0)]
    kind: Annotated[int, Meta(ge=0)]


# What msgspec raises on hostile bytes: its own errors (ValueErrors), deep nesting, unhashable keys.
_REFUSALS = (ValueError, RecursionError, OverflowError, TypeError)

_encode = msgspec.msgpack.Encoder().encode
_decode_any = msgspec.msgpack.Decoder().decode
_decode_header = msgspec.msgpack.Decoder(Header).decode
_decode_any_version = msgspec.msgpack.Decoder(_AnyVersion).decode


def decode_header(data: Buffer) -> Header:
    """Reads a header; raises ProtocolError for wrong types, ranges, versions or kinds."""
    try:
        head = _decode_header(data)
        if head.options:  # seldom: checked apart, so that unknown ones are kept as they came
            msgspec.convert(head.options, _Options)
    except _REFUSALS as error:
        raise ProtocolError(f"the header does not decode: {error}", where="header") from None
    return head


def is_foreign_hello(data: Buffer) -> bool:
    """Whether this is the header of a hello in another version of the protocol."""
    try:
        head = _decode_any_version(data)
    except _REFUSALS:
        return False
    return head.version != wire.VERSION and head.kind == wire.HELLO


def encode_header(
    kind: int,
    target: int | str | None = None,
    request: int = 0,
    ttl: int = 0,
    method: str | None = None,
    options: Mapping[str, object] | None = None,
) -> bytes:
    """Writes a header; without options it has six elements, the shortest form.

    Raises BusError `bad-request` for a number that is out of its range: nobody could read it.
    """
    if not 0 <= ttl <= wire.MAX_TTL:
        raise BusError("bad-request", f"{ttl} ms is no time that a call can have", where="ttl")
    if not 0 <= request <= wire.MAX_REQUEST:
        raise BusError("bad-request", f"{request} is no request number", where="request")
    if isinstance(target, int) and not 1 <= target <= wire.MAX_FLOW:
        raise BusError("bad-request", f"{target} is no flow number", where="target")
    if options is None:
        return _encode((wire.VERSION, kind, target, request, ttl, method))
    return _encode((wire.VERSION, kind, target, request, ttl, method, options))


def encode(value: object) -> bytes:
    """Writes one body; raises TypeError or ValueError for what msgpack cannot hold."""
    return _encode(value)


def decode(data: Buffer) -> Any:
    """Reads one body as plain values."""
    try:
        return _decode_any(data)
    except _REFUSALS as error:
        raise ProtocolError(f"the body does not decode: {error}", where="body") from None


def decode_as(data: Buffer, kind: type[T]) -> T:
    """Reads one body as the given record; raises ProtocolError naming the key that is wrong."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except _REFUSALS as error:
        name = getattr(kind, "__name__", "body").lower()
        raise ProtocolError(f"not a valid {name}: {error}", where="body") from None
