"""What a domain does about an event: declared once, checked where it is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.catalog import Defaults, Domain, Event, Handler, Job, JobDied, Keep, Retry, Subscription
from remit.catalog.specs import D, DomainSpec
from remit.catalog.subscriptions import make_subscription
from remit.codec import encode
from remit.errors import CatalogError, DuplicateName, HandlerShape, InvalidArgument, OwnershipError, UnknownOption

ID = UUID("0190c0de-0000-7000-8000-000000000000")


class Currency(Enum):
    EUR = "EUR"
    USD = "USD"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Billing(Domain): ...


class InvoicePaid(Event[Billing], version=3, ordered_by="invoice_id"):
    invoice_id: str
    currency: Currency = Currency.EUR
    level: Level = Level.LOW
    lines: int = 1
    reminded: bool = False
    due: date = date(2026, 1, 2)
    at: datetime = datetime(2026, 1, 2, tzinfo=UTC)
    customer: UUID = ID
    note: str | None = None
    total: Decimal = Decimal(0)
    share: float = 0.0
    tags: list[str] | None = None


class InvoiceSent(Event[Billing]):
    invoice_id: str


async def note(event: object, run: object) -> None: ...


class Shop:
    """A domain that subscribes, declared anew for each test."""

    def __init__(self) -> None:
        class Catalog(Domain, name="catalog"): ...

        class Rebuild(Job[Catalog], aliases=("catalog.reindex", "old.reindex")):
            n: int = 0

        self.Rebuild = Rebuild
        self.catalog: Any = Catalog()
        self.spec: DomainSpec = Catalog.__remit__

    def on(self, event: Any = InvoicePaid, *, name: Any = "tell", **options: Any) -> Subscription:
        self.catalog.on(event, name=name, **options)(note)
        return self.spec.subscriptions[f"catalog.{name}"]


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_a_subscription_is_registered_and_its_function_returned_as_it_is(shop: Shop) -> None:
    assert shop.catalog.on(InvoicePaid, name="tell")(note) is note
    told = shop.spec.subscriptions["catalog.tell"]
    assert (told.event, told.domain) == (InvoicePaid.__remit__, shop.spec.owner)
    assert (told.handler.function, told.handler.mode) == (note, "async")
    assert repr(told) == "<Subscription catalog.tell to billing.invoice-paid>"


def test_a_domain_may_subscribe_to_its_own_events() -> None:
    class Here(Domain): ...

    class Opened(Event[Here]): ...

    here: Any = Here()
    here.on(Opened, name="greet")(note)
    assert Here.__remit__.subscriptions["here.greet"].event.domain is Here


def test_a_subscription_that_says_nothing_takes_every_event_in_no_order(shop: Shop) -> None:
    told = shop.on()
    assert (told.condition, told.condition_call, told.ordered_by) == (None, None, None)
    assert (told.on_dead, told.stale_after, told.inline, told.keep) == ("block", 300.0, None, None)
    assert told.queue.name == "catalog.default"
    assert told.version == 3
    assert told.codec is InvoicePaid.__remit__.codec
    assert told.path == f"{__name__}:InvoicePaid"


def test_all_options_arrive(shop: Shop) -> None:
    slow = shop.catalog.queue("slow", timeout=5, priority=5)
    told = shop.on(
        aliases=("say", "old.say"),
        queue=slow,
        retry=Retry(attempts=9),
        timeout=timedelta(seconds=9),
        keep=Keep(age=90),
        expires=99,
        ordered_by="invoice_id",
        on_dead="pass",
        stale_after=timedelta(minutes=1),
        inline="it only writes a log line",
    )
    assert told.names == ("catalog.tell", "catalog.say", "old.say")
    assert told.queue is slow
    assert (told.ordered_by, told.on_dead, told.stale_after) == ("invoice_id", "pass", 60.0)
    assert (told.inline, told.keep) == ("it only writes a log line", 90.0)
    policy = told.policy(Defaults(priority=9))
    assert (policy.attempts, policy.timeout, policy.expires, policy.priority) == (9, 9.0, 99.0, 5)


def test_the_policy_of_a_subscription_hears_the_subscribers_levels_and_not_the_publishers() -> None:
    class Loud(Domain, priority=1): ...

    class Quiet(Domain, timeout=2): ...

    class Rang(Event[Loud]): ...

    quiet: Any = Quiet()
    quiet.on(Rang, name="listen")(note)
    policy = Quiet.__remit__.subscriptions["quiet.listen"].policy(Defaults(priority=3))
    assert (policy.priority, policy.timeout) == (3, 2.0)


def test_a_subscription_is_found_by_every_name(shop: Shop) -> None:
    told = shop.on(aliases=("say",))
    assert shop.spec.subscriptions == {"catalog.tell": told, "catalog.say": told}


def test_two_subscriptions_may_hear_one_event(shop: Shop) -> None:
    assert shop.on(name="tell") is not shop.on(name="count")


def test_two_subscriptions_cannot_have_one_name(shop: Shop) -> None:
    def first(event: Any, run: Any) -> None: ...

    def second(event: Any, run: Any) -> None: ...

    shop.catalog.on(InvoicePaid, name="tell")(first)
    with pytest.raises(DuplicateName) as refused:
        shop.catalog.on(InvoiceSent, name="say", aliases=("tell",))(second)
    assert str(refused.value) == (
        f"the subscription 'catalog.tell' is declared at {__file__}:{first.__code__.co_firstlineno} and again at "
        f"{__file__}:{second.__code__.co_firstlineno}; give one of them another name=. One name is for the handlers of "
        "several versions of one event."
    )
    assert "catalog.say" not in shop.spec.subscriptions


@pytest.mark.parametrize("name, aliases", [("rebuild", ()), ("reindex", ()), ("tell", ("rebuild",))])
def test_a_subscription_cannot_be_named_like_a_job(shop: Shop, name: str, aliases: tuple[str, ...]) -> None:
    taken = name if name != "tell" else "rebuild"
    with pytest.raises(DuplicateName) as refused:
        shop.on(name=name, aliases=aliases)
    assert str(refused.value) == (
        f"the subscription at {__file__}:{note.__code__.co_firstlineno} is named 'catalog.{taken}', as the job "
        f"{__name__}:Shop.__init__.<locals>.Rebuild is, and deliveries are jobs too; give it another name=."
    )


@pytest.mark.parametrize(
    "options, error, reason",
    [
        ({"name": "Tell"}, CatalogError, "The name of the subscription 'Tell' is not lower-kebab-case in ASCII, as 't"),
        ({"name": "catalog.tell"}, CatalogError, "The name of the subscription 'catalog.tell' is not lower-kebab-case"),
        ({"aliases": "say"}, CatalogError, "The aliases= of catalog.tell must be a tuple of names, not 'say'."),
        (
            {"aliases": ("Say",)},
            CatalogError,
            "An alias of catalog.tell, 'catalog.Say' is not of the form domain.lower",
        ),
        (
            {"queue": "slow"},
            CatalogError,
            "The queue= of catalog.tell must be what catalog.queue(…) returned, not 'slow'.",
        ),
        (
            {"ordered_by": "customer"},
            CatalogError,
            "catalog.tell wants billing.invoice-paid ordered_by='customer', and that event has the order of 'inv",
        ),
        ({"on_dead": "stop"}, InvalidArgument, "on_dead of catalog.tell must be 'block' or 'pass', not 'stop'."),
        (
            {"on_dead": "pass"},
            InvalidArgument,
            (
                "on_dead='pass' of catalog.tell applies to deliveries behind a dead one, and without "
                "ordered_by no delivery waits for another: add ordered_by=, or leave it out."
            ),
        ),
        ({"on_dead": None}, InvalidArgument, "on_dead of catalog.tell must be 'block' or 'pass', not None."),
        ({"stale_after": -1}, InvalidArgument, "stale_after must be 0 seconds or more, and finite, not -1."),
        ({"stale_after": math.inf}, InvalidArgument, "stale_after must be 0 seconds or more, and finite, not inf."),
        ({"stale_after": "5m"}, InvalidArgument, "stale_after must be a number of seconds or a timedelta, not '5m'."),
        ({"inline": True}, CatalogError, "The inline= of catalog.tell must be a reason, as text, not True."),
        ({"inline": " "}, CatalogError, "The inline= of catalog.tell must be a reason, as text, not ' '."),
        ({"keep": Keep(count=3)}, CatalogError, "catalog.tell has Keep(count=…), which counts a whole queue"),
        ({"keep": Keep(dead_age=3)}, CatalogError, "catalog.tell has Keep(dead_age=…), which applies to a whole queue"),
        ({"timeout": 0}, InvalidArgument, "timeout must be over 0 seconds"),
        ({"mode": "proces"}, InvalidArgument, "mode must be one of async, thread, process, not 'proces'."),
    ],
)
def test_an_option_that_cannot_be_is_refused(
    shop: Shop, options: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error) as refused:
        shop.on(**options)
    assert str(refused.value).startswith(reason)
    assert shop.spec.subscriptions == {}


def test_an_event_that_promises_no_order_cannot_be_heard_in_order(shop: Shop) -> None:
    with pytest.raises(CatalogError) as refused:
        shop.on(InvoiceSent, ordered_by="invoice_id")
    assert str(refused.value) == (
        "catalog.tell wants billing.invoice-sent ordered_by='invoice_id', and that event has no order: declare "
        "ordered_by='invoice_id' on the class InvoiceSent, whose publishers are then serialized."
    )


def test_the_queue_of_another_domain_is_refused(shop: Shop) -> None:
    class Other(Domain): ...

    foreign = Other().queue("slow")
    told = "catalog.tell belongs to catalog, and other.slow to another domain; declare a queue with catalog.queue(…)."
    for subscribe in (
        lambda: shop.on(queue=foreign),
        lambda: shop.catalog.exhausted(shop.Rebuild, name="tell", queue=foreign)(note),
    ):
        with pytest.raises(OwnershipError) as refused:
            subscribe()
        assert str(refused.value) == told


class Abstract(Event[D], abstract=True):
    n: int


@pytest.mark.parametrize("event", [int, "billing.invoice-paid", Event, Abstract, None, InvoicePaid(invoice_id="1")])
def test_only_an_event_class_can_be_subscribed_to(shop: Shop, event: Any) -> None:
    with pytest.raises(CatalogError, match=r"^on takes an event class that is not abstract, not "):
        shop.catalog.on(event, name="tell")


def test_a_job_cannot_be_subscribed_to(shop: Shop) -> None:
    with pytest.raises(CatalogError, match=r"^on takes an event class that is not abstract, not <class .*Rebuild"):
        shop.catalog.on(shop.Rebuild, name="tell")


def test_the_shape_of_a_handler_is_checked(shop: Shop) -> None:
    def lonely(it: Any) -> None: ...

    for argument, event, subscribe in (
        ("event", "InvoicePaid", shop.catalog.on(InvoicePaid, name="tell")),
        ("died", "JobDied", shop.catalog.exhausted(shop.Rebuild, name="tell")),
    ):
        with pytest.raises(HandlerShape) as refused:
            subscribe(lonely)
        assert str(refused.value) == (
            f"{lonely.__qualname__} ({__file__}:{lonely.__code__.co_firstlineno}) takes (it: 'Any') -> 'None', and is "
            f"called with two positional arguments, ({argument}, run); a handler is `async def handler({argument}: "
            f"{event}, run: Run[{shop.spec.owner.__qualname__}])`, or the same with plain `def`."
        )
    assert shop.spec.subscriptions == {}


def where(given: object) -> Subscription:
    """A subscription of billing to its own event with that condition; nothing is registered."""
    handler = Handler(note, "async", "here", "here:note")
    return make_subscription(
        Billing.__remit__, InvoicePaid.__remit__, handler, name="tell", defaults=Defaults(),
        where=given,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    "field, value, texts",
    [
        ("invoice_id", "7", ('"7"',)),
        ("invoice_id", "[7", ('"[7"',)),
        ("invoice_id", ["9", "7"], ('"7"', '"9"')),
        ("invoice_id", ("9", "7"), ('"7"', '"9"')),
        ("invoice_id", {"9", "7"}, ('"7"', '"9"')),
        ("invoice_id", frozenset(["7"]), ('"7"',)),
        ("currency", Currency.EUR, ('"EUR"',)),
        ("currency", "EUR", ('"EUR"',)),
        ("currency", [Currency.USD, Currency.EUR], ('"EUR"', '"USD"')),
        ("level", Level.HIGH, ("2",)),
        ("level", 2, ("2",)),
        ("lines", 0, ("0",)),
        ("lines", -3, ("-3",)),
        ("reminded", True, ("true",)),
        ("reminded", [True, False], ("false", "true")),
        ("due", date(2026, 1, 2), ('"2026-01-02"',)),
        ("at", datetime(2026, 1, 2, tzinfo=UTC), ('"2026-01-02T00:00:00Z"',)),
        ("customer", ID, (f'"{ID}"',)),
        ("customer", str(ID), (f'"{ID}"',)),
        ("note", None, ("null",)),
        ("note", [None, ""], ('""', "null")),
    ],
)
def test_a_condition_is_kept_as_the_json_texts_that_a_field_may_have(
    field: str, value: object, texts: tuple[str, ...]
) -> None:
    told = where({field: value})
    assert told.condition == {field: texts}
    assert told.condition_call is None


def test_a_condition_may_name_several_fields() -> None:
    told = where({"currency": "EUR", "lines": [1, 2]})
    assert told.condition == {"currency": ('"EUR"',), "lines": ("1", "2")}


@given(st.text().filter(lambda text: "\0" not in text), st.integers(-(2**62), 2**62), st.booleans(), st.dates())
def test_an_event_with_the_value_has_the_text(text: str, lines: int, reminded: bool, due: date) -> None:
    values = {"invoice_id": text, "lines": lines, "reminded": reminded, "due": due}
    told = where(values)
    payload = InvoicePaid.__remit__.codec.dump(InvoicePaid(**values))  # type: ignore[arg-type]
    assert told.condition is not None
    for field, [expected] in told.condition.items():
        assert f'"{field}":{expected}' in payload


def test_an_unknown_field_is_named_with_the_nearest() -> None:
    with pytest.raises(CatalogError) as refused:
        where({"curency": "EUR"})
    assert str(refused.value) == (
        "The where= of billing.tell: billing.invoice-paid has no field 'curency'. Did you mean 'currency'?"
    )


@pytest.mark.parametrize(
    "field, value",
    [
        ("share", 1.5),
        ("lines", [1, 1.0]),
        ("total", Decimal("1.50")),
        ("tags", [["a"]]),
        ("tags", {"a": 1}),
        ("invoice_id", []),
        ("invoice_id", ()),
        ("invoice_id", "a\0b"),  # which PostgreSQL's JSON does not know
    ],
)
def test_what_the_store_cannot_compare_is_left_to_a_function(field: str, value: object) -> None:
    with pytest.raises(CatalogError) as refused:
        where({field: value})
    assert str(refused.value) == (
        "The where= of billing.tell: the store compares texts, whole numbers, booleans, enums, dates and UUIDs, and "
        f"{field} is given {value!r}; use a function of the event instead."
    )


def test_an_object_is_refused_with_the_reason() -> None:
    with pytest.raises(CatalogError, match=r"^The where= of billing\.tell: note cannot be compared with <object .*>: "):
        where({"note": object()})
    with pytest.raises(CatalogError, match=r"share cannot be compared with nan: .*no such number"):
        where({"share": math.nan})


@pytest.mark.parametrize(
    "field, value",
    [
        ("currency", "eur"),
        ("currency", ["EUR", "GBP"]),
        ("lines", "1"),
        ("lines", True),
        ("reminded", 1),
        ("invoice_id", 7),
        ("invoice_id", None),
        ("due", "2.1.2026"),
        ("at", "2026-01-02T00:00:00+00:00"),
        ("customer", str(ID).upper()),
        ("share", 1),
        ("tags", ["a"]),
    ],
)
def test_a_value_that_no_event_can_have_is_refused_for_it_would_lose_them_all(field: str, value: object) -> None:
    with pytest.raises(CatalogError) as refused:
        where({field: value})
    assert str(refused.value) == (
        f"The where= of billing.tell: no {field} of billing.invoice-paid can be {value!r}; pass the type that the "
        "field declares."
    )


def test_a_function_is_left_to_the_worker() -> None:
    def large(event: InvoicePaid) -> bool:
        return event.lines > 3

    told = where(large)
    assert (told.condition, told.condition_call) == (None, large)


def test_a_function_that_would_have_to_be_awaited_is_refused() -> None:
    async def large(event: InvoicePaid) -> bool:
        return event.lines > 3

    with pytest.raises(CatalogError) as refused:
        where(large)
    assert str(refused.value) == "The where= of billing.tell must be a plain `def`: its result is not awaited."


@pytest.mark.parametrize("given", ["currency", 3, [("currency", "EUR")]])
def test_another_condition_is_refused(given: object) -> None:
    with pytest.raises(CatalogError) as refused:
        where(given)
    assert str(refused.value) == (
        f"The where= of billing.tell must be a mapping of fields to values, or a function of the event, not {given!r}."
    )


def test_a_condition_on_a_field_whose_type_comes_later_is_taken() -> None:
    class Later(Event[Billing]):
        kind: DefinedLater  # type: ignore[name-defined]  # noqa: F821

    handler = Handler(note, "async", "here", "here:note")
    told = make_subscription(
        Billing.__remit__, Later.__remit__, handler, name="tell", defaults=Defaults(), where={"kind": "a"}
    )
    assert told.condition == {"kind": ('"a"',)}


@pytest.fixture
def exhausted(shop: Shop) -> Iterator[Callable[..., Subscription]]:
    def register(*what: Any, name: str = "tell", **options: Any) -> Subscription:
        shop.catalog.exhausted(*what, name=name, **options)(note)
        return shop.spec.subscriptions[f"catalog.{name}"]

    return register  # type: ignore[return-value]


def test_a_hook_for_dead_jobs_is_a_subscription_to_their_deaths(
    shop: Shop, exhausted: Callable[..., Subscription]
) -> None:
    slow = shop.catalog.queue("slow")
    told = exhausted(shop.Rebuild, retry=Retry(attempts=9), queue=slow)
    assert told.event is JobDied.__remit__
    assert told.domain is shop.spec.owner
    assert told.handler.function is note
    assert (told.queue, told.policy(Defaults()).attempts) == (slow, 9)


def test_a_job_is_hooked_under_all_its_names(shop: Shop, exhausted: Callable[..., Subscription]) -> None:
    told = exhausted(shop.Rebuild)
    assert told.condition == {
        "name": tuple(encode(each) for each in ("catalog.rebuild", "catalog.reindex", "old.reindex"))
    }


def test_subscriptions_are_hooked_by_their_short_names_beside_jobs(
    shop: Shop, exhausted: Callable[..., Subscription]
) -> None:
    class Close(Job[shop.spec.owner]): ...  # type: ignore[name-defined]

    told = exhausted(Close, "unlock-downloads")
    assert told.condition == {"name": ('"catalog.close"', '"catalog.unlock-downloads"')}


def test_a_hook_says_what_it_is_for(exhausted: Callable[..., Subscription]) -> None:
    with pytest.raises(CatalogError) as refused:
        exhausted()
    assert str(refused.value) == "exhausted of catalog takes at least one job class or name of a subscription."


def test_another_domains_job_cannot_be_hooked(exhausted: Callable[..., Subscription]) -> None:
    class Sync(Job[Billing]): ...

    with pytest.raises(OwnershipError) as refused:
        exhausted(Sync)
    assert str(refused.value) == "catalog cannot hook into billing.sync: only its owner may."
    with pytest.raises(CatalogError) as refused_name:
        exhausted("billing.sync")
    assert str(refused_name.value) == "exhausted of catalog takes short names of subscriptions, not 'billing.sync'."


@pytest.mark.parametrize("what", [InvoicePaid, Job, 3, note])
def test_only_job_classes_and_names_can_be_hooked(exhausted: Callable[..., Subscription], what: Any) -> None:
    with pytest.raises(CatalogError, match=r"^exhausted takes a job class that is not abstract, not "):
        exhausted(what)


def test_a_misspelled_option_of_the_class_is_no_option_of_a_subscription(shop: Shop) -> None:
    with pytest.raises(TypeError, match="wehre"):
        shop.on(wehre={"currency": "EUR"})
    with pytest.raises(UnknownOption):

        class Paid(Event[Billing], where={}):  # type: ignore[arg-type]
            n: int
