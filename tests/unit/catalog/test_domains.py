"""A domain declares, registers and sends, and only what is its own."""

from __future__ import annotations

import math
import sys
import types
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from remit.catalog import (
    Binding,
    Catalog,
    Defaults,
    Domain,
    EnqueueOptions,
    EnqueueRequest,
    Job,
    JobRef,
    Keep,
    Retry,
    Run,
    Scheduler,
    check_owner,
    fixed,
    running_domain,
)
from remit.errors import (
    CatalogError,
    DuplicateHandler,
    HandlerShape,
    InvalidArgument,
    NotAMessage,
    OwnershipError,
    PayloadError,
    UnboundDomain,
    UnknownJob,
    UnknownOption,
)


class Door:
    """A sender that keeps what it was given."""

    in_use = True

    def __init__(self) -> None:
        self.sent: list[tuple[EnqueueRequest, object | None]] = []
        self.refusals: list[tuple[str, str, str]] = []

    async def send(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        return self.send_blocking(requests, tx=tx)

    def send_blocking(self, requests: Sequence[EnqueueRequest], *, tx: object | None) -> list[JobRef]:
        self.sent += [(request, tx) for request in requests]
        return [JobRef(str(number)) for number in range(len(requests))]

    def refused(self, domain: str, message: str, kind: str) -> None:
        self.refusals.append((domain, message, kind))

    def __getattr__(self, name: str) -> Any:
        """Stand for the verbs that no test here uses."""
        raise AssertionError(name)


class Shop:
    """Two bound domains with a job each, declared anew for each test."""

    def __init__(self) -> None:
        class Billing(Domain[str]): ...

        class Catalogue(Domain): ...

        class SyncInvoice(Job[Billing], aliases=("old.push-invoice",)):
            invoice_id: str

        class RebuildIndex(Job[Catalogue], name="index.rebuild"):
            shards: int = 1

        self.Billing, self.Catalogue = Billing, Catalogue
        self.SyncInvoice, self.RebuildIndex = SyncInvoice, RebuildIndex
        self.billing: Any = Billing()
        self.catalogue: Any = Catalogue()
        self.door: Any = Door()
        self.catalog = Catalog([self.billing, self.catalogue], Defaults(priority=4))
        self.binding = Binding("Remit('sqlite://')", self.door, self.catalog)

    def open(self) -> Shop:
        for domain in self.catalog.domains:
            domain.rebind(self.binding)
        return self


@pytest.fixture
def shop() -> Shop:
    return Shop().open()


def test_a_domain_is_named_after_its_class() -> None:
    class AccountsPayable(Domain): ...

    domain = AccountsPayable()
    assert domain.name == "accounts-payable"
    assert repr(domain) == "<Domain accounts-payable>"


def test_class_keywords_override() -> None:
    class Billing(
        Domain,
        name="invoicing",
        package="shop.billing",
        handlers="shop.billing.workers",
        retry=Retry(attempts=2),
        timeout=3,
        priority=1,
        keep=Keep(count=3),
        expires=4,
        max_payload=5,
    ): ...

    spec = Billing.__remit__
    assert (spec.name, spec.package, spec.handlers_module) == ("invoicing", "shop.billing", "shop.billing.workers")
    assert spec.defaults == Defaults(
        retry=Retry(attempts=2), timeout=3, priority=1, keep=Keep(count=3), expires=4, max_payload=5
    )


def test_a_misspelled_keyword_is_named_with_the_nearest() -> None:
    with pytest.raises(
        UnknownOption, match=r"has an unknown option 'nmae'\. Did you mean 'name'\? The options are name"
    ):

        class Billing(Domain, nmae="x"): ...  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options, error, reason",
    [
        ({"name": 5}, CatalogError, "The name of the domain Bad, 5 is not text; write a name, in quotes."),
        ({"package": 5}, CatalogError, "The package= of Bad, 5 is not text; write a name, in quotes."),
        ({"handlers": math}, CatalogError, "The handlers= of Bad, <module 'math'"),
        ({"retry": 5}, InvalidArgument, "retry must be Retry(…), not 5."),
        ({"keep": 5}, InvalidArgument, "keep must be Keep(…), not 5."),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], error: type[Exception], reason: str) -> None:
    with pytest.raises(error) as refused:
        types.new_class("Bad", (Domain,), options)
    assert str(refused.value).startswith(reason)


def test_a_name_that_is_no_name_is_refused() -> None:
    with pytest.raises(CatalogError, match=r"^The name of the domain .*Billing, 'Bill.ing' is not lower-kebab-case"):

        class Billing(Domain, name="Bill.ing"): ...


@pytest.mark.parametrize(
    "module, is_package, package, handlers",
    [
        ("shop.billing.messages", False, "shop.billing", "shop.billing.handlers"),
        ("shop.billing", True, "shop.billing", "shop.billing.handlers"),
        ("shop.billing", False, "shop", "shop.handlers"),
        ("jobs", False, "jobs", "jobs"),
        ("jobs", True, "jobs", "jobs.handlers"),
        ("__main__", False, "__main__", "__main__"),
    ],
)
def test_the_package_is_that_of_the_defining_module(
    module: str, is_package: bool, package: str, handlers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = types.ModuleType(module)
    if is_package:
        made.__path__ = []
    monkeypatch.setitem(sys.modules, module, made)
    domain = types.new_class("Billing", (Domain,), {}, lambda body: body.update(__module__=module))
    spec = domain.__remit__  # type: ignore[attr-defined]
    assert (spec.package, spec.handlers_module) == (package, handlers)


def test_a_stated_package_need_not_be_imported_yet() -> None:
    class Billing(Domain, package="elsewhere"): ...

    assert Billing.__remit__.handlers_module == "elsewhere.handlers"


def test_a_domain_has_one_instance() -> None:
    class Billing(Domain): ...

    Billing()
    with pytest.raises(
        CatalogError, match=r"Billing\(\) was already created; a domain has one instance, so import that"
    ):
        Billing()


def test_domain_itself_is_no_domain() -> None:
    with pytest.raises(CatalogError, match="subclass it, and make an instance of the subclass"):
        Domain()


def test_a_handler_is_registered_and_returned_as_it_is(shop: Shop) -> None:
    async def sync(job: Any, run: Run[Any]) -> None: ...

    assert shop.billing.handles(shop.SyncInvoice)(sync) is sync
    handler = shop.Billing.__remit__.handlers[shop.SyncInvoice.__remit__]
    assert (handler.function, handler.mode) == (sync, "async")


def test_a_second_handler_is_refused_with_both_places(shop: Shop) -> None:
    @shop.billing.handles(shop.SyncInvoice)
    def first(job: Any, run: Any) -> None: ...

    def second(job: Any, run: Any) -> None: ...

    with pytest.raises(DuplicateHandler) as refused:
        shop.billing.handles(shop.SyncInvoice)(second)
    assert str(refused.value) == (
        f"billing.sync-invoice is handled at {__file__}:{first.__code__.co_firstlineno} and again at "
        f"{__file__}:{second.__code__.co_firstlineno}; a job has one handler, so remove one of them."
    )


def test_another_domains_job_cannot_be_handled(shop: Shop) -> None:
    with pytest.raises(OwnershipError) as refused:
        shop.billing.handles(shop.RebuildIndex)
    assert str(refused.value) == (
        "billing cannot handle index.rebuild: only its owner may. Let that domain publish an event, and subscribe to "
        "it."
    )


@pytest.mark.parametrize("job", [int, "sync-invoice", Job, None])
def test_only_a_job_class_can_be_handled(shop: Shop, job: Any) -> None:
    with pytest.raises(CatalogError, match=r"^handles takes a job class that is not abstract, not "):
        shop.billing.handles(job)


def test_the_shape_of_a_handler_is_checked(shop: Shop) -> None:
    with pytest.raises(
        HandlerShape, match=r"a handler is `async def handler\(job: .*SyncInvoice, run: Run\[.*Billing\]"
    ):

        @shop.billing.handles(shop.SyncInvoice)
        def lonely(job: Any) -> None: ...


async def test_a_context_is_registered_once(shop: Shop) -> None:
    async def services() -> AsyncIterator[str]:
        yield "services"

    assert shop.billing.context(services) is services
    factory = shop.Billing.__remit__.context
    assert factory is not None
    async with factory.open() as opened:  # type: ignore[union-attr]
        assert opened == "services"
    with pytest.raises(
        CatalogError, match=r"^billing has a context at .* and again at .*; a domain has one, so yield "
    ):
        shop.billing.context(services)


async def test_enqueue_passes_a_checked_request_and_the_transaction(shop: Shop) -> None:
    tx = object()
    ref = await shop.billing.enqueue(shop.SyncInvoice(invoice_id="1"), tx=tx, delay=3, backoff=fixed(1))
    [(request, given)] = shop.door.sent
    assert ref == JobRef("0", duplicate=False)
    assert given is tx
    assert request.spec is shop.SyncInvoice.__remit__
    assert (request.payload, request.delay, request.priority) == ('{"invoice_id":"1"}', 3.0, 4)


async def test_one_message_is_not_several(shop: Shop) -> None:
    message = shop.SyncInvoice(invoice_id="1")
    for wrong in (message, shop.SyncInvoice, None):
        for verb in ("enqueue", "publish"):
            with pytest.raises(InvalidArgument) as refused:
                await getattr(shop.billing, f"{verb}_many")(wrong)
            assert str(refused.value) == (
                f"{verb}_many takes several messages, as in {verb}_many([…]), not {wrong!r}; for one there is {verb}."
            )
    assert shop.door.sent == []


def test_the_blocking_face_does_the_same(shop: Shop) -> None:
    message = shop.SyncInvoice(invoice_id="1")
    assert shop.billing.sync.enqueue(message, tx="tx", label="a") == JobRef("0")
    assert shop.billing.sync.enqueue_many([message, message], tx="tx", label="a") == [JobRef("0"), JobRef("1")]
    assert shop.billing.sync.enqueue_named("sync-invoice", {"invoice_id": "1"}, tx="tx", label="a") == JobRef("0")
    assert len(shop.door.sent) == 4
    assert len({(request.payload, request.label, tx) for request, tx in shop.door.sent}) == 1


async def test_many_are_sent_at_once_or_not_at_all(shop: Shop) -> None:
    jobs = (shop.SyncInvoice(invoice_id=number) for number in ("1", "2", 3))
    with pytest.raises(PayloadError):
        await shop.billing.enqueue_many(jobs)
    assert shop.door.sent == []
    assert await shop.billing.enqueue_many([]) == []
    assert shop.billing.sync.enqueue_many([]) == []


async def test_an_id_belongs_to_one_job(shop: Shop) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await shop.billing.enqueue_many([], id="0190c0de-0000-7000-8000-000000000000")
    assert str(refused.value) == "id belongs to one job; enqueue the jobs one by one, or leave it out."


@pytest.mark.parametrize("name", ["sync-invoice", "billing.sync-invoice", "old.push-invoice"])
async def test_a_job_is_sent_by_any_of_its_names(shop: Shop, name: str) -> None:
    await shop.billing.enqueue_named(name, {"invoice_id": "1"}, priority=1)
    [(request, _)] = shop.door.sent
    assert (request.spec.name, request.payload, request.priority) == ("billing.sync-invoice", '{"invoice_id":"1"}', 1)


@pytest.mark.parametrize(
    "name, payload, error, reason",
    [
        ("sync-invoices", {}, UnknownJob, "has a job 'billing.sync-invoices'. Did you mean 'billing.sync-invoice'?"),
        ("other.thing", {}, UnknownJob, "No domain of this application has a job 'other.thing'."),
        ("index.rebuild", {}, OwnershipError, "billing cannot enqueue index.rebuild: only catalogue may."),
        ("sync-invoice", {"invioce_id": "1"}, PayloadError, "has no field 'invioce_id'. Did you mean 'invoice_id'?"),
        ("sync-invoice", {}, PayloadError, "Object missing required field `invoice_id`"),
        ("sync-invoice", {"invoice_id": 3}, PayloadError, "field `invoice_id`: Expected `str`, got `int`"),
        ("sync-invoice", None, InvalidArgument, "enqueue_named takes a name and a mapping of field values."),
        (None, {}, InvalidArgument, "enqueue_named takes a name and a mapping of field values."),
    ],
)
async def test_by_name_the_catalog_checks_what_types_cannot(
    shop: Shop, name: Any, payload: Any, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error) as refused:
        await shop.billing.enqueue_named(name, payload)
    assert reason in str(refused.value)
    assert shop.door.sent == []


async def test_another_domains_job_cannot_be_sent(shop: Shop) -> None:
    told = (
        "billing cannot enqueue index.rebuild: only catalogue may. Let billing publish an event and let catalogue "
        "subscribe to it, or call an API of catalogue."
    )
    for send in (shop.billing.enqueue, shop.billing.sync.enqueue):
        with pytest.raises(OwnershipError) as refused:
            await send(shop.RebuildIndex())
        assert str(refused.value) == told
    with pytest.raises(OwnershipError):
        await shop.billing.enqueue_many([shop.SyncInvoice(invoice_id="1"), shop.RebuildIndex()])
    assert shop.door.sent == []


async def test_what_is_no_message_cannot_be_sent(shop: Shop) -> None:
    with pytest.raises(NotAMessage):
        await shop.billing.enqueue({"invoice_id": "1"})


async def test_a_handler_cannot_reach_through_another_domain(shop: Shop) -> None:
    message = shop.SyncInvoice(invoice_id="1")
    token = running_domain.set(shop.catalogue)
    try:
        with pytest.raises(OwnershipError) as refused:
            await shop.billing.enqueue(message)
        with pytest.raises(OwnershipError):
            await shop.billing.enqueue_named("sync-invoice", {"invoice_id": "1"})
    finally:
        running_domain.reset(token)
    assert str(refused.value) == (
        "A handler of catalogue cannot enqueue billing.sync-invoice, not even through billing. Let catalogue publish "
        "an event and let billing subscribe to it, or call an API of billing."
    )
    assert shop.door.sent == []


async def test_a_handler_sends_its_own_domains_jobs(shop: Shop) -> None:
    token = running_domain.set(shop.billing)
    try:
        await shop.billing.enqueue(shop.SyncInvoice(invoice_id="1"))
        check_owner(shop.Billing.__remit__, shop.SyncInvoice.__remit__)
    finally:
        running_domain.reset(token)
    assert len(shop.door.sent) == 1


async def test_an_unbound_domain_says_what_to_do() -> None:
    shop = Shop()
    for send in (shop.billing.enqueue, shop.billing.sync.enqueue):
        with pytest.raises(UnboundDomain) as refused:
            await send(shop.SyncInvoice(invoice_id="1"))
        assert str(refused.value) == (
            "billing cannot send yet: it is not bound to an application. Create one with Remit(url, domains=[billing]) "
            "first."
        )


async def test_another_application_takes_over_and_gives_back(shop: Shop) -> None:
    other = Binding("Remit('postgresql://')", Door(), shop.catalog)
    assert shop.billing.rebind(other) is shop.binding
    assert shop.billing.binding is other
    await shop.billing.enqueue(shop.SyncInvoice(invoice_id="1"))
    assert shop.door.sent == []
    assert shop.billing.rebind(None) is other
    with pytest.raises(UnboundDomain):
        await shop.billing.enqueue(shop.SyncInvoice(invoice_id="1"))


async def test_a_use_case_depends_on_the_port(shop: Shop) -> None:
    class Fake:
        sent: list[Any] = []  # noqa: RUF012

        async def enqueue(self, job: Any, *, tx: object | None = None, **options: Any) -> JobRef:
            self.sent.append((job, options))
            return JobRef("fake")

        async def enqueue_many(self, jobs: Any, *, tx: object | None = None, **options: Any) -> list[JobRef]:
            return [await self.enqueue(job, **options) for job in jobs]

    async def use_case(scheduler: Scheduler[Any]) -> str:
        options = EnqueueOptions(delay=3)
        return (await scheduler.enqueue(shop.SyncInvoice(invoice_id="1"), **options)).id

    assert await use_case(Fake()) == "fake"
    assert await use_case(shop.billing) == "0"
    assert Fake.sent == [(shop.SyncInvoice(invoice_id="1"), {"delay": 3})]
