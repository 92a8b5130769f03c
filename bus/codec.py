"""Bytes to values and back: the only module that knows msgpack.

Decoding raises `ProtocolError` and nothing else, whatever the bytes are.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from . import wire
from .errors import BusError, ProtocolError

T = TypeVar("T")
Buffer = bytes | bytearray | memoryview


class Options(Struct, frozen=True, gc=False):
    """The options of a header that have a meaning, with their types; others are ignored."""

    idem: Annotated[str, Meta(max_length=wire.MAX_IDEM)] | UnsetType = UNSET
    trace: str | UnsetType = UNSET
    cap: Annotated[str, Meta(pattern=wire.NAME)] | UnsetType = UNSET
    stream: Annotated[int, Meta(ge=0)] | UnsetType = UNSET  # more than the bound: the bound
    again: bool | UnsetType = UNSET
    keep: bool | UnsetType = UNSET
    snapshot: bool | UnsetType = UNSET
    gap: Annotated[int, Meta(ge=0)] | UnsetType = UNSET


NO_OPTIONS: Final = Options()


class _Places(Struct, array_like=True, frozen=True, gc=False):
    version: Annotated[int, Meta(ge=wire.VERSION, le=wire.VERSION)]
    kind: Annotated[int, Meta(ge=1, le=wire.LAST_KIND)]
    target: Annotated[int, Meta(ge=1, le=wire.MAX_FLOW)] | str | None
    request: Annotated[int, Meta(ge=0, le=wire.MAX_REQUEST)]
    ttl: Annotated[int, Meta(ge=0, le=wire.MAX_TTL)]
    method: Annotated[str, Meta(pattern=wire.METHOD)] | None


class Header(_Places, array_like=True, frozen=True, gc=False):
    """A message's header (`PROTOCOL.md` section 2); elements after the seventh are ignored."""

    options: dict[str, Any] | None = None

    @property
    def again(self) -> bool:
        """Whether it says that it was sent before, so that its provider may know it."""
        return self.options is not None and self.options.get(wire.AGAIN_OPTION) is True


class Heading(_Places, array_like=True, frozen=True, gc=False):
    """The same header for a peer, which hands nothing on: its options are read, not kept."""

    options: Options | None = None


class _AnyVersion(Struct, array_like=True, frozen=True, gc=False):
    """The two positions that every version of the protocol keeps."""

    version: Annotated[int, Meta(ge=0)]
    kind: Annotated[int, Meta(ge=0)]


class _Call(Struct, array_like=True, frozen=True, gc=False):
    """What an answer to a call needs."""

    version: Annotated[int, Meta(ge=wire.VERSION, le=wire.VERSION)]
    kind: int
    target: Annotated[int, Meta(ge=1, le=wire.MAX_FLOW)]
    request: Annotated[int, Meta(ge=1, le=wire.MAX_REQUEST)]


# What msgspec raises on hostile bytes: its own errors (ValueErrors), deep nesting, unhashable keys.
_REFUSALS = (ValueError, RecursionError, OverflowError, TypeError)

# Writes one value; raises TypeError or ValueError for what msgpack cannot hold.
encode = msgspec.msgpack.Encoder().encode
_decode_any = msgspec.msgpack.Decoder().decode
_decode_header = msgspec.msgpack.Decoder(Header).decode
_decode_heading = msgspec.msgpack.Decoder(Heading).decode
_decode_arguments = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_call = msgspec.msgpack.Decoder(_Call).decode
_decode_any_version = msgspec.msgpack.Decoder(_AnyVersion).decode


def decode_header(data: Buffer) -> Header:
    """Reads a header; raises ProtocolError for wrong types, ranges, versions or kinds."""
    try:
        head = _decode_header(data)
        if head.options:  # seldom: checked apart, so that unknown ones are kept as they came
            msgspec.convert(head.options, Options)
    except _REFUSALS as error:
        raise ProtocolError(f"the header does not decode: {error}", where="header") from None
    return head


def read_heading(data: Buffer) -> Heading:
    """As `decode_header`, at half its cost."""
    try:
        return _decode_heading(data)
    except _REFUSALS:
        head = decode_header(data)  # of an option that is there twice the last counts
    options = msgspec.convert(head.options or {}, Options)
    places = head.version, head.kind, head.target, head.request, head.ttl, head.method
    return Heading(*places, options)


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
        return encode((wire.VERSION, kind, target, request, ttl, method))
    return encode((wire.VERSION, kind, target, request, ttl, method, options))


def decode(data: Buffer) -> Any:
    """Reads one body as plain values."""
    try:
        return _decode_any(data)
    except _REFUSALS as error:
        raise ProtocolError(f"the body does not decode: {error}", where="body") from None


def decode_arguments(data: Buffer) -> dict[str, Any]:
    """Reads the body of a call."""
    try:
        return _decode_arguments(data)
    except _REFUSALS as error:
        raise ProtocolError(f"the arguments are not a map: {error}", where="body") from None


def salvage(data: Buffer) -> tuple[int, int] | None:
    """Flow and request of a call whose header does not decode: enough to answer it."""
    try:
        call = _decode_call(data)
    except _REFUSALS:
        return None
    return (call.target, call.request) if call.kind == wire.CALL else None


@lru_cache(maxsize=256)
def _known_decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(kind)


def _decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    try:
        return _known_decoder(kind)
    except TypeError:  # not hashable, which an annotation need not be
        return msgspec.msgpack.Decoder(kind)


def decode_as(data: Buffer, kind: type[T]) -> T:
    """Reads one body as the given record; raises ProtocolError naming the key that is wrong."""
    try:
        decoded: T = _decoder(kind).decode(data)
    except _REFUSALS as error:
        raise _invalid(kind, error) from None
    return decoded


def convert(value: object, kind: type[T]) -> T:
    """Reads a part of a decoded body as `decode_as` does a whole one."""
    try:
        return msgspec.convert(value, kind)
    except _REFUSALS as error:
        raise _invalid(kind, error) from None


def _invalid(kind: Any, error: Exception) -> ProtocolError:
    name = getattr(kind, "__name__", "body").lower()
    return ProtocolError(f"not a valid {name}: {error}", where="body")
