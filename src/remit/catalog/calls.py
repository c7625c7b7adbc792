"""One enqueue: the options of a call, checked and made into a request that a store can write.

Pure: no clock, no ids, no I/O. A delay stays a delay until the store adds its own time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast
from urllib.parse import urlsplit

from msgspec import Struct
from typing_extensions import TypedDict

from remit.catalog.backoff import DeclaredBackoff, Exponential, Fixed
from remit.catalog.ids import AnyId, id_text
from remit.catalog.policies import FOREVER, Policy, check_attempts, check_priority
from remit.catalog.quantities import Duration, in_seconds, in_seconds_or_forever
from remit.catalog.specs import EventSpec, JobSpec, Message
from remit.codec import encode
from remit.errors import InvalidArgument, NotAMessage, UnknownOption, nearest

LONGEST_LABEL: Final = 200
LONGEST_URL: Final = 2_000
_REQUESTER: Final = ("name", "role", "email")


class EnqueueOptions(TypedDict, total=False, closed=True):  # closed: else ty lets a misspelled option pass
    """The options of a call for its job. All are optional; None has no effect.

    They override all defaults: call, job, queue, domain, application. Durations are seconds or timedeltas.
    """

    delay: Duration | None
    """The delay until the job is due; default 0. Not together with `at`."""

    at: datetime | None
    """The time at which the job is due: an aware datetime; a past one means now. Not together with `delay`."""

    priority: int | None
    """From -32,768 to 32,767, the lower first; it orders the jobs of one line."""

    attempts: int | None
    """The total number of attempts, including the first."""

    backoff: DeclaredBackoff | None
    """`exponential(…)` or `fixed(…)`, stored with the job; a function cannot be stored: declare it on the class."""

    timeout: Duration | None
    """The longest duration of one run, `math.inf` for no limit; stored with the job."""

    expires: Duration | datetime | None
    """How long after it is due, or until when, the first run may start; later the job is cancelled. Retries do not
    expire."""

    keep: Duration | None
    """How long the job is kept after it has completed."""

    label: str | None
    """A label for this job in lists, 200 characters at most."""

    requested_by: str | Mapping[str, str] | None
    """The person who requested it: a name, or any of `name`, `role` and `email`."""

    attachment: str | None
    """The http(s) address of the result or the subject of the job."""

    id: AnyId | None
    """The job's own id, a UUID that the caller derives from the job's name and its subject. A second job with the same
    id is a duplicate, for as long as the first one is kept. `IdTaken` if a job of another name has the id. For one
    job, not for several."""


class EnqueueRequest(Struct, frozen=True, kw_only=True):
    """One job as a store writes it. None means not given, or without a limit.

    The job is due at `at`, or else `delay` seconds after the store's own time. `expires` is an instant, or seconds
    after the job is due. Instants are in UTC. `backoff`, `timeout` and `keep` are set only if the call overrides the
    policy; `attempts` and `priority` are resolved. `requested_by` and `scope` are the JSON texts of objects.
    """

    spec: JobSpec
    payload: str
    priority: int
    attempts: int
    delay: float = 0.0
    at: datetime | None = None
    backoff: str | None = None
    timeout: float | None = None
    expires: float | datetime | None = None
    keep: float | None = None
    label: str | None = None
    requested_by: str | None = None
    attachment: str | None = None
    id: str | None = None
    scope: str | None = None


def spec_of(message: object) -> JobSpec:
    """Return the spec of a job that can be enqueued. Raises `NotAMessage`."""
    spec = getattr(type(message), "__remit__", None)
    if isinstance(message, Message) and isinstance(spec, JobSpec):
        return spec
    if isinstance(message, Message) and isinstance(spec, EventSpec):
        raise NotAMessage(
            f"{type(message).__qualname__} is an event, which is published, not enqueued: "
            f"{spec.domain.__remit__.name}.publish({type(message).__qualname__}(…))."
        )
    raise refusal_of(message, "a job", "Job")


def refusal_of(message: object, kind: str, form: str) -> NotAMessage:
    """Return the error for an object that cannot be sent as a message of that kind."""
    if isinstance(message, type) and issubclass(message, Message):
        return NotAMessage(f"{message.__qualname__} is a class; send an instance of it: {message.__qualname__}(…).")
    if isinstance(message, Message):
        return NotAMessage(f"{type(message).__qualname__} is abstract; send an instance of a class derived from it.")
    return NotAMessage(
        f"A `{type(message).__qualname__}` is not {kind}; send an instance of a class derived from {form}[YourDomain]."
    )


def prepare(
    spec: JobSpec, message: Message[Any], options: EnqueueOptions, policy: Policy, scope: str | None = None
) -> EnqueueRequest:
    """Check one enqueue and make it a request. `scope` is the result of `scope_text` for the message.

    Raises `InvalidArgument`, `UnknownOption`, `PayloadError` and `PayloadTooLarge`; the text names the job.
    """
    payload = spec.codec.dump(message, limit=policy.max_payload)
    if not options and policy.expires is None:
        return EnqueueRequest(
            spec=spec, payload=payload, priority=policy.priority, attempts=policy.attempts, keep=spec.keep, scope=scope
        )
    try:
        return _with_options(spec, payload, options, policy, scope)
    except InvalidArgument as error:
        raise InvalidArgument(f"{spec.name}: {error}") from error


def _with_options(
    spec: JobSpec, payload: str, options: EnqueueOptions, policy: Policy, scope: str | None
) -> EnqueueRequest:
    refuse_unknown_options("enqueue", options, EnqueueOptions)
    given = cast("EnqueueOptions", {name: value for name, value in options.items() if value is not None})
    at, delay = given.get("at"), given.get("delay")
    if at is not None and delay is not None:
        raise InvalidArgument("delay and at both set the due time; pass one of them.")
    priority, attempts = given.get("priority"), given.get("attempts")
    backoff, keep = given.get("backoff"), given.get("keep")
    expires = _expiry(given.get("expires"), at)
    return EnqueueRequest(
        spec=spec,
        payload=payload,
        priority=policy.priority if priority is None else check_priority(priority),
        attempts=policy.attempts if attempts is None else check_attempts(attempts),
        delay=0.0 if delay is None else in_seconds("delay", delay),
        at=None if at is None else instant("at", at),
        backoff=None if backoff is None else _declared(backoff).dump(),
        timeout=_timeout(given.get("timeout")),
        expires=policy.expires if expires is None else expires,
        keep=spec.keep if keep is None else in_seconds("keep", keep),
        label=_text("label", given.get("label"), LONGEST_LABEL),
        requested_by=_requester(given.get("requested_by")),
        attachment=_address(given.get("attachment")),
        id=uuid_text(given.get("id")),
        scope=scope,
    )


def refuse_unknown_options(verb: str, options: Mapping[str, object], declared: type) -> None:
    """Refuse unknown options of a method. Raises `UnknownOption`, naming the nearest."""
    known = declared.__annotations__
    for option in options:
        if option not in known:
            raise UnknownOption(
                f"{verb} has no option {option!r}.{nearest(option, known)} The options are {', '.join(known)}."
            )


def instant(what: str, given: object) -> datetime:
    """Return an aware datetime in UTC. Raises `InvalidArgument`."""
    if not isinstance(given, datetime):
        raise InvalidArgument(f"{what} must be a datetime, not {given!r}.")
    if given.utcoffset() is None:
        raise InvalidArgument(f"{what} is a datetime without a time zone; add one, as in datetime.now(UTC).")
    try:
        return given.astimezone(UTC)
    except OverflowError as error:
        raise InvalidArgument(f"{what} is out of range in UTC: {given!r}.") from error


def _expiry(expires: Duration | datetime | None, at: datetime | None) -> float | datetime | None:
    if expires is None:
        return None
    if not isinstance(expires, datetime):
        return in_seconds("expires", expires)
    deadline = instant("expires", expires)
    if at is not None and deadline <= instant("at", at):
        raise InvalidArgument("expires is not after at, so the job could never start.")
    return deadline


def _timeout(timeout: Duration | None) -> float | None:
    if timeout is None:
        return None
    seconds = in_seconds_or_forever("timeout", timeout)
    return FOREVER if seconds is None else seconds


def _declared(backoff: object) -> DeclaredBackoff:
    if isinstance(backoff, Exponential | Fixed):
        return backoff
    raise InvalidArgument(
        f"backoff for one call must be exponential(…) or fixed(…), which are stored with the job, not {backoff!r}; "
        "declare a function on the job class, in Retry(backoff=…)."
    )


def _text(what: str, text: object, longest: int) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str) or not text:
        raise InvalidArgument(f"{what} must be text, not {text!r}.")
    if len(text) > longest:
        raise InvalidArgument(f"{what} has {len(text):,} characters, over the limit of {longest:,}.")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidArgument(f"{what} holds a NUL or half of a surrogate pair, which no database stores.")
    return text


def _requester(requested_by: object) -> str | None:
    if requested_by is None:
        return None
    who: Mapping[str, object] = {"name": requested_by} if isinstance(requested_by, str) else _mapping(requested_by)
    for key, value in who.items():
        if key not in _REQUESTER:
            raise InvalidArgument(
                f"requested_by has no part {key!r}.{nearest(key, _REQUESTER)} Its parts are {', '.join(_REQUESTER)}."
            )
        _text(f"requested_by[{key!r}]", value, LONGEST_LABEL)
    return encode(dict(who))


def _mapping(value: object) -> Mapping[str, object]:
    if isinstance(value, Mapping) and value:
        return cast("Mapping[str, object]", value)
    raise InvalidArgument(f"requested_by must be a name, or a mapping of {', '.join(_REQUESTER)}, not {value!r}.")


def uuid_text(id: object, what: str = "id") -> str | None:
    """Return a UUID as text. Raises `InvalidArgument`."""
    if id is None:
        return None
    text = id_text(id)
    if text is None:
        raise InvalidArgument(f"{what} must be a UUID, for example uuid5(NAMESPACE, order_number), not {id!r}.")
    return text


def _address(attachment: object) -> str | None:
    address = _text("attachment", attachment, LONGEST_URL)
    if address is None:
        return None
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise InvalidArgument(f"attachment {address!r} is not an address: {error}.") from error
    if parts.scheme not in {"http", "https"} or not parts.netloc:  # it becomes a link: javascript: must not
        raise InvalidArgument(f"attachment must be an http(s) address, not {address!r}.")
    return address
