"""What a fake tells beyond the contract that it shares with the real thing."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from remit import Publisher, Scheduler
from remit.errors import OwnershipError, TransactionRequired
from remit.testing import Fake
from tests.testing.shop import Billing, InvoicePaid, PostLedger, RebuildIndex, SyncInvoice, billing, catalogue


class PayInvoice:
    """A use case that knows the ports alone."""

    def __init__(self, scheduler: Scheduler[Billing], publisher: Publisher[Billing]) -> None:
        self._scheduler = scheduler
        self._publisher = publisher

    async def run(self, invoice_id: str, session: object) -> None:
        await self._publisher.publish(InvoicePaid(invoice_id=invoice_id), tx=session)
        await self._scheduler.enqueue(SyncInvoice(invoice_id=invoice_id), tx=session, delay=30, label="soon")


async def test_a_use_case_is_tested_without_a_store() -> None:
    fake, session = Fake(billing), object()
    await PayInvoice(fake, fake).run("1", session)
    fake.published(InvoicePaid).matching(invoice_id="1").having(tx=session).once()
    one = fake.enqueued(SyncInvoice).having(delay=30.0, label="soon", attempts=3).one
    assert (one.message, one.record.tx, one.record.duplicate) == (SyncInvoice(invoice_id="1"), session, False)
    assert one.record.request.delay == 30


async def test_a_failed_assertion_tells_what_the_fake_was_given() -> None:
    fake = Fake(billing)
    await fake.enqueue(SyncInvoice(invoice_id="2"))
    with pytest.raises(AssertionError, match=r"(?s)invoice_id is '2', not '1'.*given to the fake of billing:\n.*1 x"):
        fake.enqueued(SyncInvoice).matching(invoice_id="1").once()
    with pytest.raises(AssertionError, match=r'billing\.sync-invoice \{"invoice_id":"2","how":"complete"\}'):
        fake.nothing_sent()
    fake.clear()
    fake.nothing_sent()


async def test_duplicates_are_seen_among_all_and_not_among_what_was_taken() -> None:
    fake, id = Fake(billing), uuid4()
    for _ in range(2):
        await fake.enqueue(PostLedger(invoice_id="1"), id=id)
        await fake.publish(InvoicePaid(invoice_id="1"), id=id)
    assert [fake.enqueued(PostLedger).count, fake.published(InvoicePaid).count] == [1, 1]
    assert [[each.duplicate for each in sent] for sent in (fake.jobs, fake.events)] == [[False, True]] * 2


def test_the_verbs_of_blocking_code_and_those_that_ports_do_not_have() -> None:
    fake = Fake(billing)
    fake.sync.enqueue_named("post-ledger", {"invoice_id": "1"})
    fake.sync.publish_soon(InvoicePaid(invoice_id="1"))
    fake.sync.flush()
    fake.sync.publish_later(InvoicePaid(invoice_id="2"), delay=60)
    fake.enqueued(PostLedger).once()
    fake.published(InvoicePaid).once()
    assert [each.name for each in fake.jobs] == ["billing.post-ledger", "billing.publish-later"]


async def test_a_fake_stands_in_for_the_domain_itself_and_goes_again() -> None:
    before = billing.binding
    with Fake(billing).standing_in() as fake:
        await billing.enqueue(PostLedger(invoice_id="1"))
        ref = await billing.publish_soon(InvoicePaid(invoice_id="1"))
        await billing.flush()
    assert billing.binding is before
    fake.enqueued(PostLedger).once()
    assert fake.published(InvoicePaid).one.id == ref.id


def test_a_fake_can_insist_on_a_transaction() -> None:
    fake = Fake(billing, require_tx=True)
    with pytest.raises(TransactionRequired):
        asyncio.run(fake.publish(InvoicePaid(invoice_id="1")))
    with pytest.raises(TransactionRequired):
        fake.sync.enqueue(PostLedger(invoice_id="1"))
    fake.nothing_sent()


def test_scope_keys_are_read_as_an_application_reads_them() -> None:
    fake = Fake(billing, scope=["invoice_id"])
    fake.sync.publish(InvoicePaid(invoice_id="1"))
    fake.published(InvoicePaid).having(scope='{"invoice_id":"1"}').once()


def test_refusals_are_remembered() -> None:
    fake = Fake(billing, domains=[catalogue])
    with pytest.raises(OwnershipError):
        fake.sync.enqueue(RebuildIndex(invoice_id="1"))  # type: ignore[arg-type]
    assert fake.refusals == [("billing", "catalogue.rebuild-index", "job")]
