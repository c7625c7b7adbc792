"""All domains of one application, checked together."""

from __future__ import annotations

import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest

from remit.catalog import Catalog, Defaults, Domain, Job, Keep, Retry, line
from remit.errors import CatalogError, DuplicateName, MissingHandler, UnknownJob


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
        f"{__name__}:{path} and {__name__}:one_domain.<locals>.SyncInvoice are both named 'billing.push-invoice'; "
        "give one of them another name=."
    )


@pytest.mark.parametrize("wrong", [Domain, "billing", None])
def test_only_domains_are_taken(wrong: Any) -> None:
    with pytest.raises(CatalogError, match=r"^domains= takes instances, as in `billing = Billing\(\)`, not "):
        Catalog([wrong])


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
        "billing says that its handlers are in 'parcel.billing.wrokers', which does not exist; correct handlers= on "
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


def test_a_lone_module_holds_its_handlers_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lone = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", lone)
    exec(textwrap.dedent(messages()), vars(lone))
    catalog = Catalog([lone.billing])
    with pytest.raises(MissingHandler, match="in __main__, or"):
        catalog.load_handlers()
