"""What declarations leave behind: domains, queues and messages as values that every layer above can read.

The classes that people write (`Domain`, `Job`) stand higher and fill these in; each carries its spec in the one
reserved attribute `__remit__`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final, Generic, dataclass_transform

from typing_extensions import TypeVar

from remit.catalog.contexts import ContextFactory
from remit.catalog.fields import check_fields
from remit.catalog.handlers import Handler
from remit.catalog.names import check_segment
from remit.catalog.policies import Defaults, Policy, resolve
from remit.catalog.quantities import in_seconds_or_forever, whole
from remit.codec import Codec
from remit.errors import CatalogError, DuplicateHandler, DuplicateName

C = TypeVar("C", default=object)
D = TypeVar("D", bound="Owner[Any]")  # invariant and without a default: else ty misses foreign messages
DEFAULT_QUEUE: Final = "default"
FOREVER: Final = 100 * 365 * 86_400.0
"""Seconds that stand for an age without limit where a number must be stored."""


class Owner(Generic[C]):
    """What a message can belong to. `Domain` is the one that people subclass; `C` is what its handlers are given."""

    __remit__: ClassVar[DomainSpec]

    def __context_type__(self) -> C:
        """Carry `C` for type checkers, which see a phantom type in no other way."""
        raise NotImplementedError


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field,))
class Message(Generic[D]):
    """A typed, immutable payload that belongs to one domain: a job today, events and workflows beside it."""

    __remit__: ClassVar[JobSpec]


@dataclass(frozen=True, eq=False)
class Queue(Generic[D]):
    """A named line of work. Made by `Domain.queue`, which says what the numbers mean; several jobs may share one."""

    name: str
    domain: type[Owner[Any]]
    concurrency: int
    defaults: Defaults
    lifo: bool = False

    def __repr__(self) -> str:
        return f"<Queue {self.name}>"


@dataclass(frozen=True, eq=False, kw_only=True)
class JobSpec:
    """Everything that was declared about one job class.

    `name` and `aliases` are whole names; `short_name` is what its own domain may call it. `stated_queue` is the queue
    that the class names, `queue` the one that it goes to. `defaults` is what the class says about its policy.
    """

    message: type[Message[Any]]
    domain: type[Owner[Any]]
    name: str
    version: int
    aliases: tuple[str, ...]
    stated_queue: Queue[Any] | None
    defaults: Defaults

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases: everything that stored jobs may be called."""
        return (self.name, *self.aliases)

    @property
    def queue(self) -> Queue[Any]:
        """The queue that it goes to: the stated one, or its domain's default."""
        return self.stated_queue or self.domain.__remit__.default_queue

    @cached_property
    def codec(self) -> Codec[Message[Any]]:
        """Writes and reads its payloads. Raises `CatalogError` while the types of its fields cannot be resolved."""
        check_fields(self.message)
        return Codec(self.message, self.name)

    @property
    def path(self) -> str:
        """`module:Class`, where it was declared."""
        return f"{self.message.__module__}:{self.message.__qualname__}"

    @cached_property
    def keep(self) -> float | None:
        """Seconds for which the class says that its completed jobs are kept; a queue's rule is read when it prunes."""
        stated = self.defaults.keep
        if stated is None or stated.age is None:
            return None
        age = in_seconds_or_forever("age", stated.age, zero=True)
        return FOREVER if age is None else age

    def resolve(self) -> None:
        """Resolve the types of the fields, which may name what is defined later. Raises `CatalogError`."""
        _ = self.codec

    def policy(self, application: Defaults) -> Policy:
        """Hear the levels: job, queue, domain, application."""
        return resolve(self.defaults, self.queue.defaults, self.domain.__remit__.defaults, application)

    def __repr__(self) -> str:
        return f"<Job {self.name} v{self.version}>"


@dataclass(eq=False, kw_only=True)
class DomainSpec:
    """Everything that was declared about one domain. It grows while its modules are imported."""

    owner: type[Owner[Any]]
    name: str
    package: str
    handlers_module: str
    handlers_stated: bool
    defaults: Defaults
    instance: Owner[Any] | None = None
    queues: dict[str, Queue[Any]] = field(default_factory=dict)
    jobs: dict[str, JobSpec] = field(default_factory=dict)
    handlers: dict[JobSpec, Handler] = field(default_factory=dict)
    context: ContextFactory | None = None

    @property
    def path(self) -> str:
        """`module:Class`, by which another process imports the domain."""
        return f"{self.owner.__module__}:{self.owner.__qualname__}"

    @cached_property
    def _implicit_queue(self) -> Queue[Any]:
        return Queue(f"{self.name}.{DEFAULT_QUEUE}", self.owner, concurrency=10, defaults=Defaults())

    @property
    def default_queue(self) -> Queue[Any]:
        """Where jobs without a queue go: `<domain>.default`, as declared, or else with remit's defaults."""
        return self.queues.get(DEFAULT_QUEUE, self._implicit_queue)

    def add_queue(self, short_name: str, concurrency: int, defaults: Defaults, lifo: bool = False) -> Queue[Any]:
        """Take in a queue. Raises `DuplicateName`, and `CatalogError` for a name that is no name."""
        check_segment("The queue's name", short_name)
        if short_name in self.queues:
            raise DuplicateName(f"{self.name} already has a queue {short_name!r}; declare it once and import it.")
        name = f"{self.name}.{short_name}"
        queue: Queue[Any] = Queue(name, self.owner, whole("concurrency", concurrency, 1, 10_000), defaults, lifo)
        self.queues[short_name] = queue
        return queue

    def add_job(self, spec: JobSpec) -> None:
        """Take in a job. Raises `DuplicateName` where one of its names is taken within the domain."""
        for name in spec.names:
            if other := self.jobs.get(name):
                raise DuplicateName(
                    f"{spec.message.__qualname__} and {other.message.__qualname__} are both named {name!r}; "
                    "give one of them another name=."
                )
        self.jobs.update(dict.fromkeys(spec.names, spec))

    def add_handler(self, spec: JobSpec, handler: Handler) -> None:
        """Take in a handler. Raises `DuplicateHandler`."""
        if other := self.handlers.get(spec):
            raise DuplicateHandler(
                f"{spec.name} is handled at {other.place} and again at {handler.place}; a job has one handler, "
                "so remove one of them."
            )
        self.handlers[spec] = handler

    def add_context(self, factory: ContextFactory) -> None:
        """Take in the factory of the handlers' context. Raises `CatalogError` for a second one."""
        if self.context:
            raise CatalogError(
                f"{self.name} has a context at {self.context.place} and again at {factory.place}; a domain has one, "
                "so yield both things from one of them."
            )
        self.context = factory

    @property
    def specs(self) -> list[JobSpec]:
        """The jobs, each once, in the order of their declaration."""
        return list(dict.fromkeys(self.jobs.values()))
