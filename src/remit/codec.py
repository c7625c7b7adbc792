"""Encoding and decoding of payloads, with a round-trip check when a message is sent.

msgspec encodes a wrong type, or NaN, without an error, and the job would die in a worker hours later. So a message is
encoded *and decoded* when it is sent (about half a microsecond), and refused if the result differs. Reading is a plain
msgspec decode.

A value survives if a reader gets an equal one: the same text, number or instant, of the class that the field declares
or of one that it is derived from. `==` proves that for nearly all messages, and is tried first. It is too strict for a
datetime in a repeated or skipped hour (PEP 495), and for a subclass that adds no fields.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

import msgspec

from remit.errors import PayloadError, PayloadTooLarge, UndecodablePayload, nearest

M = TypeVar("M")

ENCODING: Final = "json"
"""Stored beside each payload, so that another encoding can live in the same table one day."""

MAX_BYTES: Final = 64 * 1024
"""The default limit of an encoded payload, in bytes of UTF-8."""


def encode(value: object) -> str:
    """Encode any JSON value, such as the result of a handler or the requester of a job.

    Beyond JSON it takes types that msgspec encodes (dates, UUIDs, dataclasses …), which are decoded as JSON values, and
    subclasses of plain types. Raises `PayloadError` for values that JSON cannot carry: NaN, half a surrogate pair, an
    object of an unknown class.
    """
    try:
        raw = _ENCODER.encode(value)
    except Exception as error:
        raise PayloadError(f"The value {_reason(value, error)}.") from error
    if b"null" in raw and (flaw := _flaw(value)):  # msgspec writes NaN as null
        raise PayloadError(f"The value {_described(*flaw)}.")
    return raw.decode()


def decode(text: str) -> Any:
    """Decode any JSON value that `encode` wrote."""
    return _DECODER.decode(text)


def is_model(kind: object) -> bool:
    """Return whether a class is a pydantic model, or has the same methods, without importing pydantic."""
    return isinstance(kind, type) and hasattr(kind, "model_dump") and hasattr(kind, "model_validate_json")


class Codec(Generic[M]):
    """Writes and reads the messages of one class.

    `kind` is the class; `name` appears in the texts of errors. Raises `NameError` while annotations of the class name
    something that does not exist yet, and `TypeError` for a type that msgspec does not support.
    """

    __slots__ = ("_decode", "kind", "name")

    def __init__(self, kind: type[M], name: str) -> None:
        self.kind = kind
        self.name = name
        self._decode: Callable[[str | bytes], M] = msgspec.json.Decoder(kind, dec_hook=_from_builtins).decode

    def dump(self, message: M, *, limit: int = MAX_BYTES) -> str:
        """Write a message, and check that it survives the round trip.

        A subclass of a plain type (`str`, `int`, `float`, `bytes`, `Decimal`, `datetime` …) is written as that type. A
        subclass of a dataclass is treated as the declared class if it adds no fields of its own. An aware datetime is
        decoded as the same instant with the same offset; its zone is not kept.

        `limit` is in bytes of UTF-8. The text holds no raw NUL: control characters are escaped. Raises `PayloadError`,
        naming the field, if a value does not fit its declaration, and `PayloadTooLarge`.
        """
        try:
            raw = _ENCODER.encode(message)
            back = self._decode(raw)
            survives = back == message
        except Exception as error:
            raise PayloadError(f"{self.name}: {_reason(message, error)}. {_REMEDY}") from error
        if not survives and (flaw := _flaw(message) or _difference(message, back)):
            raise PayloadError(f"{self.name}: {_described(*flaw)}. {_REMEDY}")
        if len(raw) > limit:
            raise PayloadTooLarge(
                f"{self.name}: the payload has {len(raw):,} bytes, over the limit of {limit:,}; "
                "pass an id or a storage key instead."
            )
        return raw.decode()

    def load(self, text: str) -> M:
        """Read a message. Raises `UndecodablePayload` if the text does not fit the class as it is declared now."""
        try:
            return self._decode(text)
        except Exception as error:  # anything: the class may check itself in `__post_init__`
            raise UndecodablePayload(
                f"{self.name}: the stored payload does not fit `{self.kind.__qualname__}`: {_located(error)}. "
                "Give a new field a default, or a changed message a new version=."
            ) from error

    def build(self, values: Mapping[str, Any]) -> M:
        """Make a message from field values, JSON values or real ones. Raises `PayloadError` if they do not fit."""
        fields = [field.name for field in dataclasses.fields(cast("Any", self.kind))]
        for key in values:
            if key not in fields:
                raise PayloadError(f"{self.name} has no field {key!r}.{nearest(str(key), fields)}")
        try:
            return msgspec.convert(dict(values), self.kind, str_keys=True, dec_hook=_from_builtins)
        except Exception as error:
            with contextlib.suppress(Exception):
                return msgspec.convert(_plainly(values), self.kind, str_keys=True, dec_hook=_from_builtins)
            located = _located(error)
            remedy = "Pass it as well." if "missing required field" in located else _REMEDY
            raise PayloadError(f"{self.name}: {located}. {remedy}") from error


def _conversions() -> dict[type, Callable[[Any], Any]]:
    """Conversions of subclass values to the plain type. Methods that the subclass overrides are not called.

    The classes are local names: freezegun replaces those of a module.
    """

    def real(kind: type) -> Any:  # even where this module is imported while they are replaced
        return next(each for each in kind.__mro__ if each.__module__ == "datetime")

    day, clock, moment, span = real(date), real(time), real(datetime), real(timedelta)
    return {
        str: str.__str__,
        int: int.__int__,
        float: float.__float__,
        bytes: lambda value: bytes(memoryview(value)),
        Decimal: Decimal,
        moment: lambda value: moment.combine(moment.date(value), moment.timetz(value)),
        day: lambda value: day.fromordinal(day.toordinal(value)),
        clock: lambda value: moment.combine(day.min, value).timetz(),
        span: lambda value: span.__add__(span(0), value),
    }


_PLAIN: Final = _conversions()


def _plain(value: Any) -> Any:
    """A subclass value as a value of the plain type; msgspec encodes only exact types."""
    plain = next((_PLAIN[kind] for kind in type(value).__mro__ if kind in _PLAIN), None)
    return value if plain is None or type(value) in _PLAIN or isinstance(value, bool | Enum) else plain(value)


def _plainly(value: Any) -> Any:
    """The same for all values in JSON containers."""
    if isinstance(value, Mapping):
        return {_plain(key): _plainly(item) for key, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(map(_plainly, value))
    return _plain(value)


def _to_builtins(value: Any) -> Any:
    if (plain := _plain(value)) is not value:
        return plain
    if is_model(type(value)):
        return value.model_dump(mode="json", by_alias=True, round_trip=True)
    raise TypeError(f"Encoding objects of type {type(value).__qualname__} is unsupported")


def _from_builtins(kind: type, value: Any) -> Any:
    if is_model(kind):
        # As JSON, the inverse of mode="json": a strict model takes a date from a string in JSON only.
        return cast("Any", kind).model_validate_json(_ENCODER.encode(value))
    raise TypeError(f"Decoding objects of type {kind.__qualname__} is unsupported")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_to_builtins)
_DECODER: Final = msgspec.json.Decoder()


# Everything below runs only after a failure: it finds the field, and describes the problem.

_REMEDY: Final = "Pass the type that the field declares."
_DEEPEST: Final = 50

Flaw: TypeAlias = "tuple[str, str]"
"""The path of a value, and its problem."""
Part: TypeAlias = "tuple[str, object]"
"""A step of the path to a value, and the value."""


def _described(path: str, problem: str) -> str:
    return f"field `{path}` {problem}" if path else problem


def _reason(value: object, error: Exception) -> str:
    flaw = _flaw(value)
    return _described(*flaw) if flaw else _located(error)


def _located(error: Exception) -> str:
    """Turn msgspec's ``Expected `int`, got `str` - at `$.items[0]` `` around, so that the field comes first."""
    text, _, path = str(error).strip().rstrip(".").partition(" - at `$")
    if not isinstance(error, msgspec.MsgspecError):
        text = f"{type(error).__name__}: {text}"
    path = path.rstrip("`").removeprefix(".")
    return f"field `{path}`: {text}" if path else text


def _flaw(value: object, path: str = "", depth: int = 0) -> Flaw | None:
    """Find the first value that JSON cannot carry, whatever the declared type."""
    if problem := _problem(value):
        return path, problem
    if isinstance(value, Mapping) and (problem := next(filter(None, map(_problem, value)), None)):
        return path, f"has a key that {problem}"
    if depth > _DEEPEST:
        return path, f"is nested more than {_DEEPEST} levels deep"
    found = (_flaw(child, path + step, depth + 1) for step, child in _children(value, path))
    return next(filter(None, found), None)


def _problem(value: object) -> str | None:
    match value:
        case float() if not math.isfinite(value):
            return f"is {value}, and JSON has no such number"
        case Decimal() if value.is_nan():
            return "is NaN, which equals nothing, itself included"
        case str() if any("\ud800" <= character <= "\udfff" for character in value):
            return "holds half of a surrogate pair, which is not text"
        case _ if next(_children(value, ""), None) is None:
            return _unencodable(value)
        case _:
            return None


def _unencodable(leaf: object) -> str | None:
    try:
        _ENCODER.encode(leaf)
    except Exception as error:
        if isinstance(error, TypeError):
            return f"holds a `{type(leaf).__qualname__}`, which JSON cannot carry"
        return f"cannot be written: {error}"
    return None


def _difference(sent: object, back: object, path: str = "") -> Flaw | None:
    """Find the first value that differs after the round trip."""
    if _equal(sent, back):
        return None
    arrays = isinstance(sent, list | tuple) and isinstance(back, list | tuple)
    if not isinstance(sent, type(back)) and not arrays:  # a Sequence may hold either: JSON knows one kind of array
        return path, _other_type(sent, back)
    parts, others = list(_children(sent, path)), list(_children(back, path))
    if not _same_steps(sent, back, parts, others) or not (parts or arrays or _has_fields(sent)):
        return path, f"would come back as {back!r}" if type(sent) is type(back) else _other_type(sent, back)
    found = (_difference(one, other, path + step) for (step, one), (_, other) in zip(parts, others, strict=True))
    return next(filter(None, found), None)  # none: the class compares in its own way, and all of its parts are equal


def _other_type(sent: object, back: object) -> str:
    return f"holds a `{type(sent).__qualname__}` and would come back as a `{type(back).__qualname__}`"


def _same_steps(sent: Any, back: Any, parts: list[Part], others: list[Part]) -> bool:
    if isinstance(sent, Mapping):  # in the order in which they were written
        keys = zip(sent, back, strict=False)
        return len(sent) == len(back) and all(_difference(one, other) is None for one, other in keys)
    return [step for step, _ in parts] == [step for step, _ in others]


def _has_fields(value: object) -> bool:
    return dataclasses.is_dataclass(value) or isinstance(value, msgspec.Struct) or is_model(type(value))


def _equal(one: Any, other: Any) -> bool:
    try:
        if (
            isinstance(one, datetime)
            and isinstance(other, datetime)
            and None not in (one.utcoffset(), other.utcoffset())
        ):
            return bool(one - other == timedelta(0))  # `==` says no where the offset depends on `fold`
        return bool(one == other)
    except Exception:  # a signalling NaN
        return False


def _children(value: Any, path: str) -> Iterator[Part]:
    """Name the parts of a value, as msgspec's paths do."""
    dot = "." if path else ""
    if dataclasses.is_dataclass(value):
        yield from ((dot + field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    elif isinstance(value, msgspec.Struct):
        yield from ((dot + name, getattr(value, name)) for name in value.__struct_fields__)
    elif is_model(type(value)):
        yield from ((dot + name, item) for name, item in _dumped(value).items())
    elif isinstance(value, Mapping):
        yield from ((f"[{key!r}]", item) for key, item in cast("Mapping[object, object]", value).items())
    elif isinstance(value, list | tuple):
        yield from ((f"[{index}]", item) for index, item in enumerate(cast("list[object]", value)))
    elif isinstance(value, set | frozenset):
        yield from (("[…]", item) for item in sorted(cast("set[object]", value), key=_text))  # the same on both sides


def _dumped(model: Any) -> dict[str, object]:
    try:
        fields: dict[str, object] = model.model_dump(mode="python", by_alias=True, round_trip=True)
    except Exception:  # reported as such
        return {}
    return fields


def _text(item: object) -> bytes:
    try:
        return _ENCODER.encode(item)
    except Exception:  # reported as such
        return b""
