"""A field may be what comes back from the database as it was; anything else is refused at import."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
import pytest

from remit.catalog import Domain, Job
from remit.catalog.specs import D
from remit.errors import CatalogError

T = TypeVar("T")


class Billing(Domain): ...


class Entity:
    """A class that nobody taught JSON."""


@dataclass
class Tree:
    name: str
    children: list[Tree]


@dataclass
class Page(Generic[T]):
    items: list[T]


@dataclass
class Basket:
    owner: Entity


def declare(annotation: object, **body: Any) -> type[Job[Billing]]:
    """Declare a job with one field, `it`."""
    namespace = {"__module__": __name__, "__qualname__": "Sync", "__annotations__": {"it": annotation}, **body}

    class Here(Domain): ...

    return types.new_class("Sync", (Job[Here],), {}, lambda made: made.update(namespace))


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        "str",
        int | None,
        Tree,
        Page[int],
        Sequence[str],
        Mapping[str, list[Tree]],
        dict[int, str],
        Annotated[str, msgspec.Meta(max_length=3)],
        dict[Annotated[str, msgspec.Meta(max_length=3)], int],
    ],
)
def test_what_comes_back_is_allowed(annotation: object) -> None:
    declare(annotation)


@pytest.mark.parametrize(
    "annotation, problem",
    [
        (Any, "Sync.it is `Any`, or holds it (as a bare `list` does), so nothing would be checked; name the type, "),
        (list, "Sync.it is `Any`"),
        (dict[str, Any], "Sync.it is `Any`"),
        (list[tuple[int, Any]], "Sync.it is `Any`"),
        (Page, "Sync.it.items is `Any`"),
        (object, "Sync.it has the type `object`, which JSON cannot carry"),
        (
            Entity,
            "Sync.it has the type `Entity`, which JSON cannot carry; pass an id, or make it a dataclass, a msgspec.",
        ),
        (list[Entity] | None, "Sync.it has the type `Entity`"),
        (Basket, "Sync.it.owner has the type `Entity`"),
        (dict[str, Basket], "Sync.it.owner has the type `Entity`"),
        (Page[Entity], "Sync.it.items has the type `Entity`"),
        (Callable[[], int], "Sync.it has the type `Callable`"),
        (complex, "Sync.it has the type `complex`"),
        (msgspec.Raw, "Sync.it is text that is not checked; name the type that it holds."),
        (dict[tuple[int, int], str], "Sync.it has keys that JSON cannot carry; use text, numbers, dates, UUIDs or an "),
        (dict[bool, str], "Sync.it has keys that JSON cannot carry"),
        (dict[int | str, str], "Sync.it has keys that JSON cannot carry"),
        (bytes | str, "A field of Sync cannot be stored: Type unions may not contain more than one str-like type"),
        (InitVar[int], "A field of Sync cannot be stored: dataclasses with `InitVar` fields are not supported."),
    ],
)
def test_what_does_not_come_back_is_refused_in_words(annotation: object, problem: str) -> None:
    with pytest.raises(CatalogError) as refused:
        declare(annotation)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize(
    "default, problem",
    [
        ([], "Sync cannot be a message: mutable default <class 'list'> for field it is not allowed: use default_fact"),
        (field(init=False, default=1), "Sync.it is field(init=False), which no payload can carry; make it a property."),
        (field(kw_only=False), "Sync.it is field(kw_only=False), and messages are built by keyword; leave that out."),
    ],
)
def test_a_default_that_no_payload_can_carry_is_refused(default: Any, problem: str) -> None:
    with pytest.raises(CatalogError) as refused:
        declare("list[int]" if isinstance(default, list) else "int", it=default)
    assert str(refused.value).startswith(problem)


def test_a_constant_of_the_class_is_no_field() -> None:
    class Sync(Job[Billing]):
        limit: ClassVar[Entity] = Entity()
        it: int = 3

    assert Sync.__remit__.codec.dump(Sync()) == '{"it":3}'


def test_the_fields_of_abstract_messages_are_checked_with_their_parameters() -> None:
    class Boxed(Job[D], Generic[D, T], abstract=True):
        it: T

    class Good(Boxed[Billing, int]): ...

    assert Good.__remit__.codec.load('{"it": 3}') == Good(it=3)
    with pytest.raises(CatalogError, match=r"Bad\.it has the type `Entity`"):

        class Bad(Boxed[Billing, Entity]): ...
