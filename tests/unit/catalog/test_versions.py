"""Several versions of one name, side by side: what is stored in each has its own class and its own handler."""

from __future__ import annotations

import re
from typing import Any

import pytest

from remit.catalog import Catalog, Domain, Event, Job, delivery_line, line
from remit.errors import CatalogError, DuplicateName, MissingHandler, UnknownJob
from remit.outbox.rows import subscription_row
from remit.testing import Fake


class Shop:
    """A domain with a job and an event in two versions, and a domain that listens."""

    def __init__(self) -> None:
        class Billing(Domain, handlers=__name__): ...

        class Catalogue(Domain, handlers=__name__): ...

        class Sync(Job[Billing], version=2, aliases=("billing.push",)):
            number: int

        class SyncV1(Job[Billing], name="billing.sync", version=1):
            n: int = 0

        class InvoicePaid(Event[Billing], version=2, aliases=("billing.paid",)):
            currency: str

        class PaidV1(Event[Billing], name="billing.paid"):
            money: str = "EUR"

        self.billing, self.catalogue = Billing(), Catalogue()
        self.new, self.old, self.paid, self.paid_before = Sync, SyncV1, InvoicePaid, PaidV1
        self.catalog = Catalog([self.billing, self.catalogue])

    def hears(self, event: Any, function: Any, **options: Any) -> None:
        self.catalogue.on(event, name="unlock", **options)(function)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def first(message: Any, run: Any) -> None: ...


def second(message: Any, run: Any) -> None: ...


def test_a_name_alone_means_its_newest_version(shop: Shop) -> None:
    by_name = shop.catalog.by_name
    assert by_name("billing.sync") is by_name("billing.push") is shop.new.__remit__
    assert by_name("billing.sync", 1) is shop.old.__remit__
    assert by_name("billing.sync", 2) is by_name("billing.push", 2) is shop.new.__remit__
    with pytest.raises(UnknownJob, match=r"^The job 'billing\.sync' has no version 3; there are 1 and 2\.$"):
        by_name("billing.sync", 3)
    with pytest.raises(UnknownJob, match=r"^The job 'billing\.push' has no version 1; there is 2\.$"):
        by_name("billing.push", 1)


def test_a_job_is_sent_by_name_in_its_newest_version_unless_one_is_given(shop: Shop) -> None:
    fake = Fake(shop.billing)
    fake.sync.enqueue_named("sync", {"number": 1})
    fake.sync.enqueue_named("sync", {"n": 2}, version=1)
    with pytest.raises(UnknownJob, match="has no version 7"):
        fake.sync.enqueue_named("sync", {"n": 2}, version=7)
    assert [(each.name, each.version) for each in fake.jobs] == [("billing.sync", 2), ("billing.sync", 1)]
    assert list(fake.enqueued(shop.new)) == [shop.new(number=1)]
    assert list(fake.enqueued(shop.old)) == [shop.old(n=2)]


def test_each_version_has_its_own_handler_and_lines(shop: Shop) -> None:
    shop.billing.handles(shop.new)(second)
    shop.billing.handles(shop.old)(first)
    shop.catalog.check_handlers()
    queue = "billing.default"
    lines = {(each.name, each.version): each for each in shop.catalog.lines.values()}
    handlers = {key: each.handler.function for key, each in lines.items() if "publish-later" not in key[0]}
    assert handlers == {("billing.sync", 1): first, ("billing.sync", 2): second, ("billing.push", 2): second}
    assert lines["billing.sync", 1].number == line(queue, "billing.sync", 1)


def test_a_version_without_a_handler_is_named(shop: Shop) -> None:
    shop.billing.handles(shop.new)(second)
    with pytest.raises(MissingHandler, match=r"^No handler for billing\.sync v1\. "):
        shop.catalog.check_handlers()


def test_a_name_belongs_to_one_domain_in_all_its_versions(shop: Shop) -> None:
    class Other(Domain): ...

    class Sync(Job[Other], name="billing.sync", version=3): ...

    assert Sync.__remit__.version == 3
    with pytest.raises(DuplicateName, match="and a name belongs to one domain in all its versions; give one of them"):
        Catalog([shop.billing, Other()])


def test_a_subscription_has_a_handler_for_each_version_of_its_event(shop: Shop) -> None:
    shop.hears(shop.paid_before, first, where={"money": "EUR"})
    shop.hears(shop.paid, second, where={"currency": ["EUR", "USD"]})
    shop.billing.handles(shop.new)(second)
    shop.billing.handles(shop.old)(first)
    shop.catalog.check_subscriptions()
    shop.catalog.check_handlers()
    number = delivery_line("catalogue.default", "catalogue.unlock")
    lines = shop.catalog.lines
    assert [lines[number | version].handler.function for version in (1, 2)] == [first, second]

    versions = shop.catalog.subscriptions
    row = subscription_row(versions, shop.catalog.policy(versions[0]))
    assert row["events"] == '["billing.invoice-paid","billing.paid"]'
    assert row["condition"] == '{"2":{"currency":["\\"EUR\\"","\\"USD\\""]},"1":{"money":["\\"EUR\\"",""]}}'
    again = subscription_row(versions[::-1], shop.catalog.policy(versions[0]))
    assert again == {**row, "id": again["id"]}, "in whatever order they are declared"


def test_a_version_that_a_subscription_cannot_handle_is_named_before_it_waits(shop: Shop) -> None:
    shop.hears(shop.paid, second)
    with pytest.raises(MissingHandler) as refused:
        shop.catalog.check_handlers()
    assert str(refused.value) == (
        f"The subscription catalogue.unlock has a handler for version 2 of billing.invoice-paid, at {__file__}:"
        f"{second.__code__.co_firstlineno}, and none for version 1, whose deliveries would wait. Add one under the "
        'same name, `@<domain>.on(Shop.__init__.<locals>.PaidV1, name="unlock")`, or remove the class '
        f"{__name__}:Shop.__init__.<locals>.PaidV1."
    )


@pytest.mark.parametrize("options", [{"queue": True}, {"timeout": 5}, {"aliases": ("open",)}, {"stale_after": 9}])
def test_the_options_of_a_subscription_are_the_same_for_all_versions(shop: Shop, options: dict[str, Any]) -> None:
    if "queue" in options:
        options = {"queue": shop.catalogue.queue("slow")}
    shop.hears(shop.paid_before, first)
    with pytest.raises(CatalogError) as refused:
        shop.hears(shop.paid, second, **options)
    assert re.search(r"for versions 1 and 2 of billing\.invoice-paid, with another ", str(refused.value))
    assert next(iter(options)) + "=" in str(refused.value)
    assert "use the same value in both" in str(refused.value)


def test_another_event_is_no_version_of_the_first(shop: Shop) -> None:
    class Refunded(Event[type(shop.billing)], version=2): ...  # type: ignore[misc]

    shop.hears(shop.paid_before, first)
    with pytest.raises(DuplicateName, match="One name is for the handlers of several versions of one event"):
        shop.hears(Refunded, second)
    with pytest.raises(DuplicateName, match="give one of them another name="):
        shop.hears(shop.paid_before, second)
