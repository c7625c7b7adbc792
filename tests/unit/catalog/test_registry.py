"""All domains of one application, checked together."""

from __future__ import annotations

import math
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest

from remit import Remit
from remit.catalog import Catalog, Defaults, Domain, Event, Job, JobDied, Keep, Outbox, Retry, delivery_line, line
from remit.catalog.policies import FOREVER
from remit.catalog.quantities import DAY
from remit.errors import CatalogError, DuplicateName, InvalidArgument, MissingHandler, PayloadError, UnknownJob


def one_domain(name: str = "billing", **options: Any) -> tuple[Any, Any]:
    class Billing(Domain, name=name, **options): ...

    class SyncInvoice(Job[Billing], aliases=(f"{name}.push-invoice",), version=3, timeout=1):
        n: int = 0

    return Billing(), SyncInvoice


def test_two_domains_cannot_have_one_name() -> None:
    (one, _), (other, _) = one_domain(), one_domain()
    path = f"{__name__}:one_domain.<locals>.Billing"
    with pytest.raises(DuplicateName) as refused:
        Catalog([one, other])
    assert str(refused.value) == f"{path} and {path} are both named 'billing'; give one of them a name=."


def test_two_domains_cannot_have_jobs_of_one_name() -> None:
    billing, _ = one_domain()

    class Other(Domain): ...

    class Push(Job[Other], name="billing.push-invoice"):
        n: int = 0

    with pytest.raises(DuplicateName) as refused:
        Catalog([billing, Other()])
    path = "test_two_domains_cannot_have_jobs_of_one_name.<locals>.Push"
    assert str(refused.value) == (
        f"{__name__}:{path} and {__name__}:one_domain.<locals>.SyncInvoice are both named "
        "'billing.push-invoice', and a name belongs to one domain in all its versions; give one of them another name=."
    )


@pytest.mark.parametrize("wrong", [Domain, "billing", None])
def test_only_domains_are_taken(wrong: Any) -> None:
    with pytest.raises(CatalogError, match=r"^domains= takes instances, as in `billing = Billing\(\)`, not "):
        Catalog([wrong])


@pytest.mark.parametrize("wrong", [5, 0, Defaults, {"priority": 3}])
def test_defaults_are_a_value_of_their_own(wrong: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Catalog([], wrong)
    assert str(refused.value) == f"defaults must be Defaults(…), not {wrong!r}."


@pytest.mark.parametrize("option, form", [("defaults", "Defaults"), ("outbox", "Outbox"), ("rail", "Rail")])
def test_what_an_application_is_told_is_checked_where_it_is_told(option: str, form: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Remit("sqlite://", domains=[], **{option: 5})  # type: ignore[arg-type]
    assert str(refused.value) == f"{option} must be {form}(…), not 5."


def test_a_field_that_cannot_be_found_is_refused_when_the_application_is_composed() -> None:
    class Billing(Domain): ...

    class Early(Job[Billing]):
        it: NeverDefined  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(CatalogError, match=r"^A field of .*Early names 'NeverDefined', which cannot be found in "):
        Catalog([Billing()])


def test_a_job_is_found_by_its_name_and_aliases() -> None:
    billing, job = one_domain()
    catalog = Catalog([billing])
    assert catalog.by_name("billing.sync-invoice") is catalog.by_name("billing.push-invoice") is job.__remit__
    assert catalog.specs == [job.__remit__]
    with pytest.raises(UnknownJob) as refused:
        catalog.by_name("billing.sink-invoice")
    assert str(refused.value) == (
        "No domain of this application has a job 'billing.sink-invoice'. Did you mean 'billing.sync-invoice'?"
    )


def test_every_name_and_version_of_a_queue_is_a_line() -> None:
    billing, job = one_domain()
    numbers = {
        line("billing.default", "billing.sync-invoice", 3): "billing.sync-invoice",
        line("billing.default", "billing.push-invoice", 3): "billing.push-invoice",
    }
    lines = Catalog([billing]).lines
    assert {number: each.name for number, each in lines.items()} == numbers
    assert all(each.number == number and each.spec is job.__remit__ for number, each in lines.items())
    assert {(each.queue.name, each.version) for each in lines.values()} == {("billing.default", 3)}


def test_queues_are_those_declared_and_those_used() -> None:
    billing, _ = one_domain()
    slow = billing.queue("slow")

    class Empty(Domain): ...

    queues = Catalog([billing, Empty()]).queues
    assert list(queues) == ["billing.slow", "billing.default"]
    assert queues["billing.slow"] is slow


def test_what_is_declared_later_is_taken_in() -> None:
    billing, _ = one_domain()
    catalog = Catalog([billing])

    class Later(Job[type(billing)]):  # type: ignore[misc]
        n: int = 0

    assert catalog.by_name("billing.later") is Later.__remit__
    assert len(catalog.lines) == 3


def test_policies_are_resolved_with_the_application_s_defaults() -> None:
    billing, job = one_domain(retry=Retry(attempts=2))
    catalog = Catalog([billing], Defaults(timeout=9, priority=9, keep=Keep(count=9)))
    policy = catalog.policy(job.__remit__)
    assert (policy.timeout, policy.priority, policy.attempts) == (1.0, 9, 2)
    assert catalog.policy(job.__remit__) is policy


def test_what_no_domain_says_is_the_application_s() -> None:
    policy = Catalog([], Defaults(keep=Keep(count=9))).application_policy
    assert (policy.keep.count, policy.attempts) == (9, 3)


def test_a_queue_has_a_policy_as_a_whole() -> None:
    billing, _ = one_domain(keep=Keep(count=5, age=5))
    quick = billing.queue("quick", keep=Keep(count=1))
    catalog = Catalog([billing], Defaults(keep=Keep(dead_age=9)))
    keep = catalog.queue_policy(quick).keep
    assert (keep.count, keep.age, keep.dead_age) == (1, 5.0, 9.0)
    assert catalog.queue_policy(catalog.queues["billing.default"]).keep.count == 5


def with_events(name: str = "billing") -> tuple[Any, Any]:
    class Billing(Domain, name=name): ...

    class InvoicePaid(Event[Billing], aliases=(f"{name}.invoice-settled",), version=3, max_payload=50):
        n: int = 0

    return Billing(), InvoicePaid


def nothing(event: Any, run: Any) -> None: ...


def test_events_are_listed_once_and_those_of_remit_come_last() -> None:
    (billing, paid), (catalog, other) = with_events(), with_events("catalog")
    assert Catalog([billing, catalog]).events == [paid.__remit__, other.__remit__, JobDied.__remit__]
    assert Catalog([]).events == [JobDied.__remit__]


def test_two_domains_cannot_have_events_of_one_name() -> None:
    billing, _ = with_events()

    class Other(Domain): ...

    class Settled(Event[Other], name="billing.invoice-settled"): ...

    with pytest.raises(DuplicateName) as refused:
        Catalog([billing, Other()])
    path = "test_two_domains_cannot_have_events_of_one_name.<locals>.Settled"
    assert str(refused.value) == (
        f"{__name__}:{path} and {__name__}:with_events.<locals>.InvoicePaid are both named 'billing.invoice-settled', "
        "and a name belongs to one domain in all its versions; give one of them another name=."
    )


def test_the_names_of_remit_are_taken() -> None:
    class Remit(Domain): ...

    with pytest.raises(DuplicateName, match=r"Remit and remit\.catalog\.builtin:System are both named 'remit'; "):
        Catalog([Remit()])

    class Other(Domain): ...

    class Died(Event[Other], name="remit.job-died"): ...

    with pytest.raises(DuplicateName, match=r"and remit\.catalog\.builtin:JobDied are both named 'remit\.job-died'"):
        Catalog([Other()])


def test_an_event_that_is_declared_later_is_taken_in() -> None:
    billing, _ = one_domain()
    catalog = Catalog([billing])
    assert [spec.name for spec in catalog.specs] == ["billing.sync-invoice"]

    class Paid(Event[type(billing)]): ...  # type: ignore[misc]

    assert catalog.by_name("billing.publish-later").name == "billing.publish-later"
    assert Paid.__remit__ in catalog.events


def test_a_field_of_an_event_that_cannot_be_found_is_refused_when_the_application_is_composed() -> None:
    class Billing(Domain): ...

    class Early(Event[Billing]):
        it: NeverDefined  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(CatalogError, match=r"^A field of .*Early names 'NeverDefined', which cannot be found in "):
        Catalog([Billing()])


def test_the_limit_of_an_event_is_its_own_before_the_application_s() -> None:
    billing, paid = with_events()
    catalog = Catalog([billing], Defaults(max_payload=99))
    assert catalog.limit(paid.__remit__) == 50
    assert catalog.limit(JobDied.__remit__) == 99


def test_an_event_is_kept_as_its_class_says_or_else_its_application() -> None:
    class Shop(Domain): ...

    class Sold(Event[Shop]): ...

    class Counted(Event[Shop], keep=0): ...

    sold, counted = Sold.__remit__, Counted.__remit__
    catalog = Catalog([Shop()], log=Outbox(keep=60).resolve())
    assert [catalog.keep(sold), catalog.keep(counted)] == [60.0, 0.0]
    assert Catalog([]).keep(sold) == 7 * DAY
    assert Catalog([], log=Outbox(keep=math.inf).resolve()).keep(sold) == FOREVER


def test_a_key_that_json_cannot_carry_is_no_scope() -> None:
    billing, paid = with_events()
    assert Catalog([billing], scope=("n",)).scope(paid(n=7)) == '{"n":7}'
    with pytest.raises(PayloadError):
        Catalog([billing], scope=("n",)).scope(paid(n=object()))


def test_deliveries_wait_in_lines_of_the_subscriber_by_name_and_version_of_the_event() -> None:
    (billing, paid), (catalog, _) = with_events(), with_events("catalog")
    slow = catalog.queue("slow")
    catalog.on(paid, name="unlock", aliases=("open",), queue=slow)(nothing)
    made = Catalog([billing, catalog])
    [unlock] = made.subscriptions
    lines = {each.name: each for each in made.lines.values() if each.spec is unlock}
    assert {name: each.number for name, each in lines.items()} == {
        "catalog.unlock": delivery_line("catalog.slow", "catalog.unlock") | 3,
        "catalog.open": delivery_line("catalog.slow", "catalog.open") | 3,
    }
    assert all((each.queue, each.version, each.handler) == (slow, 3, unlock.handler) for each in lines.values())


def test_a_line_of_jobs_is_executed_by_their_handler() -> None:
    billing, job = one_domain()
    billing.handles(job)(nothing)
    assert {each.handler.function for each in Catalog([billing]).lines.values()} == {nothing}


def test_a_queue_that_only_deliveries_use_is_a_queue_of_the_application() -> None:
    class Listener(Domain): ...

    listener: Any = Listener()
    _, paid = with_events()
    listener.on(paid, name="listen")(nothing)
    assert list(Catalog([listener]).queues) == ["listener.default"]


def test_an_event_of_a_domain_that_the_application_does_not_have_can_be_heard() -> None:
    class Listener(Domain): ...

    listener: Any = Listener()
    _, paid = with_events("elsewhere")
    listener.on(paid, name="listen")(nothing)
    made = Catalog([listener])
    made.check_subscriptions()
    assert [each.event for each in made.subscriptions] == [paid.__remit__]
    assert paid.__remit__ not in made.events


def test_the_policy_of_deliveries_is_the_subscription_s() -> None:
    billing, paid = with_events()
    billing.on(paid, name="note", timeout=7)(nothing)
    catalog = Catalog([billing], Defaults(priority=9))
    [noted] = catalog.subscriptions
    assert (catalog.policy(noted).timeout, catalog.policy(noted).priority) == (7.0, 9)
    assert catalog.policy(noted) is catalog.policy(noted)


def test_a_job_that_is_declared_after_a_subscription_cannot_take_its_name() -> None:
    billing, paid = with_events()
    billing.on(paid, name="note")(nothing)

    class Note(Job[type(billing)]): ...  # type: ignore[misc]

    with pytest.raises(DuplicateName) as refused:
        Catalog([billing]).check_subscriptions()
    assert str(refused.value) == (
        f"the subscription at {__file__}:{nothing.__code__.co_firstlineno} is named 'billing.note', as "
        f"{Note.__remit__.path} is; give it another name=."
    )


def test_two_domains_cannot_have_subscriptions_of_one_name() -> None:
    (billing, paid), (catalog, _) = with_events(), with_events("catalog")
    billing.on(paid, name="note")(nothing)
    catalog.on(paid, name="other", aliases=("billing.note",))(nothing)
    place = f"{__file__}:{nothing.__code__.co_firstlineno}"
    with pytest.raises(DuplicateName) as refused:
        Catalog([billing, catalog]).check_subscriptions()
    assert str(refused.value) == (
        f"the subscription 'billing.note' is declared at {place} and again at {place}; give one of them another name=. "
        "One name is for the handlers of several versions of one event."
    )


def test_an_alias_that_repeats_the_name_is_no_second_claim() -> None:
    billing, paid = with_events()
    billing.on(paid, name="note", aliases=("note",))(nothing)
    Catalog([billing]).check_subscriptions()


def test_a_hook_into_the_death_of_nothing_is_refused_with_the_nearest() -> None:
    billing, paid = with_events()
    billing.exhausted("note", "publish-later", name="tell")(nothing)
    billing.on(paid, name="noted", aliases=("note",))(nothing)
    catalog = Catalog([billing])
    catalog.check_subscriptions()
    billing.exhausted("notedd", name="tell-again")(nothing)
    with pytest.raises(CatalogError) as refused:
        catalog.check_subscriptions()
    assert str(refused.value) == (
        "billing.tell-again waits for the death of 'billing.notedd', which is neither a job nor a subscription of "
        "billing. Did you mean 'billing.noted'?"
    )


def test_a_subscription_to_the_deaths_of_others_may_name_what_this_application_does_not_have() -> None:
    billing, _ = with_events()
    billing.on(JobDied, name="watch", where={"name": ["catalog.rebuild"], "attempts": 3})(nothing)
    billing.on(JobDied, name="watch-all")(nothing)
    Catalog([billing]).check_subscriptions()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a package and import its messages: `package(messages=…, handlers=…)` gives the domain instance."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(**modules: str) -> Any:
        folder = tmp_path / "parcel" / "billing"
        folder.mkdir(parents=True)
        for name, text in {"__init__": "", **modules}.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text), "utf-8")
        (tmp_path / "parcel" / "__init__.py").touch()
        __import__("parcel.billing.messages")
        return sys.modules["parcel.billing.messages"].billing  # type: ignore[attr-defined]

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("parcel"):
            del sys.modules[name]


MESSAGES = """
    from remit.catalog import Domain, Job

    class Billing(Domain{options}): ...

    billing = Billing()

    class Sync(Job[Billing]):
        n: int = 0

    class Close(Job[Billing]):
        n: int = 0
"""
HANDLERS = """
    from parcel.billing.messages import Close, Sync, billing

    @billing.handles(Sync)
    @billing.handles(Close)
    async def handle(job, run): ...
"""


def messages(options: str = "") -> str:
    return MESSAGES.format(options=options)


def test_handlers_are_imported_from_the_package(package: Any) -> None:
    catalog = Catalog([package(messages=messages(), handlers=HANDLERS)])
    assert [spec.name for spec in catalog.missing_handlers()] == ["billing.sync", "billing.close"]
    catalog.load_handlers()
    assert catalog.missing_handlers() == []


def test_handlers_may_live_elsewhere(package: Any) -> None:
    domain = package(messages=messages(", handlers='parcel.billing.workers'"), workers=HANDLERS)
    Catalog([domain]).load_handlers()


def test_handlers_may_be_registered_without_a_module_of_their_own(package: Any) -> None:
    both = "@billing.handles(Sync)\n    @billing.handles(Close)\n    def handle(job, run): ...\n"
    Catalog([package(messages=messages() + "\n    " + both)]).load_handlers()


def test_all_missing_handlers_are_named_with_the_remedy(package: Any) -> None:
    catalog = Catalog([package(messages=messages())])
    with pytest.raises(MissingHandler) as refused:
        catalog.load_handlers()
    assert str(refused.value) == (
        "No handler for billing.sync, billing.close. Write `@<domain>.handles(<Job>)` in parcel.billing.handlers, or "
        "name the module that does with handlers= on the domain."
    )


def test_a_stated_module_must_exist(package: Any) -> None:
    catalog = Catalog([package(messages=messages(", handlers='parcel.billing.wrokers'"))])
    with pytest.raises(CatalogError) as refused:
        catalog.load_handlers()
    assert str(refused.value) == (
        "billing declares its handlers in 'parcel.billing.wrokers', which does not exist; correct handlers= on "
        "the domain."
    )


@pytest.mark.parametrize("options", [", package='parcel.biling'", ", handlers='nowhere.at.all'"])
def test_a_package_that_does_not_exist_is_no_mystery(package: Any, options: str) -> None:
    with pytest.raises(CatalogError, match=r"No handler for billing.sync|which does not exist"):
        Catalog([package(messages=messages(options))]).load_handlers()


@pytest.mark.parametrize("line_", ["import not_installed", "from parcel.billing.messages import Missing"])
def test_an_import_error_inside_the_module_is_passed_on(package: Any, line_: str) -> None:
    catalog = Catalog([package(messages=messages(), handlers=line_)])
    with pytest.raises(ImportError, match=r"not_installed|Missing"):
        catalog.load_handlers()


def test_jobs_that_the_handlers_module_declares_are_taken_in(package: Any) -> None:
    more = """
    from remit.catalog import Job
    from parcel.billing.messages import Billing

    class Remind(Job[Billing]):
        n: int = 0

    @billing.handles(Remind)
    def remind(job, run): ...
    """
    catalog = Catalog([package(messages=messages(), handlers=textwrap.dedent(HANDLERS) + textwrap.dedent(more))])
    catalog.load_handlers()
    assert catalog.by_name("billing.remind").name == "billing.remind"


def test_the_handlers_of_a_domain_without_jobs_are_imported_too_since_they_may_subscribe(package: Any) -> None:
    text = "from remit.catalog import Domain\nclass Quiet(Domain): ...\nbilling = Quiet()"
    Catalog([package(messages=text, handlers="")]).load_handlers()
    assert "parcel.billing.handlers" in sys.modules


SUBSCRIBER = """
    from remit.catalog import Domain, Event

    class Billing(Domain): ...

    billing = Billing()

    class Paid(Event[Billing]): ...
"""


def test_subscriptions_are_found_in_the_handlers_module(package: Any) -> None:
    handlers = """
    from parcel.billing.messages import Paid, billing

    @billing.on(Paid, name="note")
    def note(event, run): ...
    """
    catalog = Catalog([package(messages=SUBSCRIBER, handlers=handlers)])
    assert catalog.subscriptions == []
    catalog.load_handlers()
    assert [each.name for each in catalog.subscriptions] == ["billing.note"]
    assert {each.name for each in catalog.lines.values()} == {"billing.note", "billing.publish-later"}


def test_subscriptions_of_one_name_stop_a_worker_from_starting(package: Any) -> None:
    handlers = """
    from remit.catalog import Job
    from parcel.billing.messages import Billing, Paid, billing

    @billing.on(Paid, name="note")
    def note(event, run): ...

    class Note(Job[Billing]): ...

    @billing.handles(Note)
    def handle(job, run): ...
    """
    with pytest.raises(DuplicateName, match=r"is named 'billing\.note', as parcel\.billing\.handlers:Note is"):
        Catalog([package(messages=SUBSCRIBER, handlers=handlers)]).load_handlers()


def test_a_lone_module_holds_its_handlers_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lone = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", lone)
    exec(textwrap.dedent(messages()), vars(lone))
    catalog = Catalog([lone.billing])
    with pytest.raises(MissingHandler, match="in __main__, or"):
        catalog.load_handlers()
