"""One handler, run alone: by the real runtime, on the real store, without a worker that takes other jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from remit.catalog import (
    Catalog,
    Event,
    EventSpec,
    Job,
    Owner,
    PublishOptions,
    Subscription,
    Work,
    event_spec_of,
    prepare,
    prepare_event,
    spec_of,
)
from remit.db.transaction import Role, Transaction
from remit.errors import InvalidArgument, UnknownSubscription, nearest
from remit.execution import operations as execution
from remit.execution.model import Allotment, Claim
from remit.jobs import operations as jobs
from remit.jobs.ids import new_id
from remit.jobs.model import FailureRecord, JobRecord
from remit.jobs.rows import row
from remit.jobs.states import State
from remit.outbox import operations as outbox
from remit.outbox.model import EventRecord
from remit.outbox.rows import event_row
from remit.testing.messages import Messages
from remit.testing.watches import Seen, Watch, watch_of, watching

if TYPE_CHECKING:
    from remit.app import Remit

E = TypeVar("E", bound=Event[Any])
J = TypeVar("J", bound=Job[Any])
Ending: TypeAlias = Literal["completed", "skipped", "retry", "snoozed", "cancelled", "dead", "unwanted"]
_ENDINGS: Final[dict[State, Ending]] = {
    State.COMPLETED: "completed",
    State.SKIPPED: "skipped",
    State.CANCELLED: "cancelled",
    State.DEAD: "dead",
}
_OPENED: Final = object()


@dataclass(frozen=True, slots=True)
class Performed:
    """The result of one run.

    `record` is the current job, with its errors and the lines that its handler logged; None if the subscription's
    `where=` mapping excluded the event. `sent` are the messages of the run.
    """

    record: JobRecord | None
    sent: Seen

    @property
    def outcome(self) -> Ending:
        """One word: completed, skipped, retry, snoozed, cancelled, dead, or unwanted."""
        match self.record:
            case None:
                return "unwanted"
            case JobRecord(state=State.SCHEDULED | State.READY):
                return "retry" if self.error else "snoozed"
            case record:
                return _ENDINGS[record.state]

    @property
    def result(self) -> Any:
        """The return value of the handler, decoded from JSON."""
        return None if self.record is None else self.record.result

    @property
    def reason(self) -> str | None:
        """The reason why it was skipped, cancelled or is dead."""
        return None if self.record is None else self.record.reason

    @property
    def error(self) -> FailureRecord | None:
        """The failure of the run, with its traceback; None without one."""
        return self.record.errors[-1] if self.record is not None and self.record.errors else None

    def expect(self, outcome: Ending) -> Performed:
        """Assert the outcome. The error of the assertion shows the traceback of the handler."""
        __tracebackhide__ = True
        if self.outcome != outcome:
            told = f": {self.reason}" if self.reason else ""
            trace = f"\n{self.error.traceback or self.error.message}" if self.error else ""
            raise AssertionError(f"wanted the run to be {outcome}, and it is {self.outcome}{told}{trace}")
        return self

    def enqueued(self, job: type[J]) -> Messages[J, JobRecord]:
        """The jobs of a class that this run has sent."""
        return self.sent.enqueued(job)

    def published(self, event: type[E]) -> Messages[E, EventRecord]:
        """The events of a class that this run has published."""
        return self.sent.published(event)


async def perform(job: Job[Any], *, app: Remit | None = None, context: object = _OPENED, attempt: int = 1) -> Performed:
    """Run the handler of a job once, alone, and return the result.

    Everything is real: the job is written to the store, its payload decoded, the handler called in its mode, with its
    timeout and a transaction if it wants one, and the outcome is committed with the messages of the run. But nothing
    else is run, and no worker is needed. `context` replaces the value of the domain's context, which is not opened then
    (a handler of mode "process" opens its own in any case). `attempt` is the number of the attempt. `app` is, by
    default, the application that is watched; see `published`.

    Raises `MissingHandler`, `InvalidArgument`, and the errors of `enqueue` for a payload.

        done = await perform(SyncInvoice(invoice_id="1"), context=Services(FakeLedger()))
        assert done.expect("completed").result == "posted"
    """
    spec = spec_of(job)

    async def send(tx: Transaction, app: Remit) -> str:
        request = prepare(spec, job, {}, app.catalog.policy(spec), app.catalog.scope(job))
        id = new_id()
        await jobs.enqueue(tx, [row(request, id)], store=await jobs.store(tx))
        return id

    return await _run(spec, send, app, spec.domain, context, attempt)


async def deliver(
    event: Event[Any],
    *,
    to: str | Callable[..., Any],
    app: Remit | None = None,
    context: object = _OPENED,
    attempt: int = 1,
) -> Performed:
    """Publish an event, run the handler of one subscription to it, alone, and return the result of the delivery.

    `to` is the full name of the subscription, or its handler. The event is written to the log and fanned out as by the
    relay; the deliveries to others are not run. An ordered event is delivered at once, even if others wait under its
    key: it has no place in the order. The rest is as in `perform`.

    Raises `UnknownSubscription`, `MissingHandler`, and the errors of `publish` for a payload.

        done = await deliver(InvoicePaid(invoice_id="1"), to="catalog.unlock-downloads")
        done.enqueued(RebuildIndex).once()
    """
    spec = event_spec_of(event)
    app = app or watch_of(spec.domain.__remit__).app
    subscription = _subscription(app.catalog, spec, to)

    async def send(tx: Transaction, app: Remit) -> str | None:
        options: PublishOptions = {}
        limit, scope, keep = app.catalog.limit(spec), app.catalog.scope(event), app.catalog.keep(spec)
        request = prepare_event(spec, event, options, limit, scope, keep=keep)
        id = new_id()
        row = event_row(request, id)
        row.pop("lane", None)  # it takes no place among the events of its key, so it waits for none of them
        await outbox.publish(tx, [row], store=await jobs.store(tx))
        await outbox.dispatch(tx, limit=1, keep=app.catalog.log.keep, only=[id])
        written = await outbox.get_event(tx, id)
        deliveries = written.records if written else ()
        return next((each.job for each in deliveries if each.subscription == subscription.name), None)

    return await _run(subscription, send, app, subscription.domain, context, attempt)


def _subscription(catalog: Catalog, spec: EventSpec, to: str | Callable[..., Any]) -> Subscription:
    catalog.import_handlers()
    known = [each for each in catalog.subscriptions if each.event is spec]
    for each in known:
        if to in each.names or to is each.handler.function:
            return each
    name = to if isinstance(to, str) else getattr(to, "__qualname__", repr(to))
    names = [each.name for each in known]
    raise UnknownSubscription(
        f"{name!r} does not subscribe to {spec.name}.{nearest(name, names)} These do: {', '.join(names) or 'none'}."
    )


async def _run(
    work: Work,
    send: Callable[[Transaction, Remit], Any],
    app: Remit | None,
    domain: type[Owner[Any]],
    context: object,
    attempt: int,
) -> Performed:
    app = app or watch_of(domain.__remit__).app
    attempts = app.catalog.policy(work).attempts
    if not 1 <= attempt <= attempts:
        raise InvalidArgument(f"attempt is 1 to {attempts}, the attempts of {work.name}, not {attempt!r}")
    with app.bound(), watching(app) as seen:
        stage = _Stage(app, domain, context)
        await stage.start()
        try:
            id = await stage.take(work, lambda tx: send(tx, app), attempt)
        finally:
            await stage.stop()
        return Performed(None if id is None else seen.job(id), _caused(seen, id))


def _caused(seen: Watch, id: str | None) -> Seen:
    return Seen(
        [each for each in seen.event_records() if id is not None and each.causation == id],
        [each for each in seen.job_records() if id is not None and each.causation == id and each.event is None],
    )


class _Stage:
    """A worker of one domain that claims nothing: it runs the jobs that it is given."""

    def __init__(self, app: Remit, domain: type[Owner[Any]], context: object) -> None:
        spec = domain.__remit__
        owner: Any = spec.instance
        catalog = Catalog([owner], app.catalog.defaults, app.catalog.scope_keys, log=app.catalog.log)
        contexts = {} if context is _OPENED else {spec.name: context}
        self._catalog = catalog
        self._worker = app.worker().passive(catalog, contexts)
        self.start = self._worker.start
        self.stop = self._worker.stop

    async def take(self, work: Work, send: Callable[[Transaction], Any], attempt: int) -> str | None:
        """Send and claim in one transaction, so that no other worker can claim it, and run it to its end."""
        [line] = [each for each in self._catalog.lines.values() if each.spec is work and each.name == work.name]
        worker, ledger = self._worker, self._worker.claims.ledger
        claims: list[Claim] = []

        async def claim(tx: Transaction) -> str | None:
            claims.clear()
            id: str | None = await send(tx)
            while id is not None and all(each.id != id for each in claims):
                allotment = Allotment(line.number, line.queue.name, 1)
                more, _ = await execution.claim(tx, [allotment], worker=ledger.worker, token=token)
                if not more:
                    raise AssertionError(f"{work.name} could not be claimed: its queue {line.queue.name} is paused")
                claims.extend(more)
            return id

        with ledger.claiming() as token:
            id = await worker.parts.databases.role(Role.CLAIM).run(claim)
            ledger.take(claims)
        for each in claims:
            if each.id == id:
                each.failures = attempt - 1
                worker.lines.prefetches[line.queue.name].put([each])
            else:
                worker.parts.executor.give_back([each])
        await self._ended()
        return id

    async def _ended(self) -> None:
        """Wait until it holds no jobs."""
        while self._worker.claims.ledger.busy:  # noqa: ASYNC110 - the ledger reports nothing
            await asyncio.sleep(0.001)
