"""A scenario waits for what comes of a stimulus, and where it does not come, tells what did."""

from __future__ import annotations

import re
import time

import pytest

from remit import JobRef, Remit
from remit.errors import InvalidArgument
from remit.testing import Applications, Scenario, SyncScenario, enqueued, published
from tests.runtime import carousel
from tests.testing.shop import InvoicePaid, InvoiceVoided, PostLedger, RebuildIndex, SyncInvoice, billing


async def test_a_scenario_waits_for_an_event_a_job_a_delivery_and_a_state_of_the_tests_own(app: Remit) -> None:
    async with Scenario(app) as scenario:
        ref = await billing.enqueue(SyncInvoice(invoice_id="1"))
        assert await scenario.event(InvoicePaid, invoice_id="1") == InvoicePaid(invoice_id="1")
        assert (await scenario.job(ref)).result == "from the context"
        assert (await scenario.job(PostLedger, invoice_id="1")).result == "posted 1 in attempt 1"
        delivery = await scenario.delivery(InvoicePaid, to="catalogue.unlock-downloads", invoice_id="1")
        assert (delivery.subscription, delivery.state) == ("catalogue.unlock-downloads", "completed")
        assert await scenario.until(lambda: enqueued(RebuildIndex).count) == 1
        await scenario.settled()
        enqueued(RebuildIndex).having(state="completed").once()


async def test_what_was_published_is_waited_for_by_its_reference(app: Remit) -> None:
    async with Scenario(app) as scenario:
        ref = await billing.publish(InvoicePaid(invoice_id="1"))
        await scenario.delivery(ref, to="catalogue.unlock-downloads")


async def test_an_async_function_can_be_waited_for(app: Remit) -> None:
    async with Scenario(app) as scenario:
        ref = await billing.enqueue(PostLedger(invoice_id="1"))

        async def done() -> bool:
            return (await app.jobs.get(ref.id)).state == "completed"

        assert await scenario.until(done)


async def test_only_what_came_since_the_scenario_began_counts(app: Remit) -> None:
    await billing.enqueue(PostLedger(invoice_id="old"))
    async with Scenario(app) as scenario:
        await scenario.until(lambda: app.sync.queues.list()[0].ready == 0)
        enqueued(PostLedger).none()


async def test_a_wait_in_vain_tells_what_happened_instead(app: Remit) -> None:
    async with Scenario(app) as scenario:
        await billing.enqueue(SyncInvoice(invoice_id="1", how="fail"))
        await billing.publish(InvoicePaid(invoice_id="2"))
        await scenario.delivery(InvoicePaid, to="catalogue.unlock-downloads")
        await scenario.job(SyncInvoice, lambda job: True, state="scheduled")
        with pytest.raises(AssertionError) as told:
            await scenario.event(InvoicePaid, invoice_id="1", within=0.1)
    text = str(told.value)
    for line in (
        r"not within 0\.1 s: billing\.invoice-paid with invoice_id='1' is published",
        r"  the nearest:",
        r"    InvoicePaid\(invoice_id='2', currency='EUR'\)",
        r"      invoice_id is '2', not '1'",
        r"    1 x billing\.invoice-paid v1",
        r'    billing\.invoice-paid \{"invoice_id":"2","currency":"EUR"\}: dispatched',
        r"      to catalogue\.unlock-downloads: completed",
        r'    billing\.sync-invoice \{"invoice_id":"1","how":"fail"\}: scheduled, 1 of 3 attempts failed, due in .* s',
        r"      ValueError: the ledger is closed",
        r'        File ".*shop\.py", line \d+, in sync_invoice',
    ):
        assert re.search(f"^{line}$", text, re.MULTILINE), f"{line}\nis not in\n{text}"


async def test_what_cannot_come_any_more_is_not_waited_for(app: Remit) -> None:
    async with Scenario(app, timeout=60) as scenario:
        begun = time.monotonic()
        ref = await billing.enqueue(SyncInvoice(invoice_id="1", how="die"))
        for job in (ref, SyncInvoice):
            with pytest.raises(AssertionError, match=r"(?s)cannot come any more: .* it is dead\n.*: cannot be mended"):
                await scenario.job(job)
        await billing.publish(InvoiceVoided(invoice_id="broken"))
        with pytest.raises(AssertionError, match=r"(?s)the delivery is dead\n.*RuntimeError: the lock is broken"):
            await scenario.delivery(InvoiceVoided, to="catalogue.lock-downloads")
        unwanted = await billing.publish(InvoicePaid(invoice_id="1", currency="USD"))
        with pytest.raises(AssertionError, match="this subscription does not get it"):
            await scenario.delivery(unwanted, to="catalogue.unlock-downloads")
        assert time.monotonic() - begun < 50


async def test_names_are_checked_before_anything_is_waited_for(app: Remit) -> None:
    async with Scenario(app) as scenario:
        with pytest.raises(InvalidArgument, match=r"Did you mean 'catalogue\.unlock-downloads'"):
            await scenario.delivery(InvoicePaid, to="catalogue.unlock-download")
        with pytest.raises(InvalidArgument, match="Did you mean 'completed'"):
            await scenario.job(PostLedger, state="complete")
        with pytest.raises(InvalidArgument, match="Did you mean 'invoice_id'"):
            await scenario.event(InvoicePaid, invoice="1")
        with pytest.raises(AssertionError, match="not within 0 s: job none is completed"):
            await scenario.job(JobRef("none"), within=0)


async def test_what_is_deferred_is_called_at_the_end_the_last_first(app: Remit) -> None:
    called: list[str] = []

    async def second() -> None:
        called.append("second")

    async def fail() -> None:
        async with Scenario(app) as scenario:
            scenario.defer(lambda: called.append("first"))
            scenario.defer(second)
            raise RuntimeError("in the block")

    with pytest.raises(RuntimeError, match="in the block"):
        await fail()
    assert called == ["second", "first"]


async def test_a_run_that_hangs_does_not_hold_up_the_end_for_longer_than_the_grace(app: Remit) -> None:
    begun = time.monotonic()
    async with Scenario(app, grace=0.1) as scenario:
        ref = await billing.enqueue(SyncInvoice(invoice_id="1", how="hang"))
        await scenario.job(ref, state="running")
    assert time.monotonic() - begun < 30
    assert (await app.jobs.get(ref.id)).state == "ready"


async def test_an_open_application_stays_open_and_a_closed_one_is_closed_again(app: Remit) -> None:
    async with Scenario(app):
        pass
    assert not app._connections.is_open()
    async with app:
        async with Scenario(app):
            pass
        assert app._connections.is_open()


def test_a_blocking_test_has_the_same_waits(app: Remit) -> None:
    called: list[str] = []
    with SyncScenario(app) as scenario:
        scenario.defer(lambda: called.append("deferred"))
        ref = billing.sync.enqueue(SyncInvoice(invoice_id="1"))
        assert scenario.event(InvoicePaid, invoice_id="1") == InvoicePaid(invoice_id="1")
        assert scenario.job(ref).result == "from the context"
        scenario.delivery(InvoicePaid, to="catalogue.unlock-downloads")
        assert scenario.until(lambda: enqueued(RebuildIndex).count) == 1
        scenario.settled()
        with pytest.raises(AssertionError, match=r"not within 0\.05 s"):
            scenario.event(InvoicePaid, invoice_id="2", within=0.05)
        scenario.seen.published(InvoicePaid).once()
    assert called == ["deferred"]
    published(InvoicePaid).once()


async def test_a_scenario_and_a_drain_end_where_events_lead_to_themselves(make: Applications) -> None:
    carousel.shared.reset()
    app = make(domains=[carousel.ask, carousel.reply], max_hops=3)
    async with Scenario(app) as scenario:
        ref = await carousel.ask.publish(carousel.Asked())
        await scenario.settled()
    assert len(published(carousel.Asked)) == len(published(carousel.Replied)) == 2
    [letter] = (await app.jobs.list(state="dead")).jobs
    assert (letter.name, letter.correlation, letter.failures) == ("ask.ask-again", ref.id, 1)
    await app.drain()
