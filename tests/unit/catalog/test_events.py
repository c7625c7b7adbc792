"""An event class: a fact whose declaration is checked at import."""

from __future__ import annotations

import math
import types
from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from typing import Any

import pytest

from remit.catalog import Defaults, Domain, Event, EventSpec, Job, JobDied, Message
from remit.catalog.policies import FOREVER
from remit.catalog.specs import D
from remit.errors import CatalogError, DuplicateName, InvalidArgument, UnknownOption


class Billing(Domain): ...


class InvoicePaid(Event[Billing], version=2, aliases=("billing.invoice-settled",), ordered_by="invoice_id"):
    invoice_id: str
    amount: int = 0


def spec_of(event: type[Message[Any]]) -> EventSpec:
    spec = event.__remit__
    assert isinstance(spec, EventSpec)
    return spec


def test_an_event_is_a_frozen_value_built_by_keyword() -> None:
    paid = InvoicePaid(invoice_id="1")
    assert paid == InvoicePaid(invoice_id="1", amount=0)
    with pytest.raises(FrozenInstanceError):
        paid.amount = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        InvoicePaid("1")  # type: ignore[call-arg,misc]


def test_the_spec_holds_the_declaration() -> None:
    spec = spec_of(InvoicePaid)
    assert (spec.message, spec.domain) == (InvoicePaid, Billing)
    assert (spec.name, spec.version, spec.aliases) == ("billing.invoice-paid", 2, ("billing.invoice-settled",))
    assert spec.names == ("billing.invoice-paid", "billing.invoice-settled")
    assert spec.ordered_by == "invoice_id"
    assert spec.codec.load('{"invoice_id": "1"}') == InvoicePaid(invoice_id="1")
    assert spec.path == f"{__name__}:InvoicePaid"
    assert repr(spec) == "<Event billing.invoice-paid v2>"


def test_an_event_that_says_nothing_has_no_order_no_exception_and_no_rule_of_its_own() -> None:
    class Plain(Event[Billing]):
        n: int

    spec = spec_of(Plain)
    assert (spec.version, spec.aliases, spec.unscoped, spec.ordered_by) == (1, (), None, None)
    assert (spec.audit_only, spec.fact, spec.keep, spec.max_payload) == (False, False, None, None)


def test_all_options_arrive() -> None:
    class StockLow(
        Event[Billing],
        name="stock.low",
        fact=True,
        audit_only=True,
        unscoped="a shelf belongs to nobody",
        keep=timedelta(days=2),
        max_payload=100,
    ):
        n: int

    spec = spec_of(StockLow)
    assert (spec.name, spec.fact, spec.audit_only) == ("stock.low", True, True)
    assert (spec.unscoped, spec.keep, spec.max_payload) == ("a shelf belongs to nobody", 172_800.0, 100)


@pytest.mark.parametrize("keep, seconds", [(0, 0.0), (60, 60.0), (math.inf, FOREVER), (None, None)])
def test_an_event_is_kept_for_seconds_or_for_ever(keep: float | None, seconds: float | None) -> None:
    class Here(Domain): ...

    kept = types.new_class("Kept", (Event[Here],), {"keep": keep})
    assert spec_of(kept).keep == seconds


def test_jobs_and_events_of_a_domain_may_share_a_name() -> None:
    class Here(Domain): ...

    class Close(Job[Here], name="here.closing"): ...

    class Closing(Event[Here]): ...

    assert Here.__remit__.jobs == {"here.closing": Close.__remit__}
    assert Here.__remit__.events == {"here.closing": Closing.__remit__}


class TenantEvent(Event[D], abstract=True):
    organization_id: str


def test_the_owner_is_found_through_abstract_events() -> None:
    class Opened(TenantEvent[Billing]):
        invoice_id: str

    assert spec_of(Opened).domain is Billing
    assert [each.name for each in fields(Opened)] == ["organization_id", "invoice_id"]
    assert not hasattr(TenantEvent, "__remit__")


def test_an_event_may_be_ordered_by_an_inherited_field() -> None:
    class Moved(TenantEvent[Billing], ordered_by="organization_id"):
        n: int

    assert spec_of(Moved).ordered_by == "organization_id"


def test_an_event_is_final() -> None:
    with pytest.raises(
        CatalogError, match=r"Again inherits from InvoicePaid, which is a message itself; put their common"
    ):

        class Again(InvoicePaid): ...


def test_a_plain_mixin_is_refused_with_the_form_of_an_event() -> None:
    class Audited:
        by: str

    with pytest.raises(CatalogError, match=r"abstract message: `class .*Audited\(Event\[D\], abstract=True\)`\."):

        class Closed(Event[Billing], Audited): ...


def test_what_is_a_job_and_an_event_at_once_is_refused() -> None:
    class Here(Domain): ...

    with pytest.raises(CatalogError, match=r"Both is a job and an event; a message is one of them\.$"):

        class Both(Job[Here], Event[Here]): ...

    assert Here.__remit__.jobs == Here.__remit__.events == {}


@pytest.mark.parametrize("base", [Event, Event[int], Event[Domain], Event[D]])  # type: ignore[type-var]
def test_an_event_says_which_domain_owns_it(base: Any) -> None:
    with pytest.raises(CatalogError) as refused:
        types.new_class("Lost", (base,))
    assert str(refused.value) == (
        "Lost does not declare its owner; inherit from Event[YourDomain] with a class that is defined at run "
        "time, or add abstract=True."
    )


def test_a_misspelled_option_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownOption) as refused:

        class Paid(Event[Billing], orderd_by="n"):  # type: ignore[arg-type]
            n: int

    assert str(refused.value) == (
        f"{__name__}:test_a_misspelled_option_is_named_with_the_nearest.<locals>.Paid has an unknown option "
        "'orderd_by'. Did you mean 'ordered_by'? The options are name, version, aliases, ordered_by, audit_only, fact, "
        "unscoped, keep, max_payload, abstract."
    )


@pytest.mark.parametrize("option", ["queue", "retry", "timeout", "priority", "expires"])
def test_an_event_has_no_options_of_a_job(option: str) -> None:
    with pytest.raises(UnknownOption, match=f"^{types.__name__}:Bad has an unknown option '{option}'"):
        types.new_class("Bad", (Event[Billing],), {option: None})


@pytest.mark.parametrize(
    "options, error, reason",
    [
        ({"name": "paid"}, CatalogError, "The name= of Bad, 'paid' is not a full name; write it with its domain"),
        ({"abstract": "no"}, InvalidArgument, "abstract must be True or False, not 'no'."),
        ({"audit_only": "no"}, InvalidArgument, "audit_only must be True or False, not 'no'."),
        ({"fact": 1}, InvalidArgument, "fact must be True or False, not 1."),
        ({"name": "a.B"}, CatalogError, "The name= of Bad, 'a.B' is not of the form domain.lower-kebab-case"),
        ({"aliases": "a.b"}, CatalogError, "The aliases= of Bad must be a tuple of full names, not 'a.b'."),
        ({"aliases": ("b",)}, CatalogError, "An alias of Bad, 'b' is not a full name"),
        ({"version": 0}, InvalidArgument, "version must be a whole number from 1 to 32,767, not 0."),
        ({"version": 32_768}, InvalidArgument, "version must be a whole number from 1 to 32,767, not 32768."),
        ({"version": True}, InvalidArgument, "version must be a whole number from 1 to 32,767, not True."),
        ({"ordered_by": "n"}, CatalogError, "Bad has no field 'n' to be ordered_by."),
        ({"ordered_by": ("n",)}, CatalogError, "Bad has no field ('n',) to be ordered_by."),
        ({"unscoped": True}, CatalogError, "The unscoped= of Bad must be a reason, as text, not True."),
        ({"unscoped": ""}, CatalogError, "The unscoped= of Bad must be a reason, as text, not ''."),
        ({"unscoped": "  "}, CatalogError, "The unscoped= of Bad must be a reason, as text, not '  '."),
        ({"keep": -1}, InvalidArgument, "keep must be 0 seconds or more, or math.inf for no limit, not -1."),
        ({"keep": "1d"}, InvalidArgument, "keep must be a number of seconds or a timedelta, not '1d'."),
        ({"max_payload": 1}, InvalidArgument, "max_payload must be a whole number from 2 to 1,073,741,824, not 1."),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], error: type[Exception], reason: str) -> None:
    class Here(Domain): ...

    with pytest.raises(error) as refused:
        types.new_class("Bad", (Event[Here],), options)
    assert str(refused.value).startswith(reason)
    assert Here.__remit__.events == {}


def test_an_unknown_field_to_order_by_is_named_with_the_nearest() -> None:
    with pytest.raises(CatalogError, match=r"Paid has no field 'invioce_id' to be ordered_by\. Did you mean 'invoice_"):

        class Paid(Event[Billing], ordered_by="invioce_id"):
            invoice_id: str


def test_a_field_that_json_cannot_carry_is_refused() -> None:
    class Entity: ...

    with pytest.raises(CatalogError, match="which JSON cannot carry"):
        types.new_class("Bad", (Event[Billing],), {}, lambda body: body.update(__annotations__={"it": Entity}))


def test_two_events_cannot_have_one_name() -> None:
    with pytest.raises(DuplicateName) as refused:

        class Other(Event[Billing], version=2, aliases=("billing.invoice-settled",)): ...

    assert str(refused.value) == (
        f"{__name__}:test_two_events_cannot_have_one_name.<locals>.Other and {__name__}:InvoicePaid are both named "
        "'billing.invoice-settled', in version 2; give one of them another name=, or another version= if it is a "
        "changed form of the other."
    )


def test_the_limit_of_a_payload_is_the_event_s_then_the_domain_s_then_the_application_s() -> None:
    class Small(Domain, max_payload=20): ...

    class Own(Event[Small], max_payload=10): ...

    class Domains(Event[Small]): ...

    class Applications(Event[Billing]): ...

    application = Defaults(max_payload=30)
    assert [spec_of(each).limit(application) for each in (Own, Domains, Applications)] == [10, 20, 30]
    assert spec_of(Applications).limit(Defaults()) == 65_536


def test_remit_publishes_the_deaths_of_jobs_as_an_event_of_its_own() -> None:
    spec = spec_of(JobDied)
    assert (spec.name, spec.version, spec.audit_only) == ("remit.job-died", 1, True)
    assert spec.unscoped == "jobs of every tenant"
    assert {each.name for each in fields(JobDied)} == {
        "job", "name", "domain", "queue", "attempts", "failures", "reason", "event", "label", "payload",
    }  # fmt: skip
