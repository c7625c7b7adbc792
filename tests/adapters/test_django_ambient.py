"""Django's atomic block is the transaction of what is sent inside it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction

from remit import Remit
from remit.adapters.django import ambient
from remit.db.opening import open_store
from remit.errors import ForeignTransaction, TransactionError, TransactionRequired
from tests.adapters.conftest import Place
from tests.adapters.shop import Oops, Pack, Told, shop
from tests.db.handles.kinds import atomic, django_connection


@pytest.fixture
def connection(place: Place) -> Iterator[Any]:
    with django_connection(open_store(place.url)) as connection:  # its alias is "remit"
        yield connection


@pytest.fixture
def app(place: Place, connection: Any) -> Iterator[Remit]:
    app = place.application(ambient=[ambient("remit")])
    with app.bound(), app.sync:
        yield app


def test_what_is_sent_in_the_block_is_committed_with_it(place: Place, app: Remit, connection: Any) -> None:
    with atomic():
        connection.cursor().execute("INSERT INTO orders VALUES (1, '')")
        shop.sync.publish(Told(number=1))
        shop.sync.enqueue(Pack(number=1))
        assert (place.events(), place.jobs()) == ([], 0)
    assert (place.events(), place.jobs(), place.orders()) == ([1], 1, [1])


def test_what_is_sent_in_a_block_that_is_rolled_back_never_was(place: Place, app: Remit) -> None:
    with suppress(Oops), atomic():
        shop.sync.publish(Told(number=1))
        raise Oops
    with atomic():
        shop.sync.publish(Told(number=2))
        with suppress(Oops), atomic():
            shop.sync.publish(Told(number=3))
            raise Oops
    assert place.events() == [2]


def test_outside_a_block_there_is_no_transaction(place: Place, app: Remit, connection: Any) -> None:
    shop.sync.publish(Told(number=1))
    assert place.events() == [1]
    connection.set_autocommit(False)
    shop.sync.publish(Told(number=2))
    connection.set_autocommit(True)
    assert place.events() == [1, 2]


def test_with_require_tx_a_block_is_enough(place: Place, connection: Any) -> None:
    app = place.application(ambient=[ambient("remit")], require_tx=True)
    with app.bound(), app.sync:
        with pytest.raises(TransactionRequired):
            shop.sync.publish(Told(number=1))
        with atomic():
            shop.sync.publish(Told(number=2))
    assert place.events() == [2]


def test_a_block_that_must_roll_back_is_refused(place: Place, app: Remit) -> None:
    with atomic():
        transaction.set_rollback(True, using="remit")
        with pytest.raises(TransactionError, match="this transaction has failed already"):
            shop.sync.publish(Told(number=1))
    assert place.events() == []


def test_a_block_on_another_database_is_foreign(place: Place, other_place: Place) -> None:
    app = place.application(ambient=[ambient("remit")])
    with app.bound(), app.sync, django_connection(open_store(other_place.url)), atomic():
        refusal = pytest.raises(ForeignTransaction, match="belongs to another database than the application's")
        with refusal:
            shop.sync.publish(Told(number=1))
    assert (place.events(), other_place.events()) == ([], [])


def test_a_block_belongs_to_its_thread(place: Place, app: Remit) -> None:
    with atomic():
        thread = threading.Thread(target=lambda: shop.sync.publish(Told(number=1)))
        thread.start()
        thread.join()
        assert place.events() == [1]
        transaction.set_rollback(True, using="remit")


def test_asyncio_code_outside_a_block_sends_by_itself(
    place: Place, app: Remit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE")

    async def send() -> None:
        async with app:
            await shop.publish(Told(number=1))

    asyncio.run(send())
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    assert place.events() == [1]
