"""Domains: who owns which jobs, which function handles them, and the verbs that send them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Never, Self

from typing_extensions import TypeVar, Unpack

from remit.catalog.calls import EnqueueOptions
from remit.catalog.contexts import Context, examine_context
from remit.catalog.dispatch import Binding, Dispatch
from remit.catalog.handlers import Mode, examine
from remit.catalog.messages import Job, refuse_unknown
from remit.catalog.names import check_segment, kebab
from remit.catalog.policies import Defaults, Keep, Retry
from remit.catalog.ports import JobRef
from remit.catalog.quantities import Duration
from remit.catalog.run import D2, Run
from remit.catalog.specs import C, D, DomainSpec, JobSpec, Owner, Queue
from remit.errors import CatalogError, OwnershipError

J = TypeVar("J", bound=Job[Any])
R = TypeVar("R")


class Domain(Owner[C]):
    """A bounded context: it owns jobs, and it alone enqueues and handles them.

    Subclass it once per context, with the type that its handlers are given as `run.context`, and make one instance.

    Class keywords, all optional:

    - `name`: by default the class in kebab-case (`Billing` → `billing`).
    - `package`: the package that implements it; by default the one that holds the defining module.
    - `handlers`: the module whose import registers the handlers; by default `<package>.handlers`.
    - `retry`, `timeout`, `priority`, `keep`, `expires`, `max_payload`: what holds for all its jobs unless a queue, a
      job or a call says otherwise; see `Defaults`. Durations are seconds or timedeltas.

    Raises `CatalogError` and its kind, and `InvalidArgument`, where the class is defined.

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
            raise CatalogError("Domain is a form to fill in: subclass it, and make an instance of the subclass.")
        if spec.instance is not None:
            raise CatalogError(
                f"{type(self).__qualname__}() was made already; a domain has one instance, so import that one."
            )
        spec.instance = self
        self._spec = spec
        self._dispatch = Dispatch(spec)

    @property
    def name(self) -> str:
        """Its name, with which the names of its jobs and queues begin."""
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

        `name` is short, in lower-kebab-case; the whole name is `<domain>.<name>`. `concurrency` is how many jobs one
        worker process runs at once (default 10). `lifo=True` runs the newest job first, by the clocks of its senders;
        priorities come before that. The others hold for the jobs of the queue; see `Defaults`. Declaring
        `"default"` sets the numbers of the queue that jobs without one go to.

        Raises `DuplicateName`, `CatalogError` for a name that is no name, and `InvalidArgument`.
        """
        defaults = Defaults(
            retry=retry, timeout=timeout, priority=priority, keep=keep, expires=expires, max_payload=max_payload
        )
        return self._spec.add_queue(name, concurrency, defaults, lifo)

    def handles(
        self: D2, job: type[J], *, mode: Mode | None = None
    ) -> Callable[[Callable[[J, Run[D2]], R]], Callable[[J, Run[D2]], R]]:
        """Register the function that executes a job; it is returned as it is.

        `mode` is "async" (on the event loop; the default of `async def`), "thread" (the default of `def`) or
        "process" (a plain `def` at the top level of its module, killed on timeout).

        Raises `OwnershipError` for another domain's job, `DuplicateHandler` for a second handler, `HandlerShape` for
        a function that cannot be called with (job, run), and `InvalidArgument` for an unknown mode.

            @billing.handles(SyncInvoice)
            async def sync_invoice(job: SyncInvoice, run: Run[Billing]) -> str: ...
        """
        owner = self.__remit__
        spec = _job_spec(job)
        if spec.domain is not owner.owner:
            raise OwnershipError(
                f"{owner.name} cannot handle {spec.name}: only its owner may. Let that domain publish an event, "
                "and subscribe to it."
            )

        def register(function: Callable[[J, Run[D2]], R]) -> Callable[[J, Run[D2]], R]:
            owner.add_handler(spec, examine(function, job.__qualname__, owner.owner.__qualname__, mode))
            return function

        return register

    def context(self, factory: Context[C]) -> Context[C]:
        """Register what gives the handlers their dependencies, as `run.context`; it is returned as it is.

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
        `EnqueueOptions`; they have the last word over every default.

        Raises `OwnershipError` for another domain's job and in another domain's handler, `UnboundDomain` before an
        application took the domain in, `PayloadError` and `PayloadTooLarge` for what does not survive its way through
        JSON, `InvalidArgument` and `UnknownOption` for an option, `TransactionError` for `tx`, and `StoreError`.

            await billing.enqueue(SyncInvoice(invoice_id="1"), tx=session, delay=30)
        """
        [ref] = await self._dispatch.sender.send([self._dispatch.request(job, options)], tx=tx)
        return ref

    async def enqueue_many(
        self, jobs: Iterable[Job[Self]], *, tx: object | None = None, **options: Unpack[EnqueueOptions]
    ) -> list[JobRef]:
        """Send several jobs in one round trip, all or none, and give their references in the same order.

        The options hold for each. Raises what `enqueue` raises.
        """
        requests = self._dispatch.requests(jobs, options)
        return await self._dispatch.sender.send(requests, tx=tx) if requests else []

    async def enqueue_named(
        self, name: str, payload: Mapping[str, Any], *, tx: object | None = None, **options: Unpack[EnqueueOptions]
    ) -> JobRef:
        """Send a job by its short name (`"sync-invoice"`) or its whole name, from the values of its fields.

        Where type checkers cannot look, the catalog does: raises `UnknownJob` for an unknown name, `PayloadError`
        where `payload` does not fit the class, and what `enqueue` raises.

            await billing.enqueue_named("sync-invoice", {"invoice_id": "1"})
        """
        job = self._dispatch.build(name, payload)
        [ref] = await self._dispatch.sender.send([self._dispatch.request(job, options)], tx=tx)
        return ref

    @property
    def sync(self) -> SyncFace[Self]:
        """The same verbs, blocking."""
        return SyncFace(self._dispatch)

    @property
    def binding(self) -> Binding | None:
        """The application that sends for this domain now."""
        return self._dispatch.binding

    def rebind(self, binding: Binding | None) -> Binding | None:
        """Let another application send, or none, and give the binding that was. For the application itself.

        It decides who may take a domain from whom; people write `Remit(url, domains=[billing])`.
        """
        return self._dispatch.rebind(binding)


class SyncFace(Generic[D]):
    """The verbs of a domain for blocking code: `billing.sync.enqueue(…)`. They take and raise the same."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    def enqueue(self, job: Job[D], *, tx: object | None = None, **options: Unpack[EnqueueOptions]) -> JobRef:
        """Send one of the domain's jobs; see `Domain.enqueue`. `tx` is a blocking handle."""
        [ref] = self._dispatch.sender.send_blocking([self._dispatch.request(job, options)], tx=tx)
        return ref

    def enqueue_many(
        self, jobs: Iterable[Job[D]], *, tx: object | None = None, **options: Unpack[EnqueueOptions]
    ) -> list[JobRef]:
        """Send several jobs in one round trip; see `Domain.enqueue_many`."""
        requests = self._dispatch.requests(jobs, options)
        return self._dispatch.sender.send_blocking(requests, tx=tx) if requests else []

    def enqueue_named(
        self, name: str, payload: Mapping[str, Any], *, tx: object | None = None, **options: Unpack[EnqueueOptions]
    ) -> JobRef:
        """Send a job by name; see `Domain.enqueue_named`."""
        job = self._dispatch.build(name, payload)
        [ref] = self._dispatch.sender.send_blocking([self._dispatch.request(job, options)], tx=tx)
        return ref


def _job_spec(job: object) -> JobSpec:
    spec = vars(job).get("__remit__") if isinstance(job, type) and issubclass(job, Job) else None
    if isinstance(spec, JobSpec):
        return spec
    raise CatalogError(f"handles takes a job class that is not abstract, not {job!r}.")


def _package_of(module: str) -> str:
    """Give the package that holds a module: the module itself if it is a package, or outside any."""
    return module if _is_package(module) else module.rpartition(".")[0] or module


def _is_package(module: str) -> bool:
    return hasattr(sys.modules.get(module), "__path__")
