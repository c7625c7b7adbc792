"""What declarations leave behind, as the layers above read it."""

from __future__ import annotations

from typing import Any

import pytest

from remit.catalog import Defaults, Domain, Job, Keep, Retry, fixed
from remit.errors import CatalogError, DuplicateName, InvalidArgument


class Billing(Domain, retry=Retry(attempts=7, backoff=fixed(7)), priority=7, timeout=7):
    """Invoices and payments."""


billing = Billing()
invoices = billing.queue("invoices", concurrency=3, retry=Retry(attempts=5), keep=Keep(count=5), timeout=5)


class Sync(Job[Billing], queue=invoices, timeout=1, aliases=("billing.push",)):
    n: int = 0


def test_the_policy_of_a_job_hears_job_queue_domain_and_application() -> None:
    policy = Sync.__remit__.policy(Defaults(timeout=99, priority=99, max_payload=99))
    assert policy.timeout == 1.0
    assert policy.attempts == 5
    assert policy.keep.count == 5
    assert policy.backoff == fixed(7)
    assert policy.priority == 7
    assert policy.max_payload == 99


def test_a_queue_is_named_after_its_domain() -> None:
    assert (invoices.name, invoices.domain, invoices.concurrency) == ("billing.invoices", Billing, 3)
    assert repr(invoices) == "<Queue billing.invoices>"


def test_a_queue_may_run_the_newest_first() -> None:
    assert not invoices.lifo
    assert billing.queue("stack", lifo=True).lifo


def test_a_queue_is_declared_once() -> None:
    with pytest.raises(DuplicateName) as refused:
        billing.queue("invoices")
    assert str(refused.value) == "billing already has a queue 'invoices'; declare it once and import it."


@pytest.mark.parametrize(
    "name, options, error, reason",
    [
        ("Slow Jobs", {}, CatalogError, "The queue's name 'Slow Jobs' is not lower-kebab-case in ASCII"),
        ("billing.slow", {}, CatalogError, "The queue's name 'billing.slow' is not lower-kebab-case in ASCII"),
        ("slow", {"concurrency": 0}, InvalidArgument, "concurrency must be a whole number from 1 to 10,000, not 0."),
        (5, {}, CatalogError, "The queue's name 5 is not text; write a name, in quotes."),
        ("slow", {"retry": 5}, InvalidArgument, "retry must be Retry(…), not 5."),
        ("slow", {"keep": 5}, InvalidArgument, "keep must be Keep(…), not 5."),
        ("slow", {"lifo": "no"}, InvalidArgument, "lifo must be True or False, not 'no'."),
        ("slow", {"timeout": 0}, InvalidArgument, "timeout must be over 0 seconds"),
    ],
)
def test_a_queue_that_cannot_be_is_refused(
    name: str, options: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error) as refused:
        billing.queue(name, **options)
    assert str(refused.value).startswith(reason)
    assert "slow" not in Billing.__remit__.queues


def test_a_domain_finds_its_jobs_by_every_name() -> None:
    spec = Sync.__remit__
    assert Billing.__remit__.jobs == {"billing.sync": spec, "billing.push": spec}
    assert spec.names == ("billing.sync", "billing.push")


def test_a_domain_is_found_from_its_class_by_another_process() -> None:
    assert Billing.__remit__.instance is billing
    assert Billing.__remit__.path == f"{__name__}:Billing"
