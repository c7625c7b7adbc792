"""A delayed event waits as a job of its domain, which publishes it when it fires."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remit.catalog import Catalog, Domain, EnqueueRequest, Event, EventRef, Job, JobRef
from remit.errors import DuplicateName, PayloadTooLarge, UndecodablePayload, UnknownEvent, UnknownOption
from tests.unit.catalog.shop import Shop


class Firing:
    """The part of a run that the job for delayed events uses."""

    def __init__(self) -> None:
        self.published: list[Event[Any]] = []

    def publish(self, event: Event[Any]) -> EventRef:
        self.published.append(event)
        return EventRef("e-1")


async def sent(shop: Shop, event: Event[Any], **options: Any) -> EnqueueRequest:
    assert await shop.billing.publish_later(event, **options) == JobRef("0")
    [(verb, made, _)] = shop.door.sent
    assert verb == "enqueue"
    return made  # type: ignore[no-any-return]


async def fire(shop: Shop, made: EnqueueRequest) -> tuple[str, list[Event[Any]]]:
    handler = shop.Billing.__remit__.handlers[made.spec]
    run = Firing()
    return await handler.function(made.spec.codec.load(made.payload), run), run.published


async def test_the_job_carries_the_event_by_name_version_and_payload(shop: Shop) -> None:
    made = await sent(shop, shop.paid, delay=timedelta(days=1), label="remind")
    assert (made.spec.name, made.spec.domain, made.spec.queue.name) == (
        "billing.publish-later",
        shop.Billing,
        "billing.default",
    )
    assert (made.delay, made.label) == (86_400.0, "remind")
    payload = '{"invoice_id":"1","organization_id":"o"}'
    assert json.loads(made.payload) == {"event": "billing.invoice-paid", "version": 1, "payload": payload}


async def test_it_publishes_an_equal_event_as_part_of_its_completion(shop: Shop) -> None:
    made = await sent(shop, shop.paid)
    assert await fire(shop, made) == ("event e-1", [shop.paid])


async def test_the_options_are_those_of_a_job(shop: Shop) -> None:
    with pytest.raises(UnknownOption, match=r"^enqueue has no option 'occurred_at'"):
        await shop.billing.publish_later(shop.paid, occurred_at=datetime.now(UTC))


async def test_an_event_that_was_renamed_is_found_by_its_alias(shop: Shop) -> None:
    made = await sent(shop, shop.paid)
    message = made.spec.codec.build({**json.loads(made.payload), "event": "old.invoice-settled"})
    run = Firing()
    await shop.Billing.__remit__.handlers[made.spec].function(message, run)
    assert run.published == [shop.paid]


@pytest.mark.parametrize("gone", [{"event": "billing.invoice-gone"}, {"version": 2}])
async def test_an_event_that_is_gone_is_named_with_the_remedy(shop: Shop, gone: dict[str, Any]) -> None:
    made = await sent(shop, shop.paid)
    values = {**json.loads(made.payload), **gone}
    run = Firing()
    with pytest.raises(UnknownEvent) as refused:
        await shop.Billing.__remit__.handlers[made.spec].function(made.spec.codec.build(values), run)
    assert str(refused.value) == (
        f"billing no longer has an event {values['event']!r} of version {values['version']}, which this job was to "
        "publish; restore the class of that version, give the class that replaced it aliases=, or delete the job."
    )
    assert run.published == []


async def test_a_payload_that_does_not_fit_any_more_is_told(shop: Shop) -> None:
    made = await sent(shop, shop.paid)
    message = made.spec.codec.build({**json.loads(made.payload), "payload": "{}"})
    with pytest.raises(UndecodablePayload, match=r"^billing\.invoice-paid: the stored payload does not fit"):
        await shop.Billing.__remit__.handlers[made.spec].function(message, Firing())


async def test_an_event_is_measured_against_its_own_limit_and_no_other(shop: Shop) -> None:
    class Report(Event[shop.Billing], max_payload=100_000):  # type: ignore[name-defined]
        text: str

    report = Report(text='"' * 45_000)  # twice as long in JSON, and twice again within the job
    made = await sent(shop, report)
    assert len(made.payload) > 180_000
    assert await fire(shop, made) == ("event e-1", [report])
    with pytest.raises(PayloadTooLarge, match=r"^billing\.report: the payload has .*, over the limit of 100,000"):
        await shop.billing.publish_later(Report(text="x" * 100_000))


def test_every_domain_that_publishes_has_the_job_and_its_handler_from_the_start(shop: Shop) -> None:
    class Silent(Domain): ...

    catalog = Catalog([shop.billing, Silent()])
    names = [spec.name for spec in catalog.specs]
    assert names == ["billing.sync-invoice", "billing.publish-later"]
    assert [spec.name for spec in catalog.missing_handlers()] == ["billing.sync-invoice"]


def test_there_is_one_such_job_however_often_it_is_asked_for(shop: Shop) -> None:
    first = shop.catalog.by_name("billing.publish-later")
    shop.catalog.refresh()
    assert Catalog([shop.billing]).by_name("billing.publish-later") is first
    assert shop.catalog.by_name("catalogue.publish-later") is not first


def test_its_name_is_taken() -> None:
    class Here(Domain): ...

    class PublishLater(Job[Here]): ...

    class Opened(Event[Here]): ...

    with pytest.raises(DuplicateName) as refused:
        Catalog([Here()])
    assert str(refused.value) == (
        f"{PublishLater.__remit__.path} is named 'here.publish-later', which is the job that publishes here's "
        "delayed events; give it another name=."
    )


def test_it_carries_no_keys_and_says_why(shop: Shop) -> None:
    assert shop.catalog.by_name("billing.publish-later").unscoped == "it carries an event, which has its own keys"
