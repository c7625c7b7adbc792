"""One handler, run alone: everything that it does is real, and nothing else happens."""

from __future__ import annotations

import asyncio
import os

import pytest

from remit import JobDied, Remit, State
from remit.errors import InvalidArgument, UnknownSubscription
from remit.testing import Applications, deliver, enqueued, nothing_sent, perform, published
from tests.runtime.foundry import Cast, Ingot, foundry
from tests.testing.shop import (
    InvoicePaid,
    InvoiceVoided,
    PostLedger,
    RebuildIndex,
    Services,
    SyncInvoice,
    billing,
    unlock_downloads,
)

pytestmark = pytest.mark.usefixtures("app")


async def test_a_handler_completes_with_its_context_and_sends_what_it_sends() -> None:
    done = await perform(SyncInvoice(invoice_id="1"))
    assert (done.outcome, done.result, done.reason, done.error) == ("completed", "from the context", None, None)
    assert done.enqueued(PostLedger).once() == PostLedger(invoice_id="1")
    assert done.published(InvoicePaid).once() == InvoicePaid(invoice_id="1")
    assert enqueued(PostLedger).one.record.state is State.READY, "nothing else is run"


async def test_a_context_can_be_given_and_then_the_real_one_stays_closed() -> None:
    services = Services()
    done = await perform(SyncInvoice(invoice_id="7"), context=services)
    assert done.expect("completed").result == "7"
    assert services.posted == ["7"]


async def test_a_blocking_handler_runs_too() -> None:
    assert (await perform(PostLedger(invoice_id="1"))).result == "posted 1 in attempt 1"


def test_a_blocking_test_runs_it_on_an_event_loop_of_its_own() -> None:
    assert asyncio.run(perform(PostLedger(invoice_id="1"))).outcome == "completed"


@pytest.mark.parametrize(
    "how, outcome, reason",
    [
        ("skip", "skipped", "no such invoice"),
        ("snooze", "snoozed", None),
        ("die", "dead", "cannot be mended"),
        ("fail", "retry", None),
        ("transact", "completed", None),
    ],
)
async def test_every_ending_has_its_word(how: str, outcome: str, reason: str | None) -> None:
    done = await perform(SyncInvoice(invoice_id="1", how=how))
    assert (done.outcome, done.reason) == (outcome, reason)


async def test_a_failed_run_tells_its_error_and_has_sent_nothing() -> None:
    done = await perform(SyncInvoice(invoice_id="1", how="fail"))
    assert done.error is not None
    assert (done.error.kind, done.error.message) == ("ValueError", "the ledger is closed")
    done.sent.nothing_sent()
    with pytest.raises(AssertionError, match=r"(?s)to be completed, and it is retry\n.*Traceback.*shop\.py"):
        done.expect("completed")


async def test_a_completion_in_a_transaction_is_a_result() -> None:
    done = await perform(SyncInvoice(invoice_id="1", how="transact"))
    assert done.result == "in a transaction"
    done.published(InvoicePaid).once()


async def test_the_last_attempt_can_be_tried_first() -> None:
    assert (await perform(SyncInvoice(invoice_id="1", how="last"))).outcome == "retry"
    assert (await perform(SyncInvoice(invoice_id="1", how="last"), attempt=3)).outcome == "completed"
    dead = await perform(SyncInvoice(invoice_id="1", how="fail"), attempt=3)
    assert (dead.outcome, dead.reason) == ("dead", "failed 3 of 3 attempts; last: ValueError: the ledger is closed")
    with pytest.raises(InvalidArgument, match="attempt is 1 to 3"):
        await perform(SyncInvoice(invoice_id="1"), attempt=4)


async def test_other_jobs_of_the_same_line_stay_where_they_are(app: Remit) -> None:
    waiting = [await billing.enqueue(PostLedger(invoice_id=str(number))) for number in range(3)]
    assert (await perform(PostLedger(invoice_id="mine"))).result == "posted mine in attempt 1"
    for ref in waiting:
        job = await app.jobs.get(ref.id)
        assert (job.state, job.failures) == (State.READY, 0)


async def test_a_paused_queue_is_told(app: Remit) -> None:
    await app.queues.pause("billing.slow")
    with pytest.raises(AssertionError, match=r"its queue billing\.slow is paused"):
        await perform(PostLedger(invoice_id="1"))
    nothing_sent()


async def test_an_event_is_delivered_to_one_subscription_with_its_envelope() -> None:
    done = await deliver(InvoicePaid(invoice_id="1"), to="catalogue.unlock-downloads")
    assert (done.outcome, done.result) == ("completed", "billing.invoice-paid")
    assert done.enqueued(RebuildIndex).once() == RebuildIndex(invoice_id="1")
    assert published(InvoicePaid).one.record.state == "dispatched"


async def test_a_subscription_is_named_by_its_handler_too() -> None:
    assert (await deliver(InvoicePaid(invoice_id="1"), to=unlock_downloads)).outcome == "completed"


async def test_an_event_that_the_store_sorts_out_is_unwanted() -> None:
    done = await deliver(InvoicePaid(invoice_id="1", currency="USD"), to=unlock_downloads)
    assert (done.outcome, done.record, done.result) == ("unwanted", None, None)


async def test_an_ordered_subscription_is_delivered_to() -> None:
    assert (await deliver(InvoiceVoided(invoice_id="1"), to="catalogue.lock-downloads")).outcome == "completed"
    dead = await deliver(InvoiceVoided(invoice_id="broken"), to="catalogue.lock-downloads")
    assert dead.outcome == "dead"


async def test_an_ordered_event_is_delivered_whatever_waits_under_its_key(app: Remit) -> None:
    earlier = [await billing.publish(InvoiceVoided(invoice_id="1")) for _ in range(2)]
    done = await deliver(InvoiceVoided(invoice_id="1"), to="catalogue.lock-downloads")
    assert done.outcome == "completed"
    assert [(await app.events.get(ref.id)).state for ref in earlier] == ["pending", "pending"]
    await app.drain()
    for ref in earlier:
        assert [each.state for each in (await app.events.get(ref.id)).records] == ["completed"]
    await billing.publish(InvoiceVoided(invoice_id="broken"))
    await app.drain()  # its delivery is dead, and blocks its key
    assert (await deliver(InvoiceVoided(invoice_id="broken"), to="catalogue.lock-downloads")).outcome == "dead"


async def test_a_subscription_that_does_not_exist_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownSubscription, match=r"Did you mean 'catalogue\.unlock-downloads'"):
        await deliver(InvoicePaid(invoice_id="1"), to="catalogue.unlock-download")


async def test_a_death_is_published_and_can_be_asserted() -> None:
    dead = await perform(SyncInvoice(invoice_id="1", how="die"))
    assert published(JobDied).matching(name="billing.sync-invoice").once().job == dead.record.id  # type: ignore[union-attr]


async def test_a_handler_that_runs_in_a_process_is_performed_in_one(make: Applications) -> None:
    make(domains=[foundry])
    assert (await perform(Cast(how="return"))).result["pid"] != os.getpid()
    done = await perform(Cast(how="chatter"))
    assert done.enqueued(Ingot).once() == Ingot(number=1)


async def test_what_the_handler_sends_itself_goes_to_the_application_that_performs(app: Remit) -> None:
    sent = await perform(SyncInvoice(invoice_id="1", how="send"))
    sent.expect("completed")
    assert enqueued(PostLedger).matching(invoice_id="by hand").one.record.causation == sent.record.id  # type: ignore[union-attr]
