"""One function of an extension: arguments checked and converted in, results converted out."""

import inspect
import types
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import msgspec.inspect

from .context import Context
from .errors import BusError
from .files import PLAIN, is_reference, outgoing, resolve


class Function:
    """A callable `(ctx, **arguments) -> result` with its signature taken apart once."""

    def __init__(self, target: Callable[..., Any]) -> None:
        """Raises TypeError if the function does not take `ctx` first, or an argument's annotation
        is none that a value from the bus can be converted to."""
        self.target = target
        self._streams = inspect.isgeneratorfunction(target)
        parameters = list(inspect.signature(target).parameters.values())
        if not parameters or parameters[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise TypeError(f"{target.__qualname__} must take ctx as its first argument")
        hints = get_type_hints(target, include_extras=True)
        kinds = inspect.Parameter
        rest = parameters[1:]
        self._takes_any = any(parameter.kind is kinds.VAR_KEYWORD for parameter in rest)
        named = [
            parameter
            for parameter in rest
            if parameter.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
        ]
        self._arguments = {
            parameter.name: _Argument(parameter.name, hints.get(parameter.name, Any), target)
            for parameter in named
        }
        self._required = [parameter.name for parameter in named if parameter.default is kinds.empty]

    def __call__(self, ctx: Context, args: Mapping[str, Any]) -> Any:
        """Runs the function; raises BusError `bad-request` naming a wrong argument, and
        `wrong-output` naming a wrong result. What a generator yields are chunks."""
        converted = self._convert(ctx, args)
        value = self.target(ctx, **converted)
        if self._streams:
            value = _stream(value, ctx)
        return value if type(value) in PLAIN else outgoing(value, ctx.outbox_path, "result")

    def _convert(self, ctx: Context, given: Mapping[str, Any]) -> dict[str, Any]:
        for name in self._required:
            if name not in given:
                raise BusError("bad-request", f"{name} is missing", where=name)
        converted = {}
        for name, value in given.items():
            argument = self._arguments.get(name)
            if argument is not None:
                converted[name] = (
                    value if type(value) is argument.exact else argument.convert(value, ctx)
                )
            elif self._takes_any:
                converted[name] = value
            else:
                raise BusError("bad-request", f"{name} is not an argument", where=name)
        return converted


class _Argument:
    """How one argument is made of what came for it; `exact` values are it already."""

    def __init__(self, name: str, annotation: Any, target: Callable[..., Any]) -> None:
        _require_convertible(annotation, f"{target.__qualname__}, argument {name}")
        self._name = name
        self._annotation = annotation
        self._options = get_args(annotation) if _is_union(annotation) else (annotation,)
        self.exact = next((kind for kind in PLAIN if kind is annotation), None)

    def convert(self, value: Any, ctx: Context) -> Any:
        """The value, with files found in the call's inbox; raises BusError `bad-request`."""
        name, options = self._name, self._options
        if is_reference(value) and Path not in options:
            if str in options:
                return _read_text(resolve(value, ctx.inbox, name), name)
            if bytes in options:
                return resolve(value, ctx.inbox, name).read_bytes()
        if Path in options:
            # msgspec knows no unions with foreign types, so these are told apart here.
            if is_reference(value):
                return resolve(value, ctx.inbox, name)
            if value is None and type(None) in options:
                return None
            raise BusError("bad-request", f"{name} must be a file or folder", where=name)

        def hook(kind: type, raw: object) -> object:
            if kind is Path:
                return resolve(raw, ctx.inbox, name)
            raise BusError("bad-request", f"{name}: no {kind.__name__} can be sent", where=name)

        try:
            return msgspec.convert(value, self._annotation, strict=True, dec_hook=hook)
        except msgspec.ValidationError as error:
            raise BusError("bad-request", f"{name}: {error}", where=name) from None


def _require_convertible(annotation: Any, where: str) -> None:
    if _is_union(annotation) and Path in get_args(annotation):
        return
    try:
        foreign = set(_foreign(msgspec.inspect.type_info(annotation))) - {Path}
        msgspec.msgpack.Decoder(annotation)
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from None
    if foreign:
        names = ", ".join(sorted(kind.__name__ for kind in foreign))
        raise TypeError(f"{where}: values of type {names} are not supported; for any value use Any")


def _foreign(info: object) -> Iterator[type]:
    """The types within an annotation that msgspec does not know."""
    if isinstance(info, msgspec.inspect.CustomType):
        yield info.cls
    elif isinstance(info, msgspec.inspect.CollectionType | msgspec.inspect.VarTupleType):
        yield from _foreign(info.item_type)
    elif isinstance(info, msgspec.inspect.TupleType):
        for item in info.item_types:
            yield from _foreign(item)
    elif isinstance(info, msgspec.inspect.DictType):
        yield from _foreign(info.key_type)
        yield from _foreign(info.value_type)
    elif isinstance(info, msgspec.inspect.UnionType):
        for option in info.types:
            yield from _foreign(option)


def _read_text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BusError("bad-request", f"{name} is not UTF-8 text", where=name) from None


def _stream(parts: Generator[object, None, object], ctx: Context) -> object:
    try:
        while True:
            ctx.chunk(next(parts))
    except StopIteration as end:
        return end.value
    finally:
        parts.close()


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)
