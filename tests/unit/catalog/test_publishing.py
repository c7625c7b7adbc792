"""What a domain publishes: its own events, checked before anything is written."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.catalog import (
    Catalog,
    Domain,
    Event,
    EventRef,
    JobDied,
    Publisher,
    PublishOptions,
    PublishRequest,
    event_spec_of,
    prepare_event,
    running_domain,
    spec_of,
)
from remit.catalog.names import lane
from remit.catalog.publishing import scope_text
from remit.catalog.quantities import DAY
from remit.catalog.specs import D
from remit.catalog.versions import Versions
from remit.errors import (
    InvalidArgument,
    NotAMessage,
    OwnershipError,
    PayloadError,
    PayloadTooLarge,
    UnboundDomain,
    UnknownOption,
)
from tests.unit.catalog.shop import Shop

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
ID = uuid.UUID("0190c0de-0000-7000-8000-000000000000")


@contextmanager
def inside_a_handler_of(domain: Any) -> Iterator[None]:
    token = running_domain.set(domain)
    try:
        yield
    finally:
        running_domain.reset(token)


async def refusals(shop: Shop, domain: Any, event: object) -> set[str]:
    """Try every way in which an event can leave a domain, and give the texts of the refusals."""
    told = set()
    for verb in ("publish", "publish_soon", "publish_later"):
        for face in (domain, domain.sync):
            with pytest.raises((OwnershipError, NotAMessage, UnboundDomain)) as refused:
                await getattr(face, verb)(event)
            told.add(str(refused.value))
    for face in (domain, domain.sync):
        with pytest.raises((OwnershipError, NotAMessage, UnboundDomain)) as refused:
            await face.publish_many([event])
        told.add(str(refused.value))
    assert shop.door.sent == []
    return told


async def test_publish_passes_a_checked_request_and_the_transaction(shop: Shop) -> None:
    tx = object()
    ref = await shop.billing.publish(shop.paid, tx=tx, id=ID)
    assert ref == EventRef("0", duplicate=False)
    [(verb, request, given_tx)] = shop.door.sent
    assert verb == "publish"
    assert given_tx is tx
    assert request == PublishRequest(
        spec=shop.InvoicePaid.__remit__,
        payload='{"invoice_id":"1","organization_id":"o"}',
        lane=lane("invoice_id", '"1"'),
        id=str(ID),
        keep=7 * DAY,
    )


async def test_the_blocking_face_does_the_same(shop: Shop) -> None:
    options = PublishOptions(occurred_at=NOON)
    await shop.billing.publish(shop.paid, tx="tx", **options)
    await shop.billing.publish_many([shop.paid, shop.paid], tx="tx", **options)
    await shop.billing.publish_soon(shop.paid, **options)
    await shop.billing.flush()
    await shop.billing.publish_later(shop.paid, tx="tx", delay=3)
    there, shop.door.sent = shop.door.sent, []
    shop.billing.sync.publish(shop.paid, tx="tx", **options)
    shop.billing.sync.publish_many([shop.paid, shop.paid], tx="tx", **options)
    shop.billing.sync.publish_soon(shop.paid, **options)
    shop.billing.sync.flush()
    shop.billing.sync.publish_later(shop.paid, tx="tx", delay=3)
    assert [verb for verb, _, _ in there] == ["publish", "publish", "publish", "publish_soon", "flush", "enqueue"]
    assert there == shop.door.sent


async def test_many_are_published_at_once_or_not_at_all(shop: Shop) -> None:
    events = [shop.paid, shop.InvoicePaid(invoice_id=3)]  # type: ignore[arg-type]
    with pytest.raises(PayloadError):
        await shop.billing.publish_many(events)
    assert await shop.billing.publish_many([]) == []
    assert shop.billing.sync.publish_many([]) == []
    assert shop.door.sent == []


async def test_an_id_belongs_to_one_event(shop: Shop) -> None:
    for face in (shop.billing, shop.billing.sync):
        with pytest.raises(InvalidArgument) as refused:
            await face.publish_many([shop.paid], id=ID)
        assert str(refused.value) == "id belongs to one event; publish the events one by one, or leave it out."


async def test_another_domains_event_cannot_be_published_by_any_verb(shop: Shop) -> None:
    [told] = await refusals(shop, shop.billing, shop.IndexRebuilt())
    assert told == (
        "billing cannot publish catalogue.index-rebuilt: only catalogue may. Let catalogue publish it, or let billing "
        "publish an event of its own."
    )


async def test_the_refusal_names_the_event_that_the_owner_listens_to(shop: Shop) -> None:
    @shop.billing.on(shop.IndexRebuilt, name="note")
    async def note(event: Any, run: Any) -> None: ...

    [told] = await refusals(shop, shop.catalogue, shop.paid)
    name = shop.IndexRebuilt.__qualname__
    assert told == (
        "catalogue cannot publish billing.invoice-paid: only billing may. "
        f"Publish {name} instead, which billing subscribes to."
    )


async def test_a_handler_cannot_publish_through_another_domain(shop: Shop) -> None:
    with inside_a_handler_of(shop.catalogue):
        [told] = await refusals(shop, shop.billing, shop.paid)
    assert told == (
        "A handler of catalogue cannot publish billing.invoice-paid, not even through billing. Let billing publish it, "
        "or let catalogue publish an event of its own."
    )


async def test_a_handler_publishes_its_own_domains_events(shop: Shop) -> None:
    with inside_a_handler_of(shop.billing):
        await shop.billing.publish(shop.paid)
    assert len(shop.door.sent) == 1


async def test_nobody_publishes_what_remit_says(shop: Shop) -> None:
    died = JobDied(
        job=str(ID), name="a.b", domain="a", queue="a.default", attempts=1, failures=1, reason="because"
    )  # fmt: skip
    [told] = await refusals(shop, shop.billing, died)
    assert told.startswith("billing cannot publish remit.job-died: only remit may.")


async def test_a_job_is_enqueued_and_an_event_published(shop: Shop) -> None:
    name = "Shop.__init__.<locals>."
    assert await refusals(shop, shop.billing, shop.SyncInvoice(invoice_id="1")) == {
        f"{name}SyncInvoice is a job, which is enqueued, not published: billing.enqueue({name}SyncInvoice(…))."
    }
    for face in (shop.billing, shop.billing.sync):
        with pytest.raises(NotAMessage) as refused:
            await face.enqueue(shop.paid)
        assert str(refused.value) == (
            f"{name}InvoicePaid is an event, which is published, not enqueued: billing.publish({name}InvoicePaid(…))."
        )


async def test_an_event_cannot_be_enqueued_by_its_name(shop: Shop) -> None:
    with pytest.raises(LookupError, match=r"has a job 'billing\.invoice-paid'"):
        await shop.billing.enqueue_named("invoice-paid", {"invoice_id": "1"})


class TenantEvent(Event[D], abstract=True):
    organization_id: str


@pytest.mark.parametrize(
    "event, reason",
    [
        (3, "A `int` is not an event; send an instance of a class derived from Event[YourDomain]."),
        ({"n": 1}, "A `dict` is not an event; send an instance of a class derived from Event[YourDomain]."),
        (JobDied, "JobDied is a class; send an instance of it: JobDied(…)."),
        (TenantEvent(organization_id="o"), "TenantEvent is abstract; send an instance of a class derived from it."),
    ],
)
def test_what_is_no_event_is_refused(event: object, reason: str) -> None:
    with pytest.raises(NotAMessage) as refused:
        event_spec_of(event)
    assert str(refused.value) == reason


async def test_an_unbound_domain_cannot_publish_either() -> None:
    shop = Shop()
    [told] = await refusals(shop, shop.billing, shop.paid)
    assert told == (
        "billing cannot send yet: it is not bound to an application. Create one with Remit(url, domains=[billing]) "
        "first."
    )
    for flush in (shop.billing.flush, shop.billing.sync.flush):
        with pytest.raises(UnboundDomain):
            await flush()


class TestWhatARefusalAdvises:
    """A domain that reaches for another's job is told which of its own events would do."""

    async def told(self, shop: Shop) -> str:
        with pytest.raises(OwnershipError) as refused:
            await shop.billing.enqueue(shop.RebuildIndex())
        said = str(refused.value).removeprefix("billing cannot enqueue catalogue.rebuild-index: only catalogue may. ")
        with pytest.raises(OwnershipError) as refused:
            await shop.billing.enqueue_named("catalogue.rebuild-index", {})
        assert str(refused.value).endswith(said)
        with inside_a_handler_of(shop.billing), pytest.raises(OwnershipError) as refused:
            await shop.catalogue.enqueue(shop.RebuildIndex())
        assert str(refused.value) == (
            "A handler of billing cannot enqueue catalogue.rebuild-index, not even through catalogue. " + said
        )
        return said

    async def test_the_event_to_which_the_owner_subscribes(self, shop: Shop) -> None:
        shop.catalogue.on(shop.InvoicePaid, name="rebuild")(lambda event, run: None)
        shop.catalogue.on(shop.InvoicePaid, name="count")(lambda event, run: None)
        name = "Shop.__init__.<locals>.InvoicePaid"
        assert await self.told(shop) == f"Publish {name} instead, which catalogue subscribes to."

    async def test_every_event_to_which_the_owner_subscribes(self, shop: Shop) -> None:
        class InvoiceSent(Event[shop.Billing]): ...  # type: ignore[name-defined]

        for event in (shop.InvoicePaid, InvoiceSent):
            shop.catalogue.on(event, name=event.__name__.lower())(lambda event, run: None)
        assert await self.told(shop) == (
            f"Publish {shop.InvoicePaid.__qualname__} or {InvoiceSent.__qualname__} instead, which catalogue "
            "subscribes to."
        )

    async def test_the_events_that_it_has_where_the_owner_subscribes_to_none(self, shop: Shop) -> None:
        shop.catalogue.on(shop.IndexRebuilt, name="own")(lambda event, run: None)
        shop.billing.on(shop.InvoicePaid, name="own")(lambda event, run: None)
        assert await self.told(shop) == (
            "Let billing publish one of its own events (Shop.__init__.<locals>.InvoicePaid) and let catalogue "
            "subscribe to it, or call an API of catalogue."
        )

    async def test_an_event_to_be_where_it_has_none(self, shop: Shop) -> None:
        shop.Billing.__remit__.events = Versions()
        assert await self.told(shop) == (
            "Let billing publish an event and let catalogue subscribe to it, or call an API of catalogue."
        )


async def test_every_refusal_is_counted_with_who_tried_what(shop: Shop) -> None:
    rebuild = shop.RebuildIndex()
    attempts: list[Any] = [
        lambda: shop.billing.enqueue(rebuild),
        lambda: shop.billing.sync.enqueue_many([rebuild]),
        lambda: shop.billing.enqueue_named("catalogue.rebuild-index", {}),
        lambda: shop.billing.publish(shop.IndexRebuilt()),
        lambda: shop.billing.publish_later(shop.IndexRebuilt()),
    ]
    for attempt in attempts:
        with pytest.raises(OwnershipError):
            await attempt()
    assert shop.door.refusals == [
        ("billing", "catalogue.rebuild-index", "job"),
        ("billing", "catalogue.rebuild-index", "job"),
        ("billing", "catalogue.rebuild-index", "job"),
        ("billing", "catalogue.index-rebuilt", "event"),
        ("billing", "catalogue.index-rebuilt", "event"),
    ]


async def test_a_handler_that_reaches_through_another_domain_is_the_one_that_is_counted(shop: Shop) -> None:
    with inside_a_handler_of(shop.catalogue):
        with pytest.raises(OwnershipError):
            await shop.billing.publish(shop.paid)
        with pytest.raises(OwnershipError):
            await shop.billing.enqueue(shop.SyncInvoice(invoice_id="1"))
    assert shop.door.refusals == [
        ("catalogue", "billing.invoice-paid", "event"),
        ("catalogue", "billing.sync-invoice", "job"),
    ]


async def test_what_is_no_message_is_no_refusal_of_an_owner(shop: Shop) -> None:
    with pytest.raises(NotAMessage):
        await shop.billing.publish({"invoice_id": "1"})
    assert shop.door.refusals == []


class Sales(Domain): ...


class Sold(Event[Sales], max_payload=30):
    text: str = ""


class Shipped(Event[Sales], ordered_by="order"):
    order: int | None = None


def request(event: Event[Any] | None = None, limit: int = 1_000, **options: Any) -> PublishRequest:
    event = event or Sold()
    return prepare_event(event_spec_of(event), event, PublishOptions(**options), limit, keep=9.0)


def test_a_plain_publish_says_nothing_but_its_payload() -> None:
    assert request() == PublishRequest(spec=Sold.__remit__, payload='{"text":""}', keep=9.0)
    assert request(**dict.fromkeys(PublishOptions.__annotations__)) == request()


def test_an_instant_is_given_in_utc_and_ids_as_text() -> None:
    berlin = timezone(timedelta(hours=1))
    made = request(occurred_at=datetime(2026, 1, 2, 13, tzinfo=berlin), id=ID, correlation=str(ID).upper())
    assert (made.occurred_at, made.id, made.correlation) == (NOON, str(ID), str(ID))
    assert made.occurred_at is not None
    assert made.occurred_at.tzinfo is UTC


@pytest.mark.parametrize(
    "options, reason",
    [
        (
            {"occurred_at": datetime(2026, 1, 2)},  # noqa: DTZ001
            "occurred_at is a datetime without a time zone; add one, as in datetime.now(UTC).",
        ),
        ({"occurred_at": 3}, "occurred_at must be a datetime, not 3."),
        ({"occurred_at": "2026-01-02T00:00:00Z"}, "occurred_at must be a datetime, not '2026-01-02T00:00:00Z'."),
        ({"id": "7"}, "id must be a UUID, for example uuid5(NAMESPACE, order_number), not '7'."),
        ({"id": 7}, "id must be a UUID, for example uuid5(NAMESPACE, order_number), not 7."),
        ({"correlation": "7"}, "correlation must be a UUID, for example uuid5(NAMESPACE, order_number), not '7'."),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_the_name_of_the_event(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        request(**options)
    assert str(refused.value) == f"sales.sold: {reason}"


@pytest.mark.parametrize("value", [3, None])
def test_a_misspelled_option_is_named_with_the_nearest(value: Any) -> None:
    with pytest.raises(UnknownOption) as refused:
        request(ocurred_at=value)
    assert str(refused.value) == (
        "publish has no option 'ocurred_at'. Did you mean 'occurred_at'? The options are occurred_at, id, correlation."
    )


@pytest.mark.parametrize("option", ["delay", "at", "priority", "key", "label"])
async def test_an_event_has_no_options_of_a_job(shop: Shop, option: str) -> None:
    with pytest.raises(UnknownOption, match=f"^publish has no option '{option}'"):
        await shop.billing.publish(shop.paid, **{option: None})


def test_an_event_that_would_not_come_back_is_refused() -> None:
    with pytest.raises(PayloadError, match=r"^sales\.sold: field `text`: Expected `str`, got `int`"):
        request(Sold(text=3))  # type: ignore[arg-type]


async def test_an_event_over_its_limit_is_refused(shop: Shop) -> None:
    class Long(Event[shop.Billing], max_payload=20):  # type: ignore[name-defined]
        text: str

    await shop.billing.publish(Long(text="x" * 9))
    with pytest.raises(PayloadTooLarge) as refused:
        await shop.billing.publish(Long(text="x" * 10))
    assert str(refused.value).startswith("billing.long: the payload has 21 bytes, over the limit of 20; pass an id")
    with pytest.raises(PayloadTooLarge, match=r"over the limit of 1,000"):  # what the application says
        await shop.billing.publish(shop.InvoicePaid(invoice_id="x" * 1_000))


def test_an_event_that_is_not_ordered_has_no_lane() -> None:
    assert request(Sold()).lane is None


@given(st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | st.integers(-(2**63), 2**63 - 1))
def test_events_of_one_key_share_a_lane_and_others_do_not(one: int | None, other: int | None) -> None:
    lanes = [request(Shipped(order=each)).lane for each in (one, other)]
    assert (lanes[0] == lanes[1]) == (one == other)


def test_different_events_of_one_aggregate_share_its_lane() -> None:
    class Returned(Event[Sales], ordered_by="order"):
        order: int

    assert request(Returned(order=7)).lane == request(Shipped(order=7)).lane == lane("order", "7")


class Priced(Event[Sales], ordered_by="key"):
    key: Decimal


class Weighed(Event[Sales], ordered_by="key"):
    key: float


class Timed(Event[Sales], ordered_by="key"):
    key: datetime


TWO = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    "event, one, same, other",
    [
        (Priced, Decimal("1.0"), Decimal("1.00"), Decimal("1.01")),
        (Priced, Decimal("-0"), Decimal("0.0"), Decimal("0.1")),
        (Priced, Decimal("1E+2"), Decimal(100), Decimal(1000)),
        (Weighed, 1, 1.0, 1.5),
        (Timed, NOON, NOON.astimezone(TWO), NOON.replace(tzinfo=TWO)),
    ],
)
def test_keys_that_are_equal_share_a_lane_however_they_are_written(
    event: Any, one: object, same: object, other: object
) -> None:
    lanes = [request(event(key=each)).lane for each in (one, same, other)]
    assert one == same
    assert lanes[0] == lanes[1] != lanes[2]


class TestScopeKeys:
    """The keys that the application asks for travel beside the payload."""

    async def test_events_and_jobs_carry_the_keys_that_they_have(self) -> None:
        shop = Shop(scope=("organization_id", "project_id")).open()
        await shop.billing.publish(shop.paid)
        await shop.billing.publish(shop.paid, occurred_at=NOON)
        await shop.billing.publish_soon(shop.paid)
        await shop.billing.enqueue(shop.SyncInvoice(invoice_id="1"))
        await shop.billing.enqueue(shop.SyncInvoice(invoice_id="1"), delay=3)
        own = '{"organization_id":"o"}'
        assert [made.scope for _, made, _ in shop.door.sent] == [own, own, own, None, None]

    async def test_none_are_carried_where_none_are_asked_for(self, shop: Shop) -> None:
        await shop.billing.publish(shop.paid)
        assert shop.door.sent[0][1].scope is None

    def test_one_key_may_be_named_alone(self) -> None:
        assert Catalog([], scope="organization_id").scope_keys == ("organization_id",)
        assert Catalog([], scope=["organization_id", "project_id"]).scope_keys == ("organization_id", "project_id")
        assert Catalog([]).scope_keys == ()

    @pytest.mark.parametrize("key", ["organization-id", "", "a.b", 3, None])
    def test_a_key_is_the_name_of_a_field(self, key: Any) -> None:
        with pytest.raises(InvalidArgument) as refused:
            Catalog([], scope=[key])
        assert str(refused.value) == f"scope takes names of fields, such as 'organization_id', not {key!r}."

    def test_the_text_is_that_of_an_object_in_the_order_of_the_keys(self) -> None:
        class Opened(Event[Sales]):
            project_id: int
            organization_id: uuid.UUID

        opened = Opened(project_id=7, organization_id=ID)
        assert scope_text(opened, ("organization_id", "project_id")) == f'{{"organization_id":"{ID}","project_id":7}}'
        assert scope_text(opened, ("project_id", "tenant")) == '{"project_id":7}'
        assert scope_text(opened, ("tenant",)) is None
        assert scope_text(opened, ()) is None

    @given(st.text())
    def test_any_text_is_carried(self, text: str) -> None:
        assert json.loads(scope_text(Sold(text=text), ("text",)) or "") == {"text": text}


async def test_a_use_case_depends_on_the_port(shop: Shop) -> None:
    class Fake:
        def __init__(self) -> None:
            self.published: list[tuple[Any, Any]] = []

        async def publish(self, event: Any, *, tx: object | None = None, **options: Any) -> EventRef:
            self.published.append((event, options))
            return EventRef("fake")

        async def publish_many(self, events: Any, *, tx: object | None = None, **options: Any) -> list[EventRef]:
            return [await self.publish(event, **options) for event in events]

    async def use_case(publisher: Publisher[Any]) -> str:
        return (await publisher.publish(shop.paid, occurred_at=NOON)).id

    fake = Fake()
    assert await use_case(fake) == "fake"
    assert await use_case(shop.billing) == "0"
    assert fake.published == [(shop.paid, {"occurred_at": NOON})]


def test_a_job_and_an_event_each_know_their_spec(shop: Shop) -> None:
    assert event_spec_of(shop.paid) is shop.InvoicePaid.__remit__
    assert spec_of(shop.SyncInvoice(invoice_id="1")) is shop.SyncInvoice.__remit__
