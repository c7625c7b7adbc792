"""The values that declarations produce: domains, queues and messages, readable by every layer above.

The classes that users write (`Domain`, `Job`, `Event`) are in higher modules and fill these in; each carries its spec
in the one reserved attribute `__remit__`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final, Generic, Literal, TypeAlias, dataclass_transform

from typing_extensions import TypeVar

from remit.catalog.contexts import ContextFactory
from remit.catalog.fields import check_fields
from remit.catalog.handlers import Handler
from remit.catalog.names import check_segment, line, path_of
from remit.catalog.policies import FOREVER, Defaults, Keep, Policy, resolve
from remit.catalog.quantities import flag, in_seconds_or_forever, whole
from remit.catalog.versions import Versions
from remit.codec import Codec
from remit.errors import CatalogError, DuplicateHandler, DuplicateName

C = TypeVar("C", default=object)
D = TypeVar("D", bound="Owner[Any]")  # invariant and without a default: else ty misses foreign messages
DEFAULT_QUEUE: Final = "default"


class Owner(Generic[C]):
    """The possible owner of a message. `Domain` is its public subclass; `C` is the type of its handlers' context."""

    __remit__: ClassVar[DomainSpec]

    def __context_type__(self) -> C:
        """Carry `C` for type checkers, which see a phantom type in no other way."""
        raise NotImplementedError


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
class Message(Generic[D]):
    """A typed, immutable payload that belongs to one domain: a job or an event."""

    __remit__: ClassVar[MessageSpec]


@dataclass(frozen=True, eq=False)
class Queue(Generic[D]):
    """A named line of work. Made by `Domain.queue`, which documents the numbers; several jobs may share one."""

    name: str
    domain: type[Owner[Any]]
    concurrency: int
    defaults: Defaults
    lifo: bool = False

    def __repr__(self) -> str:
        return f"<Queue {self.name}>"


@dataclass(frozen=True, eq=False, kw_only=True)
class MessageSpec:
    """The declaration of one message class, of any kind.

    `name` and `aliases` are full names: all names that stored messages may have. `unscoped` is the reason why the
    message carries no scope keys, if there is one.
    """

    kind: ClassVar[str] = "message"

    message: type[Message[Any]]
    domain: type[Owner[Any]]
    name: str
    version: int
    aliases: tuple[str, ...]
    unscoped: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases."""
        return (self.name, *self.aliases)

    @cached_property
    def codec(self) -> Codec[Message[Any]]:
        """Writes and reads its payloads. Raises `CatalogError` while the types of its fields cannot be resolved."""
        check_fields(self.message)
        return Codec(self.message, self.name)

    @property
    def path(self) -> str:
        """`module:Class`, where it was declared."""
        return path_of(self.message)

    def resolve(self) -> None:
        """Resolve the types of the fields, which may be defined later. Raises `CatalogError`."""
        _ = self.codec

    def __repr__(self) -> str:
        return f"<{self.kind.capitalize()} {self.name} v{self.version}>"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class JobSpec(MessageSpec):
    """The declaration of one job class.

    `stated_queue` is the queue that the class names, `queue` the one that its jobs go to. `defaults` is the policy
    that the class sets.
    """

    kind: ClassVar[str] = "job"

    stated_queue: Queue[Any] | None
    defaults: Defaults

    @property
    def queue(self) -> Queue[Any]:
        """The queue that it goes to: the stated one, or its domain's default."""
        return self.stated_queue or self.domain.__remit__.default_queue

    @property
    def line(self) -> int:
        """The number of the line in which it waits under its own name."""
        return line(self.queue.name, self.name, self.version)

    @cached_property
    def keep(self) -> float | None:
        """Seconds for which the class keeps its completed jobs; the policy of a queue is read when it is pruned."""
        return _seconds_kept(self.defaults.keep)

    def policy(self, application: Defaults) -> Policy:
        """Resolve the policy; the nearest level wins: job, queue, domain, application."""
        return resolve(self.defaults, self.queue.defaults, self.domain.__remit__.defaults, application)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class EventSpec(MessageSpec):
    """The declaration of one event class; see `Event`."""

    kind: ClassVar[str] = "event"

    ordered_by: str | None
    audit_only: bool
    fact: bool
    keep: float | None
    max_payload: int | None

    def limit(self, application: Defaults) -> int:
        """The largest payload in bytes: event, domain, application."""
        own = Defaults(max_payload=self.max_payload)
        return resolve(own, self.domain.__remit__.defaults, application).max_payload

    def kept(self, application: float) -> float:
        """The number of seconds that it stays after its last delivery has ended: event, application."""
        return application if self.keep is None else self.keep


DeadHead: TypeAlias = Literal["block", "pass"]
"""The behaviour of an ordered subscription behind a dead delivery: wait for a person, or continue with the next."""


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Subscription:
    """The reaction of one domain to one version of an event: its deliveries are jobs of this domain, under the
    subscription's name. The versions of one subscription differ only in event, handler and condition.

    `Domain.on` documents the options. `name` and `aliases` are full names. `condition` maps fields of the event to the
    JSON texts that each may have; `condition_call` is called by the worker instead, before the handler. `inline` is
    the reason why its handler does the work itself, if there is one.
    """

    kind: ClassVar[str] = "subscription"

    name: str
    aliases: tuple[str, ...]
    event: EventSpec
    domain: type[Owner[Any]]
    handler: Handler
    stated_queue: Queue[Any] | None
    defaults: Defaults
    condition: Mapping[str, tuple[str, ...]] | None
    condition_call: Callable[[Any], bool] | None
    ordered_by: str | None
    on_dead: DeadHead
    stale_after: float
    inline: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases: all names that stored deliveries may have."""
        return (self.name, *self.aliases)

    @property
    def version(self) -> int:
        """The version of the event that the handler takes."""
        return self.event.version

    @property
    def queue(self) -> Queue[Any]:
        """The queue that its deliveries go to: the stated one, or its domain's default."""
        return self.stated_queue or self.domain.__remit__.default_queue

    @property
    def codec(self) -> Codec[Message[Any]]:
        """Reads the payloads of the event."""
        return self.event.codec

    @property
    def path(self) -> str:
        """`module:Class` of the event."""
        return self.event.path

    @property
    def keep(self) -> float | None:
        """Seconds for which its completed deliveries are kept, if it sets them."""
        return _seconds_kept(self.defaults.keep)

    def policy(self, application: Defaults) -> Policy:
        """Resolve the policy; the nearest level wins: subscription, queue, domain, application."""
        return resolve(self.defaults, self.queue.defaults, self.domain.__remit__.defaults, application)

    def __repr__(self) -> str:
        return f"<Subscription {self.name} to {self.event.name}>"


def _seconds_kept(stated: Keep | None) -> float | None:
    if stated is None or stated.age is None:
        return None
    age = in_seconds_or_forever("age", stated.age, zero=True)
    return FOREVER if age is None else age


@dataclass(eq=False, kw_only=True)
class DomainSpec:
    """The declarations of one domain. It grows while its modules are imported."""

    owner: type[Owner[Any]]
    name: str
    package: str
    handlers_module: str
    handlers_stated: bool
    defaults: Defaults
    instance: Owner[Any] | None = None
    refused: Callable[[MessageSpec], None] = lambda _: None
    """Called with a message of another domain that was sent as one of this domain's."""
    queues: dict[str, Queue[Any]] = field(default_factory=dict)
    jobs: Versions[JobSpec] = field(default_factory=Versions)
    events: Versions[EventSpec] = field(default_factory=Versions)
    handlers: dict[JobSpec, Handler] = field(default_factory=dict)
    subscriptions: Versions[Subscription] = field(default_factory=Versions)
    context: ContextFactory | None = None

    @property
    def path(self) -> str:
        """`module:Class`, by which another process imports the domain."""
        return path_of(self.owner)

    @cached_property
    def _implicit_queue(self) -> Queue[Any]:
        return Queue(f"{self.name}.{DEFAULT_QUEUE}", self.owner, concurrency=10, defaults=Defaults())

    @property
    def default_queue(self) -> Queue[Any]:
        """The queue of jobs without one: `<domain>.default`, as declared, or else with remit's defaults."""
        return self.queues.get(DEFAULT_QUEUE, self._implicit_queue)

    def add_queue(self, short_name: str, concurrency: int, defaults: Defaults, lifo: bool = False) -> Queue[Any]:
        """Add a queue. Raises `DuplicateName`, and `CatalogError` for an invalid name."""
        check_segment("The queue's name", short_name)
        if short_name in self.queues:
            raise DuplicateName(f"{self.name} already has a queue {short_name!r}; declare it once and import it.")
        name = f"{self.name}.{short_name}"
        concurrency = whole("concurrency", concurrency, 1, 10_000)
        queue: Queue[Any] = Queue(name, self.owner, concurrency, defaults, flag("lifo", lifo))
        self.queues[short_name] = queue
        return queue

    def add_job(self, spec: JobSpec) -> None:
        """Add a job. Raises `DuplicateName` if the domain has one of its names in the same version."""
        _refuse_taken(self.jobs, spec)
        self.jobs.add(spec)

    def add_event(self, spec: EventSpec) -> None:
        """Add an event. Raises `DuplicateName` if the domain has one of its names in the same version."""
        _refuse_taken(self.events, spec)
        self.events.add(spec)

    def add_subscription(self, subscription: Subscription) -> None:
        """Add a subscription, or a further version of one.

        Raises `DuplicateName` if one of its names is taken within the domain, and `CatalogError` if its options differ
        from those of another version.
        """
        for name in subscription.names:
            for other in self.subscriptions.of(name).values():
                check_versions(name, other, subscription)
            if job := self.jobs.get(name):
                raise DuplicateName(
                    f"the subscription at {subscription.handler.place} is named {name!r}, as the job "
                    f"{job.path} is, and deliveries are jobs too; give it another name=."
                )
        self.subscriptions.add(subscription)

    def add_handler(self, spec: JobSpec, handler: Handler) -> None:
        """Add a handler. Raises `DuplicateHandler`."""
        if other := self.handlers.get(spec):
            raise DuplicateHandler(
                f"{spec.name} is handled at {other.place} and again at {handler.place}; a job has one handler, "
                "so remove one of them."
            )
        self.handlers[spec] = handler

    def add_context(self, factory: ContextFactory) -> None:
        """Set the factory of the handlers' context. Raises `CatalogError` for a second one."""
        if self.context:
            raise CatalogError(
                f"{self.name} has a context at {self.context.place} and again at {factory.place}; a domain has one, "
                "so yield both values from one of them."
            )
        self.context = factory


def _refuse_taken(taken: Versions[Any], spec: MessageSpec) -> None:
    if claimed := taken.claimed(spec):
        raise twice(*claimed, spec)


def twice(name: str, other: MessageSpec, spec: MessageSpec) -> DuplicateName:
    """The error for two messages that claim one name: in the same version, or in two domains."""
    if other.domain is not spec.domain:
        return DuplicateName(
            f"{spec.path} and {other.path} are both named {name!r}, and a name belongs to one domain in all its "
            "versions; give one of them another name=."
        )
    return DuplicateName(
        f"{spec.path} and {other.path} are both named {name!r}, in version {spec.version}; give one of them another "
        "name=, or another version= if it is a changed form of the other."
    )


_SHARED = ("name", "aliases", "stated_queue", "defaults", "ordered_by", "on_dead", "stale_after")
"""The fields in which all versions of one subscription agree."""


def check_versions(name: str, one: Subscription, other: Subscription) -> None:
    """Check that two subscriptions of one name take two versions of one event, and agree in all other fields.

    Raises `DuplicateName` and `CatalogError`.
    """
    places = f"is declared at {one.handler.place} and again at {other.handler.place}"
    one_event = one.version != other.version and {*one.event.names} & {*other.event.names}
    if one.domain is not other.domain or not one_event:
        raise DuplicateName(
            f"the subscription {name!r} {places}; give one of them another name=. One name is for the handlers of "
            "several versions of one event."
        )
    different = [each for each in _SHARED if getattr(one, each) != getattr(other, each)]
    if different:
        option = {"stated_queue": "queue=", "defaults": "policy (retry=, timeout=, priority=, keep= or expires=)"}.get(
            different[0], f"{different[0]}="
        )
        raise CatalogError(
            f"the subscription {name!r} {places}, for versions {one.version} and {other.version} of "
            f"{other.event.name}, with another {option}: use the same value in both, since it is one subscription."
        )
