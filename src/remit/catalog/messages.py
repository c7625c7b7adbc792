"""The declaration of a job class: its owner in the type, its options as class keywords, its fields as annotations."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Generic, Never, TypeVar, cast, get_args, get_origin

from typing_extensions import get_original_bases

from remit.catalog.fields import UnresolvedField, check_specifiers
from remit.catalog.names import check_full, check_segment, kebab, path_of
from remit.catalog.policies import Defaults, Keep, Retry
from remit.catalog.quantities import Duration, flag, whole
from remit.catalog.specs import D, DomainSpec, JobSpec, Message, Queue
from remit.errors import CatalogError, OwnershipError, UnknownOption, nearest


class Job(Message[D]):
    """A command: "do this later". Subclass it as `Job[YourDomain]` and annotate its fields.

    The class becomes a frozen, keyword-only dataclass: a plain value, which needs no database. Fields may be of any
    type that survives a round trip through JSON: text, numbers, dates, UUIDs, Decimals, enums, dataclasses, msgspec
    structs, pydantic models, and collections of these. Prefer ids and storage keys to the objects themselves.

    Class keywords, all optional:

    - `name`: the full name that is stored with each job; by default the domain and the class in kebab-case.
    - `version`: a whole number (default 1); a worker runs only the versions that it knows.
    - `aliases`: previous full names of the job, whose stored jobs it still runs.
    - `queue`: a queue of the same domain; by default `<domain>.default`.
    - `retry`, `timeout`, `priority`, `keep`, `expires`, `max_payload`: see `Defaults`. Durations are seconds or
      timedeltas.
    - `unscoped`: the reason why it carries no scope keys, if the application requires them.
    - `abstract`: True for a class that only others inherit from; messages that are not abstract are final.

    Raises `CatalogError` and its subclasses, `InvalidArgument` and `OwnershipError` where the class is defined.

        class SyncInvoice(Job[Billing], queue=invoices, retry=Retry(attempts=5), timeout=30):
            invoice_id: str
    """

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        aliases: tuple[str, ...] = (),
        queue: Queue[Any] | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        priority: int | None = None,
        keep: Keep | None = None,
        expires: Duration | None = None,
        max_payload: int | None = None,
        unscoped: str | None = None,
        abstract: bool = False,
        **unknown: Never,  # a type error for checkers; at run time, an error that names the nearest
    ) -> None:
        super().__init_subclass__()
        refuse_unknown(cls, unknown, Job.__init_subclass__)
        make_message(cls)
        if flag("abstract", abstract):
            return
        domain = owner_of(cls)
        defaults = Defaults(
            retry=retry, timeout=timeout, priority=priority, keep=keep, expires=expires, max_payload=max_payload
        )
        check_keep(cls.__qualname__, defaults.keep)
        spec = JobSpec(
            message=cls,
            domain=domain.owner,
            name=name_of(cls, name, domain),
            version=whole("version", version, 1, 32_767),
            aliases=aliases_of(cls, aliases),
            unscoped=check_reason(f"The unscoped= of {cls.__qualname__}", unscoped),
            stated_queue=_queue_of(cls, queue, domain),
            defaults=defaults,
        )
        with suppress(UnresolvedField):  # perhaps defined further down; the application resolves it
            spec.resolve()
        domain.add_job(spec)
        cls.__remit__ = spec


def make_message(cls: type[Message[Any]]) -> None:
    """Turn a class body into a frozen, keyword-only dataclass. Raises `CatalogError`."""
    if len([each for each in cls.__mro__ if Message in each.__bases__]) > 1:
        raise CatalogError(f"{cls.__qualname__} is a job and an event; a message is one of them.")
    for base in cls.__bases__:
        if base is Generic or (issubclass(base, Message) and "__remit__" not in vars(base)):
            continue
        if issubclass(base, Message):
            raise CatalogError(
                f"{cls.__qualname__} inherits from {base.__qualname__}, which is a message itself; put their common "
                "fields into a class with abstract=True."
            )
        raise CatalogError(
            f"{cls.__qualname__} mixes in {base.__qualname__}, whose fields would be lost; make it an abstract "
            f"message: `class {base.__qualname__}({_form(cls)}[D], abstract=True)`."
        )
    if "__init__" in vars(cls):
        raise CatalogError(f"{cls.__qualname__} has an __init__, which stored payloads bypass; use __post_init__.")
    try:
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    except (TypeError, ValueError) as error:  # a mutable default, above all
        raise CatalogError(f"{cls.__qualname__} cannot be a message: {error}.") from error
    if "__remit__" in vars(cls) or "__remit__" in {each.name for each in dataclasses.fields(cast("Any", cls))}:
        raise CatalogError(f"{cls.__qualname__} has a field `__remit__`, which is remit's own; give it another name.")
    check_specifiers(cls)


def owner_of(cls: type[Message[Any]]) -> DomainSpec:
    """Read the domain off the bases: the `Billing` in `Job[Billing]`. Raises `CatalogError`."""
    owner = _owner_argument(cls)
    spec = vars(owner).get("__remit__") if isinstance(owner, type) else None
    if isinstance(spec, DomainSpec) and not getattr(cls, "__parameters__", ()):
        return spec
    raise CatalogError(
        f"{cls.__qualname__} does not declare its owner; inherit from {_form(cls)}[YourDomain] with a class "
        "that is defined at run time, or add abstract=True."
    )


def _form(cls: type) -> str:
    """Return the name of the kind of a message, as in declarations: `Job`, `Event`."""
    return next((each.__name__ for each in reversed(cls.__mro__) if Message in each.__bases__), "Job")


def check_reason(what: str, reason: object) -> str | None:
    """Return the reason for an exception, or None. Raises `CatalogError` for anything but meaningful text."""
    if reason is None or (isinstance(reason, str) and reason.strip()):
        return reason
    raise CatalogError(f"{what} must be a reason, as text, not {reason!r}.")


def refuse_unknown(cls: type, unknown: Mapping[str, object], declared: Callable[..., None]) -> None:
    """Refuse unknown keywords of a class definition. Raises `UnknownOption`, naming the nearest."""
    known = [each.name for each in inspect.signature(declared).parameters.values() if each.kind is each.KEYWORD_ONLY]
    for option in unknown:
        raise UnknownOption(
            f"{path_of(cls)} has an unknown option {option!r}.{nearest(option, known)} The options are "
            f"{', '.join(known)}."
        )


def _owner_argument(cls: type) -> object:
    """Follow `D` down the bases: through abstract messages, whatever the name of their type variable."""
    for base in get_original_bases(cls):
        origin = get_origin(base) or base
        if not isinstance(origin, type) or not issubclass(origin, Message):
            continue
        arguments = get_args(base)
        if origin is Message:
            return arguments[0] if arguments else None
        inherited = _owner_argument(origin)
        if not isinstance(inherited, TypeVar):
            return inherited
        parameters: tuple[object, ...] = getattr(origin, "__parameters__", ())
        return arguments[parameters.index(inherited)] if arguments else inherited
    return None


def name_of(cls: type, name: str | None, domain: DomainSpec) -> str:
    if name is not None:
        return check_full(f"The name= of {cls.__qualname__},", name)
    derived = check_segment(f"The name derived from {cls.__qualname__},", kebab(cls.__name__))
    return f"{domain.name}.{derived}"


def aliases_of(cls: type, aliases: object) -> tuple[str, ...]:
    if not isinstance(aliases, tuple | list):
        raise CatalogError(f"The aliases= of {cls.__qualname__} must be a tuple of full names, not {aliases!r}.")
    return tuple(check_full(f"An alias of {cls.__qualname__},", alias) for alias in aliases)


def _queue_of(cls: type, queue: object, domain: DomainSpec) -> Queue[Any] | None:
    if queue is None:
        return None
    if not isinstance(queue, Queue):
        raise CatalogError(
            f"The queue= of {cls.__qualname__} must be what {domain.name}.queue(…) returned, not {queue!r}."
        )
    if queue.domain is not domain.owner:
        raise OwnershipError(
            f"{cls.__qualname__} belongs to {domain.name}, and {queue.name} to another domain; declare a queue with "
            f"{domain.name}.queue(…)."
        )
    return queue


def check_keep(what: str, keep: Keep | None) -> None:
    """Refuse parts of `Keep` that apply to a whole queue. Raises `CatalogError`."""
    if keep is not None and keep.count is not None:
        raise CatalogError(f"{what} has Keep(count=…), which counts a whole queue; set it on the queue.")
    if keep is not None and keep.dead_age is not None:
        raise CatalogError(f"{what} has Keep(dead_age=…), which applies to a whole queue; set it there.")
