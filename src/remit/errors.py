"""Every error that remit raises. Each has a stable `code` and a one-sentence text that names the remedy.

The texts are part of the interface, and tests compare them. Outcomes of a run (skip, snooze …) are not errors and are
defined in the runtime.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


def nearest(word: str, options: Iterable[str]) -> str:
    """Return `" Did you mean 'timeout'?"`, or an empty string if no option is similar.

    For two names in one domain only the part after the domain is compared: the part before it is the same.
    """
    domain, dot, _ = word.rpartition(".")
    words = [str(option) for option in options]  # an enum's member reads as its word
    inside = {each.removeprefix(domain + dot): each for each in words if dot and each.startswith(domain + dot)}
    outside = {each: each for each in words if each not in inside.values()}
    for near, known in ((word.removeprefix(domain + dot), inside), (word, outside)):
        if matches := get_close_matches(near, known, n=3, cutoff=0.6):
            best = max(matches, key=lambda match: match[:3] == near[:3])  # of several, one that begins alike
            return f" Did you mean {known[best]!r}?"
    return ""


class RemitError(Exception):
    """The root: `except RemitError` catches all that remit raises on purpose, and nothing else."""

    code: ClassVar[str] = "remit-error"
    """Stable, in kebab-case: logs, metrics and the documentation refer to it."""


class CatalogError(RemitError):
    """A declaration is wrong: raised while modules are imported or the application is composed."""

    code = "catalog-error"


class UnknownOption(CatalogError, TypeError):
    """A keyword, or a key of the configuration, that remit does not know; the text names the nearest."""

    code = "unknown-option"


class NotAMessage(CatalogError, TypeError):
    """Something other than an instance of a declared message was sent."""

    code = "not-a-message"


class DuplicateName(CatalogError):
    """Two declarations claim one name or alias: names are how stored work finds its code."""

    code = "duplicate-name"


class DuplicateHandler(CatalogError):
    """A second handler for one job: a command is executed by exactly one function."""

    code = "duplicate-handler"


class MissingHandler(CatalogError):
    """A worker would start without a handler for some of the jobs that its domains own."""

    code = "missing-handler"


class HandlerShape(CatalogError, TypeError):
    """The decorated function cannot be called the way remit calls a handler."""

    code = "handler-shape"


class UnknownJob(RemitError, LookupError):
    """No domain of this application declares a job of that name."""

    code = "unknown-job"


class UnknownEvent(RemitError, LookupError):
    """No domain of this application declares an event of that name and version."""

    code = "unknown-event"


class UnknownSubscription(RemitError, LookupError):
    """There is no subscription of that name in the store."""

    code = "unknown-subscription"


class DamagedEvents(RemitError):
    """A back-fill is done, except for events that the store refuses to deliver; the text names them."""

    code = "damaged-events"


class OwnershipError(RemitError):
    """A domain used something that another domain owns: publish an event, or call an API of the owner."""

    code = "ownership"


class UnboundDomain(RemitError):
    """A domain was asked to send before it was bound to an application."""

    code = "unbound-domain"


class RunningLoop(RemitError, RuntimeError):
    """A blocking call would start an event loop where one runs already."""

    code = "running-loop"


class AlreadyBound(RemitError):
    """A domain belongs to one open application at a time; the text names both."""

    code = "already-bound"


class ConfigurationError(RemitError):
    """An option of the application, its environment or its file is wrong."""

    code = "configuration"


class MissingExtra(ConfigurationError, ImportError):
    """A feature needs an optional dependency; the text names the extra to install."""

    code = "missing-extra"


class InvalidArgument(RemitError, ValueError):
    """An invalid value: a naive datetime, a negative delay, `delay` and `at` together."""

    code = "invalid-argument"


class PayloadError(RemitError, ValueError):
    """A message does not survive the round trip through JSON; the text names the message and the field."""

    code = "payload"


class PayloadTooLarge(PayloadError):
    """The encoded message is over its limit: a payload carries ids and storage keys, not the objects themselves."""

    code = "payload-too-large"


class UndecodablePayload(PayloadError):
    """A stored payload does not fit the current declaration of the message."""

    code = "undecodable-payload"


class IdTaken(RemitError):
    """The `id=` of a message is already the id of a message of another name; this one was not written."""

    code = "id-taken"

    def __init__(self, id: str, stored: str, refused: str) -> None:
        """`stored` is the name of the message that has the id, `refused` that of the message that was not written."""
        super().__init__(
            f"{id} is the id of {stored} already, and {refused} was not written: derive the id from the name of the "
            "message too, so that two messages about one thing have two ids"
        )
        self.id, self.stored, self.refused = id, stored, refused

    def __reduce__(self) -> tuple[type[IdTaken], tuple[str, str, str]]:
        return IdTaken, (self.id, self.stored, self.refused)


class TooManyHops(RemitError):
    """A run would continue a chain of events that is too long, probably a loop: its message was not sent."""

    code = "too-many-hops"


class JobNotFound(RemitError, LookupError):
    """No job has that id: it never existed, its transaction was rolled back, or it was pruned."""

    code = "job-not-found"


class EventNotFound(RemitError, LookupError):
    """No event has that id: it never existed, its transaction was rolled back, or it was purged."""

    code = "event-not-found"


class LeaseLost(RemitError):
    """This run no longer holds its job: another worker holds it, so its writes cannot be committed."""

    code = "lease-lost"


class TransactionError(RemitError):
    """The handle given as `tx` cannot be used."""

    code = "transaction"


class ForeignTransaction(TransactionError):
    """The transaction is open on another database than the one that holds this application's jobs."""

    code = "foreign-transaction"


class ClosedTransaction(TransactionError):
    """The transaction has ended, or its connection is closed."""

    code = "closed-transaction"


class AutocommitTransaction(TransactionError):
    """The handle is outside a transaction, so the send would be committed at once: begin one, or leave `tx` out."""

    code = "autocommit-transaction"


class TransactionRequired(TransactionError):
    """The application was created with `require_tx=True`, and a message was sent outside a transaction."""

    code = "transaction-required"


class UnsupportedHandle(TransactionError, TypeError):
    """remit cannot execute on a handle of this type."""

    code = "unsupported-handle"


class StoreError(RemitError):
    """The database refused an operation, or it failed; the driver's error is the cause."""

    code = "store"


class StoreUnavailable(StoreError):
    """The database cannot be reached at the moment."""

    code = "store-unavailable"


class StoreBusy(StoreError):
    """The database was reached, but other clients kept it busy for longer than remit waits."""

    code = "store-busy"


class WrongSchema(StoreError):
    """The store's schema does not match this release; the text names the command to run."""

    code = "wrong-schema"


class InvalidTransition(RemitError):
    """The state of the job or the run does not permit the operation."""

    code = "invalid-transition"
