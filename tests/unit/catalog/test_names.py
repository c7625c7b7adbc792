"""Names are derived, checked, and hashed into lines."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.catalog.names import check_full, check_segment, delivery_line, kebab, lane, line
from remit.errors import CatalogError

SEGMENT = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
names = st.text("ab.-", max_size=4)
keys = st.tuples(names, names, st.integers(1, 12))
words = st.from_regex(r"[A-Z][a-z0-9]{0,6}", fullmatch=True)


@pytest.mark.parametrize(
    "class_name, name",
    [
        ("SyncInvoice", "sync-invoice"),
        ("HTTPCall", "http-call"),
        ("CallHTTP", "call-http"),
        ("S3Upload", "s3-upload"),
        ("Billing", "billing"),
        ("Sync_Invoice", "sync-invoice"),
        ("sync_invoice", "sync-invoice"),
        ("_Private", "private"),
        ("A", "a"),
        ("ABTest2", "ab-test2"),
    ],
)
def test_a_class_name_becomes_kebab_case(class_name: str, name: str) -> None:
    assert kebab(class_name) == name


@given(st.lists(words, min_size=1, max_size=5))
def test_words_stay_words(parts: list[str]) -> None:
    name = kebab("".join(parts))
    assert SEGMENT.fullmatch(name)
    assert name.replace("-", "") == "".join(parts).lower()


@given(st.lists(words, min_size=1, max_size=5))
def test_kebab_case_is_left_alone(parts: list[str]) -> None:
    name = "-".join(parts).lower()
    assert kebab(name) == name
    assert check_segment("x", name) == name


@pytest.mark.parametrize(
    "name", ["", "Billing", "billing_2", "2billing", "-a", "a-", "a--b", "a.b", "ä", "a\n", "x" * 121]
)
def test_a_segment_that_is_not_kebab_case_is_refused(name: str) -> None:
    with pytest.raises(CatalogError, match=r"is not lower-kebab-case in ASCII"):
        check_segment("The queue's name", name)


def test_the_refusal_suggests_a_name() -> None:
    with pytest.raises(CatalogError) as refused:
        check_segment("The queue's name", "Slow Jobs")
    assert str(refused.value) == (
        "The queue's name 'Slow Jobs' is not lower-kebab-case in ASCII, as 'slow-jobs' is; pass another name=."
    )


def test_a_whole_name_has_two_parts_or_more() -> None:
    assert check_full("x", "invoice.paid") == "invoice.paid"
    assert check_full("x", "shop.invoice.paid-late") == "shop.invoice.paid-late"
    with pytest.raises(CatalogError) as refused:
        check_full("The name= of Paid,", "paid")
    assert str(refused.value) == (
        "The name= of Paid, 'paid' is not a full name; write it with its domain, as in 'billing.paid'."
    )


@pytest.mark.parametrize("name", ["a.", ".a", "a..b", "A.b", "a.b c", "a." + "b" * 120])
def test_a_whole_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(CatalogError, match=r"is not of the form domain\.lower-kebab-case"):
        check_full("An alias of X,", name)


@pytest.mark.parametrize(
    "queue, name, version, number",
    [
        ("billing.default", "billing.sync-invoice", 1, 1020469270324657687),
        ("billing.default", "billing.sync-invoice", 2, -6338841460893785587),
        ("billing.invoices", "billing.sync-invoice", 1, -4237491443633829196),
    ],
)
def test_a_line_never_changes_its_number(queue: str, name: str, version: int, number: int) -> None:
    assert line(queue, name, version) == number


@given(keys, keys)
def test_lines_are_signed_64_bit_and_told_apart(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    assert -(2**63) <= line(*one) < 2**63
    assert (line(*one) == line(*other)) == (one == other)


@pytest.mark.parametrize(
    "queue, name, number",
    [
        ("catalog.default", "catalog.unlock-downloads", -1679489857886126080),
        ("catalog.slow", "catalog.unlock-downloads", -6408768038249431040),
        ("catalog.default", "catalog.count", -1811568164417732608),
    ],
)
def test_the_lines_of_a_subscription_never_change_their_number(queue: str, name: str, number: int) -> None:
    assert delivery_line(queue, name) == number
    assert delivery_line(queue, name) | 1 == number + 1


@given(names, names, st.integers(1, 32_767), st.integers(1, 32_767))
def test_the_version_of_an_event_has_its_place_in_the_line_of_its_deliveries(
    queue: str, name: str, one: int, other: int
) -> None:
    base = delivery_line(queue, name)
    assert -(2**63) <= base < 2**63
    assert (base | one) - base == one
    assert (base | one) & 0x7FFF == one
    assert ((base | one) == (base | other)) == (one == other)


@given(st.tuples(names, names), st.tuples(names, names))
def test_subscriptions_are_told_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (delivery_line(*one) == delivery_line(*other)) == (one == other)


@given(keys)
def test_a_delivery_is_not_taken_for_a_job_of_the_same_name(key: tuple[str, str, int]) -> None:
    queue, name, version = key
    assert line(queue, name, version) != delivery_line(queue, name) | version


@pytest.mark.parametrize(
    "field, value, number",
    [
        ("invoice_id", '"1"', 961652962365320309),
        ("invoice_id", '"2"', 6003162870517717476),
        ("order", "1", -2196235195365685883),
        ("größe", '"ä"', 6656567736948244671),
    ],
)
def test_a_lane_never_changes_its_number(field: str, value: str, number: int) -> None:
    assert lane(field, value) == number


@given(st.tuples(names, names), st.tuples(names, names))
def test_lanes_are_signed_64_bit_and_told_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert -(2**63) <= lane(*one) < 2**63
    assert (lane(*one) == lane(*other)) == (one == other)


def test_a_key_that_is_text_is_not_the_number_that_it_spells() -> None:
    assert lane("order", "1") != lane("order", '"1"')
