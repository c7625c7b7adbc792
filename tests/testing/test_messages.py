"""What is asserted on is what is in the store, whoever sent it; and where it is not there, that is told."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from remit import Remit
from remit.errors import InvalidArgument, UnboundDomain, UnsupportedHandle
from remit.testing import Applications, enqueued, nothing_sent, published, watching
from tests.testing.shop import InvoicePaid, InvoiceVoided, PostLedger, SyncInvoice, billing, catalogue

pytestmark = pytest.mark.usefixtures("app")


def pay(*ids: str, currency: str = "EUR") -> None:
    billing.sync.publish_many([InvoicePaid(invoice_id=id, currency=currency) for id in ids])


# --- reading


def test_iterating_gives_the_messages_in_the_order_in_which_they_were_sent() -> None:
    pay("1", "2")
    billing.sync.publish(InvoicePaid(invoice_id="3"), id=uuid4())
    assert list(published(InvoicePaid)) == [InvoicePaid(invoice_id=id) for id in "123"]
    assert (len(published(InvoicePaid)), published(InvoicePaid).count) == (3, 3)
    assert not published(InvoiceVoided)


def test_a_collection_is_lazy_and_reads_anew_each_time() -> None:
    paid = published(InvoicePaid).matching(invoice_id="1")
    paid.none()
    pay("1")
    assert paid.once() == InvoicePaid(invoice_id="1")
    pay("1")
    assert paid.times(2) == [InvoicePaid(invoice_id="1")] * 2
    assert repr(paid) == f"<billing.invoice-paid with invoice_id='1': {paid.times(2)!r}>"


def test_an_event_has_its_record_and_its_envelope() -> None:
    correlation = uuid4()
    ref = billing.sync.publish(InvoicePaid(invoice_id="1"), correlation=correlation)
    one = published(InvoicePaid).one
    assert (one.id, one.record.state) == (ref.id, "pending")
    assert (one.envelope.id, one.envelope.type, one.envelope.domain) == (ref.id, "billing.invoice-paid", "billing")
    assert one.envelope.correlation == str(correlation)
    assert one.envelope.published_at == one.record.published_at


def test_a_job_has_its_record_and_no_envelope() -> None:
    billing.sync.enqueue(PostLedger(invoice_id="1"), label="the first", priority=3)
    one = enqueued(PostLedger).having(priority=3).one
    assert (one.record.label, one.record.queue) == ("the first", "billing.slow")
    with pytest.raises(TypeError, match="no envelope"):
        _ = one.envelope
    assert enqueued(PostLedger).records == [one.record]


def test_what_a_delivery_is_made_of_is_no_job_that_was_enqueued(app: Remit) -> None:
    pay("1")
    app.sync.drain()
    assert [each.name for each in app.sync.jobs.list(domain="catalogue").jobs].count("catalogue.unlock-downloads") == 1
    enqueued(PostLedger).none()


def test_more_than_one_page_is_read() -> None:
    pay(*(str(number) for number in range(1_001)))
    assert published(InvoicePaid).count == 1_001


# --- narrowing


def test_messages_are_matched_by_values_by_functions_and_as_a_whole() -> None:
    pay("1", "2")
    pay("3", currency="USD")
    paid = published(InvoicePaid)
    assert list(paid.matching(currency="EUR").matching(invoice_id="2")) == [InvoicePaid(invoice_id="2")]
    assert paid.matching(invoice_id=lambda id: id > "1").count == 2
    assert paid.matching(lambda event: event.currency == "USD").once().invoice_id == "3"
    assert paid.matching(InvoicePaid(invoice_id="1")).count == 1
    assert paid.having(state="pending").count == 3
    assert paid.having(attempts=lambda attempts: attempts > 0).count == 0


def test_names_of_fields_and_attributes_are_checked() -> None:
    with pytest.raises(InvalidArgument, match=r"no field 'invoice'\. Did you mean 'invoice_id'"):
        published(InvoicePaid).matching(invoice="1")
    pay("1")
    with pytest.raises(InvalidArgument, match=r"EventRecord has no 'stat'\. Did you mean 'state'"):
        published(InvoicePaid).having(stat="pending").once()


# --- telling


def told(call: object) -> list[str]:
    with pytest.raises(AssertionError) as error:
        call()  # type: ignore[operator]
    return str(error.value).splitlines()


def test_the_nearest_miss_is_told_with_the_fields_that_differ() -> None:
    pay("1", currency="USD")
    pay("2")
    billing.sync.publish(InvoiceVoided(invoice_id="1"))
    assert told(published(InvoicePaid).matching(invoice_id="1", currency="EUR").having(state="pending").once) == [
        "wanted 1 billing.invoice-paid with invoice_id='1', currency='EUR', state='pending', and found none",
        "  the nearest:",
        "    InvoicePaid(invoice_id='1', currency='USD')",
        "      currency is 'USD', not 'EUR'",
        "  published since the watch began:",
        "    2 x billing.invoice-paid v1",
        "    1 x billing.invoice-voided v1",
    ]


def test_functions_that_say_no_are_named() -> None:
    pay("1")

    def is_large(event: InvoicePaid) -> bool:
        return False

    lines = told(published(InvoicePaid).matching(is_large, currency=str.islower).once)
    assert "      currency is 'EUR', and str.islower returned false" in lines
    assert any(line.endswith("is_large returned false") for line in lines)


def test_too_many_are_told() -> None:
    pay(*"1234567")
    assert told(published(InvoicePaid).none)[:2] == [
        "wanted none billing.invoice-paid, and found 7",
        "    InvoicePaid(invoice_id='1', currency='EUR')",
    ]
    assert "    … and 2 more" in told(lambda: published(InvoicePaid).one)


def test_nothing_is_told_too() -> None:
    assert told(enqueued(SyncInvoice).once) == [
        "wanted 1 billing.sync-invoice, and found none",
        "  enqueued since the watch began:",
        "    nothing",
    ]


# --- watching


def test_a_watch_sees_what_came_since_it_began_and_the_innermost_counts(app: Remit) -> None:
    pay("before")
    billing.sync.enqueue(PostLedger(invoice_id="before"))
    with watching(app) as seen:
        nothing_sent()
        pay("within")
        assert published(InvoicePaid).once().invoice_id == "within"
        enqueued(PostLedger).none()
        assert told(seen.nothing_sent) == [
            "wanted nothing to be sent, and this was:",
            '    published billing.invoice-paid {"invoice_id":"within","currency":"EUR"}',
        ]
    assert published(InvoicePaid).count == 2, "the watch around it counts again"


def test_what_other_processes_and_handlers_send_is_seen_too(app: Remit) -> None:
    billing.sync.enqueue(SyncInvoice(invoice_id="1"))
    app.sync.drain()
    published(InvoicePaid).once()
    enqueued(PostLedger).having(state="completed").once()


async def test_an_async_test_reads_in_the_same_way(app: Remit) -> None:
    async with app:
        await billing.publish(InvoicePaid(invoice_id="1"))
        published(InvoicePaid).once()


def test_a_delivery_of_an_earlier_event_is_nothing_that_was_sent(app: Remit) -> None:
    pay("1")
    with watching(app) as seen:
        app.sync.drain()
        assert [each.name for each in seen.job_records()].count("catalogue.unlock-downloads") == 1
        assert told(seen.nothing_sent)[1:] == ['    enqueued catalogue.rebuild-index {"invoice_id":"1"}']


def test_a_rollback_leaves_nothing(app: Remit, make: Applications) -> None:
    connection = connect(make)
    billing.sync.publish(InvoicePaid(invoice_id="1"), tx=connection)
    billing.sync.enqueue(PostLedger(invoice_id="1"), tx=connection)
    nothing_sent()
    connection.rollback()
    connection.close()
    nothing_sent()


def test_an_open_transaction_can_be_watched_from_inside(app: Remit, make: Applications) -> None:
    connection = connect(make)
    with watching(app, tx=connection) as seen:
        billing.sync.publish(InvoicePaid(invoice_id="1"), tx=connection)
        seen.published(InvoicePaid).once()
    published(InvoicePaid).none()
    connection.rollback()
    connection.close()


async def test_an_open_async_transaction_is_looked_into(app: Remit, make: Applications) -> None:
    with watching(app) as seen:
        async with app, session(make) as tx:
            await billing.publish(InvoicePaid(invoice_id="1"), tx=tx)
            await billing.enqueue(PostLedger(invoice_id="1"), tx=tx)
            with pytest.raises(UnsupportedHandle, match=r"await seen\.inside"), watching(app, tx=tx):
                pass
            now = await seen.inside(tx)
            await tx.rollback()
        now.published(InvoicePaid).once()
        now.enqueued(PostLedger).once()
        assert told(now.nothing_sent)[0] == "wanted nothing to be sent, and this was:"
        assert told(now.published(InvoiceVoided).once)[-2:] == ["  published:", "    1 x billing.invoice-paid v1"]
        seen.nothing_sent()


def test_where_nobody_watches_that_is_said(app: Remit) -> None:
    from remit.testing import watches

    watched, watches._watches = watches._watches, []
    try:
        with pytest.raises(UnboundDomain, match="no application with the domain 'billing' is watched here"):
            published(InvoicePaid)
        with pytest.raises(UnboundDomain, match="no application is watched here"):
            nothing_sent()
    finally:
        watches._watches = watched


def test_of_several_applications_the_one_with_the_domain_is_meant(make: Applications) -> None:
    other = Remit("sqlite://", domains=[])
    with watching(other) as seen:
        pay("1")
        published(InvoicePaid).once()
        seen.nothing_sent()
    assert catalogue.binding is not None


def connect(make: Applications) -> sqlite3.Connection | psycopg.Connection[tuple[object, ...]]:
    """The caller's own connection, in a transaction."""
    if make.database.url.startswith("sqlite"):
        connection = sqlite3.connect(make.database.path)
        connection.execute("BEGIN IMMEDIATE")
        return connection
    return psycopg.connect(make.database.url)


@asynccontextmanager
async def session(make: Applications) -> AsyncIterator[AsyncSession]:
    """The caller's own asynchronous session."""
    scheme = "sqlite+aiosqlite" if make.database.url.startswith("sqlite") else "postgresql+psycopg"
    place = make.database.url.partition("://")[2].partition("?")[0]
    engine = create_async_engine(f"{scheme}://{place}")
    async with AsyncSession(engine) as opened:
        yield opened
    await engine.dispose()
