"""A job class: a plain value whose declaration is checked at import."""

from __future__ import annotations

import copy
import pickle
import types
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any, Generic, TypeVar

import pytest

from remit.catalog import Defaults, Domain, Job, JobSpec, Keep, Message, Retry, exponential
from remit.catalog.specs import D
from remit.errors import CatalogError, DuplicateName, InvalidArgument, OwnershipError, UnknownOption

Own = TypeVar("Own", bound=Domain[Any])


class Billing(Domain): ...


class Catalog(Domain): ...


billing, catalog = Billing(), Catalog()
invoices, images = billing.queue("invoices"), catalog.queue("images")


class SyncInvoice(Job[Billing], queue=invoices, version=2, aliases=("billing.push-invoice",), timeout=30):
    invoice_id: str
    tags: list[str] = field(default_factory=list)


def spec_of(message: type[Message[Any]]) -> JobSpec:
    return message.__remit__


def test_a_message_is_a_frozen_value_built_by_keyword() -> None:
    one = SyncInvoice(invoice_id="1")
    assert one == SyncInvoice(invoice_id="1", tags=[])
    assert repr(one) == "SyncInvoice(invoice_id='1', tags=[])"
    with pytest.raises(FrozenInstanceError):
        one.invoice_id = "2"  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        SyncInvoice("1")  # type: ignore[call-arg,misc]
    with pytest.raises(TypeError, match="invioce_id"):
        SyncInvoice(invioce_id="1")  # type: ignore[call-arg]


def test_a_message_can_be_replaced_copied_and_pickled() -> None:
    one = SyncInvoice(invoice_id="1")
    assert replace(one, invoice_id="2") == SyncInvoice(invoice_id="2")
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one


def test_one_attribute_is_reserved() -> None:
    public = {name for name in dir(SyncInvoice(invoice_id="1")) if not name.startswith("_")}
    assert public == {"invoice_id", "tags"}
    assert isinstance(spec_of(SyncInvoice), JobSpec)


def test_the_spec_holds_the_declaration() -> None:
    spec = spec_of(SyncInvoice)
    assert spec.message is SyncInvoice
    assert spec.domain is Billing
    assert (spec.name, spec.version, spec.aliases) == ("billing.sync-invoice", 2, ("billing.push-invoice",))
    assert spec.queue is invoices
    assert spec.defaults == Defaults(timeout=30)
    assert spec.codec.load('{"invoice_id": "1"}') == SyncInvoice(invoice_id="1")
    assert repr(spec) == "<Job billing.sync-invoice v2>"
    assert spec.path == f"{__name__}:SyncInvoice"


def test_all_options_arrive() -> None:
    class Loaded(
        Job[Billing],
        name="invoice.loaded",
        retry=Retry(attempts=5, backoff=exponential(1)),
        priority=-3,
        keep=Keep(age=60),
        expires=10,
        max_payload=100,
    ):
        n: int

    assert spec_of(Loaded).name == "invoice.loaded"
    assert spec_of(Loaded).defaults == Defaults(
        retry=Retry(attempts=5, backoff=exponential(1)), priority=-3, keep=Keep(age=60), expires=10, max_payload=100
    )


def test_a_job_without_a_queue_goes_to_the_default_of_its_domain() -> None:
    class Here(Domain): ...

    class Plain(Job[Here]):
        n: int

    assert spec_of(Plain).queue.name == "here.default"
    assert spec_of(Plain).queue is spec_of(Plain).queue
    declared = Here().queue("default", concurrency=3)
    assert spec_of(Plain).queue is declared


def test_a_message_without_fields_is_fine() -> None:
    class Tick(Job[Billing]):
        """Carries nothing."""

    assert spec_of(Tick).codec.dump(Tick()) == "{}"


class TenantJob(Job[D], abstract=True):
    organization_id: str
    note: str = ""


class ProjectJob(TenantJob[Own], abstract=True):
    project_id: str


class BillingJob(Job[Billing], abstract=True):
    currency: str = "EUR"


def test_the_owner_is_found_through_abstract_messages() -> None:
    class Close(ProjectJob[Catalog]):
        month: int

    class Remind(BillingJob):
        invoice_id: str

    assert spec_of(Close).domain is Catalog
    assert spec_of(Remind).domain is Billing
    assert [each.name for each in fields(Close)] == ["organization_id", "note", "project_id", "month"]
    assert Close(month=1, organization_id="o", project_id="p").note == ""


def test_the_owner_is_found_beside_other_parameters() -> None:
    T = TypeVar("T")

    class Boxed(Job[Own], Generic[T, Own], abstract=True):
        it: T

    class Box(Boxed[int, Catalog]): ...

    assert spec_of(Box).domain is Catalog


def test_an_abstract_message_has_no_spec() -> None:
    assert not hasattr(TenantJob, "__remit__")
    assert not hasattr(BillingJob, "__remit__")


def test_a_message_is_final() -> None:
    with pytest.raises(CatalogError) as refused:

        class Again(SyncInvoice):
            more: int = 0

    assert str(refused.value) == (
        "test_a_message_is_final.<locals>.Again inherits from SyncInvoice, which is a message itself; put their "
        "common fields into a class with abstract=True."
    )


def test_a_plain_mixin_is_refused() -> None:
    class Audited:
        by: str

    with pytest.raises(CatalogError, match=r"mixes in .*Audited, whose fields would be lost; make it an abstract mess"):

        class Close(Job[Billing], Audited):
            month: int


@pytest.mark.parametrize("owner", [int, "Billing", Domain, D])
def test_the_owner_must_be_a_domain_that_exists(owner: Any) -> None:
    with pytest.raises(CatalogError, match=r"does not declare its owner; inherit from Job\[YourDomain\]"):

        class Lost(Job[owner]):  # type: ignore[valid-type]
            n: int


def test_an_owner_must_be_said() -> None:
    with pytest.raises(CatalogError, match="does not declare its owner"):

        class Lost(Job):  # type: ignore[type-arg]
            n: int


def test_a_misspelled_option_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownOption) as refused:

        class Late(Job[Billing], timeuot=3):  # type: ignore[arg-type]
            n: int

    assert str(refused.value) == (
        f"{__name__}:test_a_misspelled_option_is_named_with_the_nearest.<locals>.Late has an unknown option "
        "'timeuot'. Did you mean 'timeout'? The options are name, version, aliases, queue, retry, timeout, priority, "
        "keep, expires, max_payload, unscoped, abstract."
    )


@pytest.mark.parametrize(
    "options, error, reason",
    [
        ({"name": "paid"}, CatalogError, "The name= of Bad, 'paid' is not a full name; write it with its domain"),
        ({"name": 5}, CatalogError, "The name= of Bad, 5 is not text; write a name, in quotes."),
        ({"aliases": (5,)}, CatalogError, "An alias of Bad, 5 is not text; write a name, in quotes."),
        ({"retry": 5}, InvalidArgument, "retry must be Retry(…), not 5."),
        ({"keep": 5}, InvalidArgument, "keep must be Keep(…), not 5."),
        ({"abstract": "no"}, InvalidArgument, "abstract must be True or False, not 'no'."),
        ({"name": "a.B"}, CatalogError, "The name= of Bad, 'a.B' is not of the form domain.lower-kebab-case"),
        ({"aliases": "a.b"}, CatalogError, "The aliases= of Bad must be a tuple of full names, not 'a.b'."),
        ({"aliases": ("b",)}, CatalogError, "An alias of Bad, 'b' is not a full name"),
        ({"version": 0}, InvalidArgument, "version must be a whole number from 1 to 32,767, not 0."),
        ({"queue": "invoices"}, CatalogError, "The queue= of Bad must be what billing.queue(…) returned, not 'invoi"),
        (
            {"queue": images},
            OwnershipError,
            "Bad belongs to billing, and catalog.images to another domain; declare a queue with billing.queue(…).",
        ),
        ({"keep": Keep(count=3)}, CatalogError, "Bad has Keep(count=…), which counts a whole queue; set it on the q"),
        ({"unscoped": True}, CatalogError, "The unscoped= of Bad must be a reason, as text, not True."),
        ({"timeout": -1}, InvalidArgument, "timeout must be over 0 seconds"),
        ({"priority": "high"}, InvalidArgument, "priority must be a whole number"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], error: type[Exception], reason: str) -> None:
    with pytest.raises(error) as refused:
        types.new_class("Bad", (Job[Billing],), options)
    assert str(refused.value).startswith(reason)


def test_two_classes_cannot_have_one_name() -> None:
    with pytest.raises(DuplicateName) as refused:

        class Other(Job[Billing], version=2, aliases=("billing.sync-invoice",)):
            n: int

    assert str(refused.value) == (
        f"{__name__}:test_two_classes_cannot_have_one_name.<locals>.Other and {__name__}:SyncInvoice are both named "
        "'billing.sync-invoice', in version 2; give one of them another name=, or another version= if it is a "
        "changed form of the other."
    )


def test_a_class_whose_name_is_no_name_asks_for_one() -> None:
    with pytest.raises(CatalogError, match=r"The name derived from .*Größe, 'größe' is not lower-kebab-case in ASCII"):

        class Größe(Job[Billing]):  # noqa: PLC2401
            n: int


def test_the_attribute_of_remit_is_no_field() -> None:
    with pytest.raises(CatalogError, match=r"Bad has a field `__remit__`, which is remit's own; give it another name"):

        class Bad(Job[Billing]):
            __remit__: str  # type: ignore[misc, assignment]

    with pytest.raises(CatalogError, match=r"Worse has a field `__remit__`, which is remit's own"):
        types.new_class("Worse", (Job[Billing],), {"abstract": True}, lambda body: body.update(__remit__=5))


def test_an_init_of_its_own_is_refused() -> None:
    with pytest.raises(CatalogError, match="has an __init__, which stored payloads bypass; use __post_init__"):

        class Clever(Job[Billing]):
            n: int

            def __init__(self) -> None: ...


def test_a_refused_class_is_not_in_the_catalog() -> None:
    class Here(Domain): ...

    class Entity: ...

    with pytest.raises(CatalogError):

        class Bad(Job[Here]):
            it: Any

    assert Here.__remit__.jobs == {}


def test_a_forward_reference_is_resolved_when_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    class Early(Job[Billing]):
        it: list[DefinedLater]  # type: ignore[name-defined]

    with pytest.raises(CatalogError) as refused:
        spec_of(Early).resolve()
    assert str(refused.value) == (
        "A field of test_a_forward_reference_is_resolved_when_it_can_be.<locals>.Early names 'DefinedLater', which "
        f"cannot be found in {__name__}; define it at the top level of the module, or import it there outside "
        "`if TYPE_CHECKING`."
    )

    @dataclass
    class DefinedLater:
        n: int

    monkeypatch.setitem(globals(), "DefinedLater", DefinedLater)
    spec_of(Early).resolve()
    early = Early(it=[DefinedLater(3)])
    assert spec_of(Early).codec.load(spec_of(Early).codec.dump(early)) == early


def test_a_late_field_is_checked_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Early(Job[Billing], name="billing.early-entity"):
        it: EntityLater  # type: ignore[name-defined]  # noqa: F821

    monkeypatch.setitem(globals(), "EntityLater", object)
    with pytest.raises(CatalogError, match="has the type `object`, which JSON cannot carry"):
        spec_of(Early).resolve()
