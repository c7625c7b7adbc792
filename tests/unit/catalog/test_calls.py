"""What a call may say, checked before anything is written."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.catalog import Defaults, Domain, EnqueueRequest, Job, exponential, fixed, parse_backoff, prepare, spec_of
from remit.catalog.calls import EnqueueOptions
from remit.catalog.specs import D
from remit.errors import InvalidArgument, NotAMessage, PayloadError, PayloadTooLarge, UnknownOption


class Billing(Domain): ...


class Sync(Job[Billing], priority=3):
    n: int = 1


class Expiring(Job[Billing], expires=60, max_payload=20):
    text: str = ""


class TenantJob(Job[D], abstract=True):
    organization_id: str


SYNC = Sync.__remit__
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def request(**options: Any) -> EnqueueRequest:
    return prepare(SYNC, Sync(), EnqueueOptions(**options), SYNC.policy(Defaults()))


def test_a_plain_call_takes_everything_from_the_policy() -> None:
    assert request() == EnqueueRequest(spec=SYNC, payload='{"n":1}', priority=3, attempts=3)


def test_none_says_nothing() -> None:
    assert request(**dict.fromkeys(EnqueueOptions.__annotations__)) == request()


def test_the_call_has_the_last_word() -> None:
    made = request(
        delay=timedelta(minutes=1),
        priority=0,
        attempts=9,
        backoff=exponential(1),
        expires=30,
        timeout=timedelta(minutes=2),
        keep=timedelta(days=1),
        label="first",
        attachment="https://example.org/invoice.pdf?x=1",
    )
    assert made == EnqueueRequest(
        spec=SYNC,
        payload='{"n":1}',
        priority=0,
        attempts=9,
        delay=60.0,
        backoff=exponential(1).dump(),
        expires=30.0,
        timeout=120.0,
        keep=86_400.0,
        label="first",
        attachment="https://example.org/invoice.pdf?x=1",
    )
    assert parse_backoff(made.backoff or "") == exponential(1)


def test_instants_are_given_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    made = request(at=datetime(2026, 1, 2, 13, tzinfo=berlin), expires=datetime(2026, 1, 2, 14, tzinfo=berlin))
    assert (made.at, made.expires) == (NOON, NOON + timedelta(hours=1))
    assert made.at is not None
    assert made.at.tzinfo is UTC


def test_a_policy_that_expires_reaches_every_call() -> None:
    spec = Expiring.__remit__
    policy = spec.policy(Defaults())
    assert prepare(spec, Expiring(), {}, policy).expires == 60.0
    assert prepare(spec, Expiring(), {"delay": 3}, policy).expires == 60.0
    assert prepare(spec, Expiring(), {"expires": NOON}, policy).expires == NOON


def test_the_requester_is_a_name_or_a_mapping() -> None:
    ada = {"name": "Ada", "role": "owner", "email": "ada@example.org"}
    assert json.loads(request(requested_by="Ada").requested_by or "") == {"name": "Ada"}
    assert json.loads(request(requested_by=ada).requested_by or "") == ada


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"delay": 1, "at": NOON}, "delay and at both set the due time; pass one of them."),
        ({"delay": 0, "at": NOON}, "delay and at both set the due time; pass one of them."),
        ({"delay": -1}, "delay must be 0 seconds or more, and finite, not -1."),
        ({"delay": math.nan}, "delay must be 0 seconds or more, and finite, not nan."),
        ({"delay": "3"}, "delay must be a number of seconds or a timedelta, not '3'."),
        ({"at": datetime(2026, 1, 2)}, "at is a datetime without a time zone; add one, as in datetime.now(UTC)."),  # noqa: DTZ001
        ({"at": 3}, "at must be a datetime, not 3."),
        ({"at": datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))}, "at is out of range in UTC: "),
        ({"expires": datetime(2026, 1, 2)}, "expires is a datetime without a time zone; add one"),  # noqa: DTZ001
        ({"at": NOON, "expires": NOON}, "expires is not after at, so the job could never start."),
        ({"expires": -1}, "expires must be 0 seconds or more, and finite, not -1."),
        ({"priority": 2**15}, "priority must be a whole number from -32,768 to 32,767, not 32768."),
        ({"priority": True}, "priority must be a whole number from -32,768 to 32,767, not True."),
        ({"attempts": 0}, "attempts must be a whole number from 1 to 1,000,000, not 0."),
        (
            {"backoff": len},
            "backoff for one call must be exponential(…) or fixed(…), which are stored with the job, not <built-in",
        ),
        ({"timeout": 0}, "timeout must be over 0 seconds, or math.inf for no limit, not 0."),
        ({"keep": math.inf}, "keep must be 0 seconds or more, and finite, not inf."),
        ({"label": ""}, "label must be text, not ''."),
        ({"label": 3}, "label must be text, not 3."),
        ({"label": "x" * 201}, "label has 201 characters, over the limit of 200."),
        ({"label": "a\0b"}, "label holds a NUL or half of a surrogate pair, which no database stores."),
        ({"label": "\ud800"}, "label holds a NUL or half of a surrogate pair, which no database stores."),
        ({"requested_by": 3}, "requested_by must be a name, or a mapping of name, role, email, not 3."),
        ({"requested_by": {}}, "requested_by must be a name, or a mapping of name, role, email, not {}."),
        (
            {"requested_by": {"emial": "a"}},
            "requested_by has no part 'emial'. Did you mean 'email'? Its parts are name, role, email.",
        ),
        ({"requested_by": {"name": 3}}, "requested_by['name'] must be text, not 3."),
        ({"attachment": "javascript:alert(1)"}, "attachment must be an http(s) address, not 'javascript:alert(1)'."),
        ({"attachment": "https:"}, "attachment must be an http(s) address, not 'https:'."),
        ({"attachment": "http://[x"}, "attachment 'http://[x' is not an address: Invalid IPv6 URL."),
        ({"id": "order-7"}, "id must be a UUID, for example uuid5(NAMESPACE, order_number), not 'order-7'."),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_the_name_of_the_job(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        request(**options)
    assert str(refused.value).startswith(f"billing.sync: {reason}")


@pytest.mark.parametrize("value", [3, None])
def test_a_misspelled_option_is_named_with_the_nearest(value: Any) -> None:
    with pytest.raises(UnknownOption) as refused:
        request(dealy=value)
    assert str(refused.value) == (
        "enqueue has no option 'dealy'. Did you mean 'delay'? The options are delay, at, priority, attempts, backoff, "
        "timeout, expires, keep, label, requested_by, attachment, id."
    )


def test_a_message_that_would_not_come_back_is_refused() -> None:
    with pytest.raises(PayloadError, match=r"^billing\.sync: field `n`: Expected `int`, got `str`"):
        prepare(SYNC, Sync(n="1"), {}, SYNC.policy(Defaults()))  # type: ignore[arg-type]


def test_the_limit_is_the_policy_s() -> None:
    spec = Expiring.__remit__
    with pytest.raises(PayloadTooLarge, match=r"^billing\.expiring: the payload has 21 bytes, over the limit of 20"):
        prepare(spec, Expiring(text="x" * 10), {}, spec.policy(Defaults(max_payload=1000)))


@given(st.floats(0, 1e9), st.integers(-(2**15), 2**15 - 1), st.integers(1, 10**6), st.text(min_size=1, max_size=9))
def test_every_valid_option_arrives(delay: float, priority: int, attempts: int, label: str) -> None:
    label = label.replace("\0", "0")
    made = request(delay=delay, priority=priority, attempts=attempts, label=label, backoff=fixed(delay))
    assert (made.delay, made.priority, made.attempts, made.label) == (delay, priority, attempts, label)
    assert parse_backoff(made.backoff or "") == fixed(delay)


@pytest.mark.parametrize(
    "message, reason",
    [
        (3, "A `int` is not a job; send an instance of a class derived from Job[YourDomain]."),
        ({"n": 1}, "A `dict` is not a job; send an instance of a class derived from Job[YourDomain]."),
        (Sync, "Sync is a class; send an instance of it: Sync(…)."),
        (TenantJob(organization_id="o"), "TenantJob is abstract; send an instance of a class derived from it."),
        (Billing, "A `type` is not a job; send an instance of a class derived from Job[YourDomain]."),
    ],
)
def test_what_is_no_message_is_refused(message: object, reason: str) -> None:
    with pytest.raises(NotAMessage) as refused:
        spec_of(message)
    assert str(refused.value) == reason


def test_a_message_knows_its_spec() -> None:
    assert spec_of(Sync()) is SYNC
