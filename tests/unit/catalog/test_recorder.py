"""Aggregates record what happens to them, until somebody publishes it."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from remit.catalog import Domain, Event, EventRef, Recorder, recorded_by
from remit.errors import CatalogError, NotAMessage, OwnershipError, PayloadTooLarge
from tests.unit.catalog.shop import Shop


class Sales(Domain): ...


class Sold(Event[Sales]):
    text: str = ""


class Shipped(Event[Sales]):
    order: int


sales = Sales()


def take_recorded(objects: Iterable[object]) -> list[Event[Any]]:
    return [event for each in objects for recorded in recorded_by(each) for event in recorded.take()]


class Order:
    """An aggregate that records."""

    events = sales.recorder()

    def ship(self, number: int = 0) -> None:
        self.events.record(Shipped(order=number))


def test_each_object_has_its_own_events() -> None:
    one, other = Order(), Order()
    one.ship()
    assert len(one.events) == 1
    assert len(other.events) == 0


def test_a_class_shows_the_recorder() -> None:
    assert isinstance(Order.events, Recorder)


def test_what_was_recorded_is_taken_once_in_order_object_by_object() -> None:
    one, other = Order(), Order()
    one.ship(1)
    other.ship(2)
    one.ship(3)
    assert take_recorded([other, one]) == [Shipped(order=2), Shipped(order=1), Shipped(order=3)]
    assert take_recorded([one, other]) == []


def test_an_object_may_take_its_own() -> None:
    order = Order()
    order.ship()
    assert order.events.take() == [Shipped(order=0)]
    assert len(order.events) == 0


def test_another_domains_event_that_was_to_be_recorded_is_counted(shop: Shop) -> None:
    class Basket:
        events = shop.catalogue.recorder()

    with pytest.raises(OwnershipError):
        Basket().events.record(shop.paid)
    assert shop.door.refusals == [("catalogue", "billing.invoice-paid", "event")]


def test_objects_that_record_nothing_have_nothing() -> None:
    class Slotted:
        __slots__ = ("_remit_recorded",)

    assert take_recorded([Order(), object(), 3, None, Slotted(), Sold()]) == []


def test_a_frozen_dataclass_can_record_and_stays_equal() -> None:
    @dataclass(frozen=True)
    class Parcel:
        number: int
        events = sales.recorder()

    one = Parcel(1)
    one.events.record(Sold())
    assert one == Parcel(1)
    assert take_recorded([one]) == [Sold()]


def test_an_object_with_nowhere_to_keep_events_says_so() -> None:
    class Slotted:
        __slots__ = ("number",)
        events = sales.recorder()

    with pytest.raises(CatalogError) as refused:
        Slotted().events.record(Sold())
    assert str(refused.value) == (
        f"Objects of {Slotted.__qualname__} cannot hold events: the class has __slots__; add '__dict__' to them."
    )


def test_another_domains_event_cannot_be_recorded(shop: Shop) -> None:
    order = Order()
    with pytest.raises(OwnershipError) as refused:
        order.events.record(shop.paid)  # type: ignore[arg-type]
    assert str(refused.value) == (
        "An aggregate of sales cannot record Shop.__init__.<locals>.InvoicePaid, which billing owns: record an "
        "event of its own domain."
    )
    assert len(order.events) == 0


@pytest.mark.parametrize("event", [Sold, {"text": ""}, None])
def test_only_events_can_be_recorded(event: Any) -> None:
    with pytest.raises(NotAMessage):
        Order().events.record(event)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_records_on_for_itself(clone: Any) -> None:
    order = Order()
    order.ship(1)
    other = clone(order)
    other.ship(2)
    assert take_recorded([order]) == [Shipped(order=1)]
    assert take_recorded([other]) == [Shipped(order=1), Shipped(order=2)]


def test_a_shallow_copy_shares_the_events_so_that_each_is_taken_once() -> None:
    order = Order()
    order.ship(1)
    other = copy.copy(order)
    other.ship(2)
    assert take_recorded([order]) == [Shipped(order=1), Shipped(order=2)]
    assert take_recorded([other]) == []


def test_what_replace_makes_of_a_dataclass_has_recorded_nothing_and_the_original_keeps_its_events() -> None:
    @dataclass(frozen=True)
    class Parcel:
        number: int
        events = sales.recorder()

    one = Parcel(1)
    one.events.record(Sold(text="before"))
    other = replace(one, number=2)
    other.events.record(Sold(text="after"))
    assert take_recorded([other]) == [Sold(text="after")]
    assert take_recorded([one]) == [Sold(text="before")]


async def test_each_domain_records_for_itself_on_one_object(shop: Shop) -> None:
    class Audited:
        trail = sales.recorder()

    class Invoice(Audited):
        events = shop.billing.recorder()

    invoice = Invoice()
    invoice.events.record(shop.paid)
    invoice.trail.record(Sold(text="seen"))
    assert (len(invoice.events), len(invoice.trail)) == (1, 1)
    assert await shop.billing.publish_recorded(invoice) == [EventRef("0")]
    assert (len(invoice.events), len(invoice.trail)) == (0, 1)
    assert await shop.billing.publish_recorded(invoice) == []
    assert invoice.trail.take() == [Sold(text="seen")]
    with pytest.raises(OwnershipError, match="An aggregate of sales cannot record"):
        invoice.trail.record(shop.paid)  # type: ignore[arg-type]


async def test_what_objects_have_recorded_is_published_in_one_go(shop: Shop) -> None:
    class Invoice:
        events = shop.billing.recorder()

    one, other = Invoice(), Invoice()
    for invoice, number in ((one, "1"), (other, "2"), (one, "3")):
        invoice.events.record(shop.InvoicePaid(invoice_id=number))
    refs = await shop.billing.publish_recorded(one, other, object(), tx="tx")
    assert refs == [EventRef("0"), EventRef("1"), EventRef("2")]
    payloads = [(json.loads(made.payload)["invoice_id"], tx) for _, made, tx in shop.door.sent]
    assert payloads == [("1", "tx"), ("3", "tx"), ("2", "tx")]
    assert await shop.billing.publish_recorded(one, other) == []
    assert len(shop.door.sent) == 3


def test_the_blocking_face_publishes_them_too(shop: Shop) -> None:
    class Invoice:
        events = shop.billing.recorder()

    invoice = Invoice()
    invoice.events.record(shop.paid)
    assert shop.billing.sync.publish_recorded(invoice, tx="tx") == [EventRef("0")]
    assert shop.billing.sync.publish_recorded(invoice) == []


async def test_what_another_domain_recorded_cannot_be_published(shop: Shop) -> None:
    order = Order()
    order.ship()
    with pytest.raises(OwnershipError, match=r"billing cannot publish sales\.shipped: only sales may"):
        await shop.billing.publish_recorded(order)


async def test_what_could_not_be_published_is_still_recorded(shop: Shop) -> None:
    class Invoice:
        events = shop.billing.recorder()

    invoice = Invoice()
    invoice.events.record(shop.paid)
    invoice.events.record(shop.InvoicePaid(invoice_id="x" * 1_000))
    for face in (shop.billing, shop.billing.sync):
        with pytest.raises(PayloadTooLarge):
            await face.publish_recorded(invoice)
    assert shop.door.sent == []
    assert [event.invoice_id[:1] for event in invoice.events.take()] == ["1", "x"]
