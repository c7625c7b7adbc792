"""Django has no unit of work: what an object records stays with it until `publish_recorded`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import pytest

from remit import Remit
from remit.adapters.django import ambient
from remit.db.opening import open_store
from tests.adapters.conftest import Place
from tests.adapters.shop import Oops, Told, shop
from tests.db.handles.kinds import atomic, django_connection


@pytest.fixture
def app(place: Place) -> Iterator[Remit]:
    with django_connection(open_store(place.url)):  # its alias is "remit"
        app = place.application(ambient=[ambient("remit")], require_tx=True)
        with app.bound(), app.sync:
            yield app


@pytest.fixture
def model(app: Remit) -> Any:
    return order_model()


@cache  # Django registers a model once
def order_model() -> Any:
    from django.db import models

    class Order(models.Model):
        id = models.IntegerField(primary_key=True)
        name = models.TextField(default="")
        events = shop.recorder()

        class Meta:
            app_label = "shop"
            db_table = "orders"
            managed = False

        def tell(self, number: int) -> Any:
            self.events.record(Told(number=number))
            return self

    return Order


def test_events_are_published_by_hand_in_the_block_that_saves(place: Place, app: Remit, model: Any) -> None:
    objects = model.objects.using("remit")
    with atomic():
        order = model(id=1).tell(1)
        order.save(using="remit")
        objects.bulk_create([other := model(id=2).tell(2)])
        shop.sync.publish_recorded(order, other)
    with atomic():
        order.tell(3).delete(using="remit")
        shop.sync.publish_recorded(order)
        objects.filter(id=2).update(name="changed")  # a statement records nothing
    assert (place.events(), place.orders()) == ([1, 2, 3], [2])


def test_saving_and_reading_again_leave_the_events_with_the_object(place: Place, app: Remit, model: Any) -> None:
    with atomic():
        model(id=1).save(using="remit")
        order = model.objects.using("remit").get(id=1).tell(1)
        order.name = "changed"
        order.refresh_from_db()
        assert (order.name, len(order.events)) == ("", 1)
        order.events.take()  # who discards a change discards its events
        order.tell(2).save()
        shop.sync.publish_recorded(order)
    assert place.events() == [2]


def test_a_rollback_takes_the_published_events_and_the_object_does_not_get_them_back(
    place: Place, app: Remit, model: Any
) -> None:
    with atomic():
        order = model(id=1)
        order.save(using="remit")
        with suppress(Oops), atomic():
            order.tell(1).name = "changed"
            order.save()
            shop.sync.publish_recorded(order)
            raise Oops
        assert len(order.events) == 0
        again = model.objects.using("remit").get(id=1).tell(2)  # the way to try again
        again.save()
        shop.sync.publish_recorded(again)
    assert place.events() == [2]
