"""The types that a field of a message may have: values of them are unchanged after a round trip through JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final, cast

from msgspec import inspect as types

from remit.codec import is_model
from remit.errors import CatalogError

_KEYS: Final = (
    types.StrType,
    types.IntType,
    types.FloatType,
    types.BytesType,
    types.EnumType,
    types.LiteralType,
    types.DateTimeType,
    types.DateType,
    types.TimeType,
    types.TimeDeltaType,
    types.UUIDType,
    types.DecimalType,
    types.AnyType,  # reported as such
)


class UnresolvedField(CatalogError):
    """An annotation names something that does not exist, or not yet."""


def check_fields(message: type) -> None:
    """Refuse types that do not survive the round trip. Raises `CatalogError`, `UnresolvedField` for an unknown name."""
    where = message.__qualname__
    for field in _fields(message):
        for path, kind in _walk(field.type, field.name, set()):
            if problem := _problem(kind):
                raise CatalogError(f"{where}.{path} {problem}")


def check_specifiers(message: type) -> None:
    """Refuse `dataclasses.field(…)` options that no payload can carry. Raises `CatalogError`."""
    for field in dataclasses.fields(cast("Any", message)):
        where = f"{message.__qualname__}.{field.name}"
        if not field.init:
            raise CatalogError(f"{where} is field(init=False), which no payload can carry; make it a property.")
        if not field.kw_only:
            raise CatalogError(f"{where} is field(kw_only=False), and messages are built by keyword; leave that out.")


def _fields(message: type) -> tuple[types.Field, ...]:
    try:
        info = types.type_info(message)
    except NameError as error:
        raise UnresolvedField(
            f"A field of {message.__qualname__} names {error.name!r}, which cannot be found in {message.__module__}; "
            "define it at the top level of the module, or import it there outside `if TYPE_CHECKING`."
        ) from error
    except TypeError as error:
        raise CatalogError(f"A field of {message.__qualname__} cannot be stored: {error}.") from error
    return cast("types.DataclassType", info).fields


def _problem(kind: types.Type) -> str | None:
    match kind:
        case types.AnyType():
            return (
                "is `Any`, or holds it (as a bare `list` does), so nothing would be checked; name the type, as in "
                "`list[str]`."
            )
        case types.CustomType(cls=cls) if not is_model(cls):
            return (
                f"has the type `{cls.__qualname__}`, which JSON cannot carry; pass an id, or make it a dataclass, "
                "a msgspec.Struct or a pydantic model."
            )
        case types.RawType() | types.ExtType():
            return "is text that is not checked; name the type that it holds."
        case types.DictType(key_type=key) if not _is_key(key):
            return "has keys that JSON cannot carry; use text, numbers, dates, UUIDs or an Enum as keys."
        case _:
            return None


def _walk(kind: types.Type, path: str, seen: set[int]) -> Iterator[tuple[str, types.Type]]:
    """Walk through a type and its parts, with their paths; a recursive class is entered once."""
    yield path, kind
    match kind:
        case types.DataclassType() | types.StructType() | types.TypedDictType() | types.NamedTupleType():
            if id(kind) not in seen:
                seen.add(id(kind))
                for field in kind.fields:
                    yield from _walk(field.type, f"{path}.{field.name}", seen)
        case _:
            for part in _parts(kind):
                yield from _walk(part, path, seen)


def _parts(kind: types.Type) -> tuple[types.Type, ...]:
    match kind:
        case types.CollectionType():
            return (kind.item_type,)
        case types.TupleType():
            return kind.item_types
        case types.DictType():
            return (kind.key_type, kind.value_type)
        case types.UnionType():
            return kind.types
        case types.Metadata():
            return (kind.type,)
        case _:
            return ()


def _is_key(kind: types.Type) -> bool:
    bare = kind.type if isinstance(kind, types.Metadata) else kind
    return isinstance(bare, _KEYS)
