"""Error texts and codes are interface."""

from __future__ import annotations

import re

import pytest

from remit import errors
from remit.errors import RemitError, nearest


def every_error() -> list[type[RemitError]]:
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, RemitError)]
    return sorted(found, key=lambda each: each.__name__)


def test_every_error_has_a_code_of_its_own_in_kebab_case() -> None:
    codes = [each.code for each in every_error()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


def test_the_codes_are_stable() -> None:
    assert {each.__name__: each.code for each in every_error()} == {
        "AlreadyBound": "already-bound",
        "RunningLoop": "running-loop",
        "AutocommitTransaction": "autocommit-transaction",
        "CatalogError": "catalog-error",
        "ClosedTransaction": "closed-transaction",
        "ConfigurationError": "configuration",
        "DamagedEvents": "damaged-events",
        "DuplicateHandler": "duplicate-handler",
        "DuplicateName": "duplicate-name",
        "EventNotFound": "event-not-found",
        "ForeignTransaction": "foreign-transaction",
        "HandlerShape": "handler-shape",
        "IdTaken": "id-taken",
        "TooManyHops": "too-many-hops",
        "InvalidArgument": "invalid-argument",
        "InvalidTransition": "invalid-transition",
        "JobNotFound": "job-not-found",
        "LeaseLost": "lease-lost",
        "MissingExtra": "missing-extra",
        "MissingHandler": "missing-handler",
        "NotAMessage": "not-a-message",
        "OwnershipError": "ownership",
        "PayloadError": "payload",
        "PayloadTooLarge": "payload-too-large",
        "RemitError": "remit-error",
        "StoreBusy": "store-busy",
        "StoreError": "store",
        "StoreUnavailable": "store-unavailable",
        "TransactionError": "transaction",
        "TransactionRequired": "transaction-required",
        "UnboundDomain": "unbound-domain",
        "UndecodablePayload": "undecodable-payload",
        "UnknownEvent": "unknown-event",
        "UnknownJob": "unknown-job",
        "UnknownOption": "unknown-option",
        "UnknownSubscription": "unknown-subscription",
        "UnsupportedHandle": "unsupported-handle",
        "WrongSchema": "wrong-schema",
    }


def test_every_error_says_in_its_docstring_when_it_is_raised() -> None:
    assert all("__doc__" in vars(each) and each.__doc__ for each in every_error())


@pytest.mark.parametrize(
    "error, builtin",
    [
        (errors.InvalidArgument, ValueError),
        (errors.PayloadError, ValueError),
        (errors.UnknownOption, TypeError),
        (errors.NotAMessage, TypeError),
        (errors.UnknownJob, LookupError),
        (errors.JobNotFound, LookupError),
        (errors.UnknownEvent, LookupError),
        (errors.UnknownSubscription, LookupError),
        (errors.EventNotFound, LookupError),
        (errors.MissingExtra, ImportError),
    ],
)
def test_an_error_is_also_the_builtin_that_it_refines(error: type[RemitError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="what to do"):
        raise error("what to do")


def test_the_nearest_option_is_suggested() -> None:
    assert nearest("timeuot", ["timeout", "retry"]) == " Did you mean 'timeout'?"
    assert nearest("retires", ["expires", "retry"]) == " Did you mean 'retry'?"


def test_names_in_a_domain_are_told_apart_by_what_stands_behind_it() -> None:
    names = ["catalog.ledger", "catalog.unlock-downloads", "billing.settle"]
    assert nearest("catalog.overdue", names) == ""
    assert nearest("catalog.legder", names) == " Did you mean 'catalog.ledger'?"
    assert nearest("biling.settle", names) == " Did you mean 'billing.settle'?"


def test_nothing_is_suggested_when_nothing_comes_close() -> None:
    assert nearest("banana", ["timeout", "retry"]) == ""
    assert nearest("banana", []) == ""
