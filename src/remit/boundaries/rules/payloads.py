"""`missing-scope`, `entity-in-payload`: required and forbidden contents of a payload."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, cast, get_args

from msgspec import inspect as types

from remit.boundaries.model import Model
from remit.boundaries.patterns import covers_any
from remit.boundaries.violations import Violation
from remit.catalog import MessageSpec, Recorder


def missing_scope(model: Model) -> Iterator[Violation]:
    """Every message carries the scope keys of the application, or a reason why it does not."""
    for spec in model.messages if model.catalog.scope_keys else ():
        fields = {field.name for field in dataclasses.fields(cast("Any", spec.message))}
        missing = [key for key in model.catalog.scope_keys if key not in fields and not hasattr(spec.message, key)]
        if not missing or spec.unscoped is not None:
            continue
        name = spec.message.__qualname__
        yield _violation(
            model,
            "missing-scope",
            spec,
            None,
            spec.name,
            f"{name} does not carry {' and '.join(missing)}",
            f"Add {'the field' if len(missing) == 1 else 'the fields'}, or give a reason: "
            f'class {name}(…, unscoped="…").',
        )


def entity_in_payload(model: Model) -> Iterator[Violation]:
    """A payload carries ids: an entity would be stale when it is read, and couples others to its class."""
    for spec in model.messages:
        for path, cls in _classes(spec):
            if why := _why_entity(cls, model):
                yield _violation(
                    model,
                    "entity-in-payload",
                    spec,
                    path.partition(".")[0],
                    f"{spec.name} {path}",
                    f"{spec.message.__qualname__}.{path} carries {cls.__qualname__}, {why}",
                    f"Carry the id of the {cls.__qualname__}, and load it in the handler; or copy the "
                    "needed values into fields, or into a dataclass of the messages.",
                )


def _violation(
    model: Model, rule: str, spec: MessageSpec, field: str | None, subject: str, message: str, remedy: str
) -> Violation:
    place = model.place_of(spec, field)
    return Violation(rule, place.file, place.line, spec.domain.__remit__.name, subject, message, remedy)


def _why_entity(cls: type, model: Model) -> str | None:
    entities: Any = model.boundaries.entities
    if any(hasattr(cls, mark) for mark in ("__mapper__", "__table__", "_sa_class_manager")) or "__tablename__" in vars(
        cls
    ):
        return "which is mapped to a table"
    if hasattr(cls, "_meta") and hasattr(cls, "DoesNotExist"):
        return "which is a model of the database"
    if any(isinstance(value, Recorder) for each in cls.__mro__ for value in vars(each).values()):
        return "which records events, so it is an aggregate"
    if covers_any(entities, cls.__module__):
        return f"which is an entity, as {cls.__module__} holds them"
    return None


def _classes(spec: MessageSpec) -> Iterator[tuple[str, type]]:
    """Every class in a payload, and the path to it; a recursive class is entered once."""
    seen: set[type] = {spec.message}
    info = cast("types.DataclassType", types.type_info(spec.message))
    for field in info.fields:
        yield from _walk(field.type, field.name, seen)


def _walk(kind: types.Type, path: str, seen: set[type]) -> Iterator[tuple[str, type]]:
    match kind:
        case types.DataclassType() | types.StructType() | types.TypedDictType() | types.NamedTupleType():
            yield path, kind.cls
            if kind.cls not in seen:
                seen.add(kind.cls)
                for field in kind.fields:
                    yield from _walk(field.type, f"{path}.{field.name}", seen)
        case types.CustomType(cls=cls):
            yield from _walk_model(cls, path, seen)
        case types.CollectionType():
            yield from _walk(kind.item_type, path, seen)
        case types.TupleType():
            for item in kind.item_types:
                yield from _walk(item, path, seen)
        case types.DictType():
            yield from _walk(kind.value_type, path, seen)
        case types.UnionType():
            for item in kind.types:
                yield from _walk(item, path, seen)
        case types.Metadata():
            yield from _walk(kind.type, path, seen)
        case _:
            pass


def _walk_model(cls: type, path: str, seen: set[type]) -> Iterator[tuple[str, type]]:
    """A pydantic model, whose fields msgspec does not see."""
    yield path, cls
    fields: dict[str, Any] = getattr(cls, "model_fields", {})
    if cls not in seen:
        seen.add(cls)
        for name, field in fields.items():
            for each in _leaves(field.annotation):
                yield from _walk_model(each, f"{path}.{name}", seen)


def _leaves(annotation: object) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for argument in get_args(annotation):
        yield from _leaves(argument)
