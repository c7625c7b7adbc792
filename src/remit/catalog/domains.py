"""Domains: owners of jobs and events, with their handlers, subscriptions and sending methods."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Never, Self

from typing_extensions import TypeVar, Unpack

from remit.catalog.builtin import JobDied
from remit.catalog.calls import EnqueueOptions
from remit.catalog.contexts import Context, examine_context
from remit.catalog.dispatch import Binding, Dispatch
from remit.catalog.events import Event
from remit.catalog.faces import SyncFace
from remit.catalog.handlers import Mode, examine
from remit.catalog.messages import Job, refuse_unknown
from remit.catalog.names import check_segment, check_text, kebab
from remit.catalog.policies import Defaults, Keep, Retry
from remit.catalog.ports import EventRef, JobRef
from remit.catalog.publishing import PublishOptions
from remit.catalog.quantities import Duration
from remit.catalog.recorder import Recorder, taking_recorded
from remit.catalog.run import D2, Run
from remit.catalog.specs import C, DeadHead, DomainSpec, EventSpec, JobSpec, Owner, Queue
from remit.catalog.subscriptions import Where, make_subscription
from remit.errors import CatalogError, OwnershipError

E = TypeVar("E", bound=Event[Any])
J = TypeVar("J", bound=Job[Any])
R = TypeVar("R")


class Domain(Owner[C]):
    """A bounded context: only it enqueues and handles its jobs, and only it publishes its events.

    Subclass it once per context, with the type of `run.context` in its handlers, and make one instance.

    Class keywords, all optional:

    - `name`: by default the class in kebab-case (`Billing` → `billing`).
    - `package`: the package that implements it; by default the one that holds the defining module.
    - `handlers`: the module whose import registers the handlers; by default `<package>.handlers`.
    - `retry`, `timeout`, `priority`, `keep`, `expires`, `max_payload`: the policy of all its jobs unless a queue, a
      job or a call sets another; see `Defaults`. Durations are seconds or timedeltas.

    Raises `CatalogError` and its subclasses, and `InvalidArgument`, where the class is defined.

        class Billing(Domain["Services"]):
            "Invoices and payments."

        billing = Billing()
    """

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        package: str | None = None,
        handlers: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        priority: int | None = None,
        keep: Keep | None = None,
        expires: Duration | None = None,
        max_payload: int | None = None,
        **unknown: Never,  # a type error for checkers; at run time, an error that names the nearest
    ) -> None:
        super().__init_subclass__()
        refuse_unknown(cls, unknown, Domain.__init_subclass__)
        for option, module in (("package", package), ("handlers", handlers)):
            if module is not None:
                check_text(f"The {option}= of {cls.__qualname__},", module)
        home = package or _package_of(cls.__module__)
        lone = home == cls.__module__ and not _is_package(home)  # `__main__`, or a module outside any package
        cls.__remit__ = DomainSpec(
            owner=cls,
            name=check_segment(f"The name of the domain {cls.__qualname__},", name or kebab(cls.__name__)),
            package=home,
            handlers_module=handlers or (home if lone else f"{home}.handlers"),
            handlers_stated=handlers is not None,
            defaults=Defaults(
                retry=retry, timeout=timeout, priority=priority, keep=keep, expires=expires, max_payload=max_payload
            ),
        )

    def __init__(self) -> None:
        spec = vars(type(self)).get("__remit__")
        if not isinstance(spec, DomainSpec):
            raise CatalogError("Domain is abstract: subclass it, and make an instance of the subclass.")
        if spec.instance is not None:
            raise CatalogError(
                f"{type(self).__qualname__}() was already created; a domain has one instance, so import that one."
            )
        spec.instance = self
        self._spec = spec
        self._dispatch = Dispatch(spec)
        spec.refused = self._dispatch.refused

    @property
    def name(self) -> str:
        """Its name, which is the first part of the names of its jobs and queues."""
        return self._spec.name

    def __repr__(self) -> str:
        return f"<Domain {self.name}>"

    def queue(
        self,
        name: str,
        *,
        concurrency: int = 10,
        lifo: bool = False,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        priority: int | None = None,
        keep: Keep | None = None,
        expires: Duration | None = None,
        max_payload: int | None = None,
    ) -> Queue[Self]:
        """Declare a line of work, which several job classes may name as `queue=`.

        `name` is short, in lower-kebab-case; the full name is `<domain>.<name>`. `concurrency` is the number of jobs
        that one worker process runs at once (default 10). `lifo=True` runs the newest job first, by the clocks of its
        senders; priorities take precedence. The other options apply to the jobs of the queue; see `Defaults`.
        Declaring `"default"` configures the queue of jobs without one.

        Raises `DuplicateName`, `CatalogError` for an invalid name, and `InvalidArgument`.
        """
        defaults = Defaults(
            retry=retry, timeout=timeout, priority=priority, keep=keep, expires=expires, max_payload=max_payload
        )
        return self._spec.add_queue(name, concurrency, defaults, lifo)

    def handles(
        self: D2, job: type[J], *, mode: Mode | None = None
    ) -> Callable[[Callable[[J, Run[D2]], R]], Callable[[J, Run[D2]], R]]:
        """Register the function that executes a job; it is returned unchanged.

        `mode` is "async" (on the event loop; the default of `async def`), "thread" (the default of `def`) or
        "process" (a plain `def` at the top level of its module, killed on timeout).

        Raises `OwnershipError` for another domain's job, `DuplicateHandler` for a second handler, `HandlerShape` for
        a function that cannot be called with (job, run), or that is annotated with another job or another domain's
        run, and `InvalidArgument` for an unknown mode.

            @billing.handles(SyncInvoice)
            async def sync_invoice(job: SyncInvoice, run: Run[Billing]) -> str: ...
        """
        owner = self.__remit__
        spec = _job_spec("handles", job)
        if spec.domain is not owner.owner:
            raise OwnershipError(
                f"{owner.name} cannot handle {spec.name}: only its owner may. Let that domain publish an event, "
                "and subscribe to it."
            )

        def register(function: Callable[[J, Run[D2]], R]) -> Callable[[J, Run[D2]], R]:
            owner.add_handler(spec, examine(function, job, owner.owner, mode))
            return function

        return register

    def context(self, factory: Context[C]) -> Context[C]:
        """Register the factory of the handlers' dependencies, `run.context`; it is returned unchanged.

        `factory` is a function without parameters, async or not, that yields once, or that returns a context manager.
        It is opened once per worker. Raises `HandlerShape`, and `CatalogError` for a second one.

            @billing.context
            async def services() -> AsyncIterator[Services]:
                async with Ledger() as ledger:
                    yield Services(ledger)
        """
        self._spec.add_context(examine_context(factory, self.name))
        return factory

    async def enqueue(self, job: Job[Self], *, tx: object | None = None, **options: Unpack[EnqueueOptions]) -> JobRef:
        """Send one of this domain's jobs.

        `tx` is a handle of an open transaction: the job is written on it, and exists if and only if the caller
        commits; without it the job is written in a short transaction of its own. The options are described at
        `EnqueueOptions`; they override every default.

        Raises `OwnershipError` for another domain's job and in another domain's handler, `UnboundDomain` if the domain
        is not bound to an application, `PayloadError` and `PayloadTooLarge` if the message does not survive the round
        trip through JSON, `InvalidArgument` and `UnknownOption` for an option, `IdTaken` for `id`, `TransactionError`
        for `tx`, and `StoreError`.

            await billing.enqueue(SyncInvoice(invoice_id="1"), tx=session, delay=30)
        """
        [ref] = await self._dispatch.sender.send([self._dispatch.request(job, options)], tx=tx)
        return ref

    async def enqueue_many(
        self, jobs: Iterable[Job[Self]], *, tx: object | None = None, **options: Unpack[EnqueueOptions]
    ) -> list[JobRef]:
        """Send several jobs in one round trip, all or none, and return their references in the same order.

        The options apply to each. Raises the errors of `enqueue`.
        """
        requests = self._dispatch.requests(jobs, options)
        return await self._dispatch.sender.send(requests, tx=tx) if requests else []

    async def enqueue_named(
        self,
        name: str,
        payload: Mapping[str, Any],
        *,
        version: int | None = None,
        tx: object | None = None,
        **options: Unpack[EnqueueOptions],
    ) -> JobRef:
        """Send a job by its short name (`"sync-invoice"`) or its full name, from the values of its fields.

        `version` is the version of the job, by default the newest. Raises `UnknownJob` for an unknown name or version,
        `PayloadError` if `payload` does not fit the class, and the errors of `enqueue`.

            await billing.enqueue_named("sync-invoice", {"invoice_id": "1"})
        """
        job = self._dispatch.build(name, payload, version)
        [ref] = await self._dispatch.sender.send([self._dispatch.request(job, options)], tx=tx)
        return ref

    def on(
        self: D2,
        event: type[E],
        *,
        name: str,
        aliases: tuple[str, ...] = (),
        where: Where[E] | None = None,
        queue: Queue[D2] | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        priority: int | None = None,
        keep: Keep | None = None,
        expires: Duration | None = None,
        ordered_by: str | None = None,
        on_dead: DeadHead = "block",
        stale_after: Duration | None = None,
        inline: str | None = None,
        mode: Mode | None = None,
    ) -> Callable[[Callable[[E, Run[D2]], R]], Callable[[E, Run[D2]], R]]:
        """Subscribe this domain to an event, its own or another's; the function is returned unchanged.

        Every event that is committed after the subscription has reached the database (by `remit migrate`, or by the
        start of the first worker that knows it) is delivered at least once, as a job of this domain with its own
        retries: a failing subscriber blocks no other. `run.event` is the envelope, and `run.key` is the same for each
        attempt to deliver one event to one subscription.

        A subscription has one handler for each version of its event that the application declares: call `on` once for
        each, with the same name and the same options. `event`, `where`, `inline` and `mode` may differ.

        - `name`: short, in lower-kebab-case, permanent: it is stored, so the function may be renamed freely.
        - `aliases`: previous names of the subscription.
        - `where`: the condition on its events. A mapping of fields to the value, or the list of values, that each may
          have is compared by the database: other events are never delivered. A function of the event is called by the
          worker, before the handler: other events are skipped.
        - `queue`, `retry`, `timeout`, `priority`, `keep`, `expires`: as for a job.
        - `ordered_by`: deliver the events of one key one after the other, in the order in which they were committed,
          through retries too; the event's class must guarantee that order. `on_dead` decides about deliveries behind a
          dead one: "block" (the default) waits until a person retries or deletes it, "pass" continues with the next.
        - `stale_after`: how long a delivery may wait before it is counted as stale (default 300 seconds).
        - `inline`: the reason why the handler does the work itself. Handlers of events should only enqueue their own
          domain's jobs or start workflows; `remit check` reports one that does more and gives no reason.
        - `mode`: as for a job.

        Raises `CatalogError` and its subclasses, `HandlerShape`, `OwnershipError` and `InvalidArgument`.

            @catalog.on(InvoicePaid, name="unlock-downloads", where={"currency": "EUR"})
            async def unlock_downloads(event: InvoicePaid, run: Run[Catalog]) -> None:
                run.enqueue(RebuildIndex(invoice_id=event.invoice_id))
        """
        owner = self.__remit__
        spec = _event_spec(event)
        defaults = Defaults(retry=retry, timeout=timeout, priority=priority, keep=keep, expires=expires)

        def register(function: Callable[[E, Run[D2]], R]) -> Callable[[E, Run[D2]], R]:
            handler = examine(function, event, owner.owner, mode, "event")
            subscription = make_subscription(
                owner, spec, handler, name=name, aliases=aliases, where=where, queue=queue, defaults=defaults,
                ordered_by=ordered_by, on_dead=on_dead, stale_after=stale_after, inline=inline,
            )  # fmt: skip
            owner.add_subscription(subscription)
            return function

        return register

    def exhausted(
        self: D2, *what: type[Job[D2]] | str, name: str, retry: Retry | None = None, queue: Queue[D2] | None = None
    ) -> Callable[[Callable[[JobDied, Run[D2]], R]], Callable[[JobDied, Run[D2]], R]]:
        """Register a hook for the death of this domain's jobs, or of deliveries to its subscriptions.

        `what` are job classes, and short names of subscriptions. The hook is a subscription to `JobDied` named `name`,
        with its own retries: it is called for every death, after a crash too. Raises the errors of `on`, and
        `OwnershipError` for another domain's job.

            @billing.exhausted(SyncInvoice, name="tell-finance")
            async def tell_finance(died: JobDied, run: Run[Billing]) -> None: ...
        """
        owner = self.__remit__
        names: list[str] = []
        for each in what:
            if isinstance(each, str):
                if "." in each:
                    raise CatalogError(f"exhausted of {owner.name} takes short names of subscriptions, not {each!r}.")
                names.append(f"{owner.name}.{each}")
                continue
            spec = _job_spec("exhausted", each)
            if spec.domain is not owner.owner:
                raise OwnershipError(f"{owner.name} cannot hook into {spec.name}: only its owner may.")
            names += spec.names
        if not names:
            raise CatalogError(f"exhausted of {owner.name} takes at least one job class or name of a subscription.")

        def register(function: Callable[[JobDied, Run[D2]], R]) -> Callable[[JobDied, Run[D2]], R]:
            handler = examine(function, JobDied, owner.owner, None, "died")
            subscription = make_subscription(
                owner, _event_spec(JobDied), handler, name=name, where={"name": names}, queue=queue,
                defaults=Defaults(retry=retry),
            )  # fmt: skip
            owner.add_subscription(subscription)
            return function

        return register

    def recorder(self) -> Recorder[Self]:
        """Make an attribute in which the objects of a class record this domain's events while they change.

        `publish_recorded` publishes the recorded events. If the unit of work is a SQLAlchemy session with remit's
        hook, they are published automatically; see `remit.adapters.sqlalchemy`.

            class Invoice:
                events = billing.recorder()

                def pay(self) -> None:
                    self.events.record(InvoicePaid(invoice_id=self.id))
        """
        return Recorder(self._spec)

    async def publish(
        self, event: Event[Self], *, tx: object | None = None, **options: Unpack[PublishOptions]
    ) -> EventRef:
        """Publish one of this domain's events: one row, whatever the number of subscribers.

        `tx` is a handle of an open transaction: the event is published if and only if the caller commits; without it
        the event is written in a short transaction of its own, and durable when this returns. The options are
        described at `PublishOptions`.

        Raises `OwnershipError` for another domain's event and in another domain's handler, `UnboundDomain` if the
        domain is not bound to an application, `PayloadError` and `PayloadTooLarge` if the message does not survive the
        round trip through JSON, `InvalidArgument` and `UnknownOption` for an option, `IdTaken` for `id`,
        `TransactionError` for `tx`, and `StoreError`.

            await billing.publish(InvoicePaid(invoice_id="1"), tx=session)
        """
        [ref] = await self._dispatch.sender.publish([self._dispatch.publication(event, options)], tx=tx)
        return ref

    async def publish_many(
        self, events: Iterable[Event[Self]], *, tx: object | None = None, **options: Unpack[PublishOptions]
    ) -> list[EventRef]:
        """Publish several events in one round trip, all or none, and return their references in the same order."""
        requests = self._dispatch.publications(events, options)
        return await self._dispatch.sender.publish(requests, tx=tx) if requests else []

    async def publish_recorded(self, *aggregates: object, tx: object | None = None) -> list[EventRef]:
        """Publish the events that objects have recorded for this domain since the last time, object by object.

        Raises the errors of `publish`; the objects then still hold their events. If the transaction is rolled back
        later, they do not: load them again, and repeat the change. Events recorded for other domains stay with the
        objects. If a class has no recorder of this domain, its events are refused with `OwnershipError`.
        """
        with taking_recorded(aggregates, self._spec) as events:
            return await self.publish_many(events, tx=tx)

    async def publish_soon(self, event: Event[Self], **options: Unpack[PublishOptions]) -> EventRef:
        """Publish an event by the direct rail: buffered in this process, written with others a moment later.

        It costs a fraction of a `publish`, and is for producers of many events whose own write is durable already, and
        which publish again after a crash. It belongs to no transaction, so `require_tx` and ambient transactions do
        not apply. Nothing is guaranteed until `flush` has returned, or the application was closed: a process that is
        killed loses its buffer. While the store keeps up, these are the events of the last moment (`Rail.every`). If
        events come faster than the store writes, or the store is unreachable, they are up to `Rail.most` events. The
        events of one process are written in the order in which they were accepted, so the last ones are lost.

        It returns at once, except while the buffer is full: then it waits for room, in turn. The options are those of
        `publish`. Raises the errors of `publish` about the event, at once, and `StoreBusy` if the buffer stays full
        for longer than `Rail.max_wait`. Other errors of the store are logged, the events are kept and tried again, and
        `flush` raises them.

            await sales.publish_soon(ProductViewed(product_id="1"))
        """
        return await self._dispatch.sender.publish_soon(self._dispatch.publication(event, options))

    async def flush(self) -> None:
        """Wait until all earlier events of `publish_soon`, of this application in this process, are written.

        Raises `StoreError` if the store does not accept them now; the events stay in the buffer and are tried again.
        An event that the store refuses while it accepts others is lost, which is logged, and raised here.
        """
        await self._dispatch.sender.flush()

    async def publish_later(
        self, event: Event[Self], *, tx: object | None = None, **options: Unpack[EnqueueOptions]
    ) -> JobRef:
        """Publish an event later, at the time set by `delay` or `at`.

        It is a job of this domain, `<domain>.publish-later`, which publishes the event in the commit of its
        completion: until then it can be viewed and cancelled like any job. Takes the options of `enqueue`; raises its
        errors.

            await billing.publish_later(InvoiceBecameOverdue(invoice_id="1"), delay=timedelta(days=14), tx=session)
        """
        return await self.enqueue(self._dispatch.later(event), tx=tx, **options)

    @property
    def sync(self) -> SyncFace[Self]:
        """The same methods, blocking."""
        return SyncFace(self._dispatch)

    @property
    def binding(self) -> Binding | None:
        """The application that sends for this domain now."""
        return self._dispatch.binding

    def rebind(self, binding: Binding | None) -> Binding | None:
        """Send through another application, or none, and return the previous binding. For the application itself.

        The application decides whether it may take a domain from another; users write `Remit(url, domains=[billing])`.
        """
        return self._dispatch.rebind(binding)


def _job_spec(verb: str, job: object) -> JobSpec:
    spec = vars(job).get("__remit__") if isinstance(job, type) and issubclass(job, Job) else None
    if isinstance(spec, JobSpec):
        return spec
    raise CatalogError(f"{verb} takes a job class that is not abstract, not {job!r}.")


def _event_spec(event: object) -> EventSpec:
    spec = vars(event).get("__remit__") if isinstance(event, type) and issubclass(event, Event) else None
    if isinstance(spec, EventSpec):
        return spec
    raise CatalogError(f"on takes an event class that is not abstract, not {event!r}.")


def _package_of(module: str) -> str:
    """Return the package that holds a module: the module itself if it is a package, or outside any."""
    return module if _is_package(module) else module.rpartition(".")[0] or module


def _is_package(module: str) -> bool:
    return hasattr(sys.modules.get(module), "__path__")
