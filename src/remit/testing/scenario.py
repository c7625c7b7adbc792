"""Scenarios: trigger something and wait for its results, with a real worker in the test's process."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, TypeVar, cast

from remit.catalog import Event, EventRef, Job, JobRef
from remit.client.faces import BlockingFace, blocking
from remit.errors import EventNotFound, InvalidArgument, JobNotFound, nearest
from remit.jobs.model import JobRecord
from remit.jobs.states import State
from remit.outbox.model import DeliveryRecord, EventRecord, EventState
from remit.testing.messages import Messages
from remit.testing.telling import story
from remit.testing.watches import Watch, watching

if TYPE_CHECKING:
    from remit.app import Remit

E = TypeVar("E", bound=Event[Any])
J = TypeVar("J", bound=Job[Any])
T = TypeVar("T")
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.05
"""Seconds between two queries of the store."""


class _Pace(Protocol):
    async def sleep(self, seconds: float) -> None: ...


class Waits:
    """The waits of a scenario. Everything is looked up in the store, and only rows since its beginning count.

    Each wait ends when the awaited result exists, and fails when it is no longer possible. After `within` seconds, by
    default the `timeout` of the scenario, it raises `AssertionError`, with the events, jobs, deliveries and errors that
    exist instead.
    """

    def __init__(self, seen: Watch, timeout: float, pace: _Pace) -> None:
        self.seen = seen
        self._timeout = timeout
        self._pace = pace

    async def event(
        self, event: type[E], /, *wanted: E | Callable[[E], bool], within: float | None = None, **fields: Any
    ) -> E:
        """Wait until an event is published, and return it. `wanted` and `fields` are as for `Messages.matching`."""
        __tracebackhide__ = True
        messages = self.seen.published(event).matching(*wanted, **fields)
        return await self._message(messages, within)

    async def job(
        self,
        job: JobRef | type[J],
        /,
        *wanted: J | Callable[[J], bool],
        state: str = "completed",
        within: float | None = None,
        **fields: Any,
    ) -> JobRecord:
        """Wait until a job is in a state, and return its current record, with its errors.

        `job` is the result of `enqueue`, or a class, and then the first match counts. A job that ends in another state
        fails the test at once.
        """
        __tracebackhide__ = True
        wished = _state(state)
        if isinstance(job, JobRef):
            what, id = f"job {job.id} is {wished}", job.id
            return await self._until(lambda: self._job_in(id, wished, what), what, within)
        messages = self.seen.enqueued(job).matching(*wanted, **fields)
        what = f"{messages.describe()} is {wished}"

        def look() -> JobRecord | None:
            records = messages.records
            found = next((each for each in records if each.state == wished), None)
            if found is None and records and all(each.state.is_final for each in records):
                self._cannot(what, f"it is {records[0].state}")
            return None if found is None else self.seen.job(found.id)

        return await self._until(look, what, within, messages)

    async def delivery(
        self,
        event: EventRef | type[E],
        /,
        *wanted: E | Callable[[E], bool],
        to: str,
        state: str = "completed",
        within: float | None = None,
        **fields: Any,
    ) -> DeliveryRecord:
        """Wait until an event is delivered to a subscription, by its full name, and return the delivery.

        `event` is the result of `publish`, or a class, and then the first match counts. A delivery that ends in another
        state fails the test at once, and so does an event that this subscription does not get.
        """
        __tracebackhide__ = True
        wished = _state(state)
        self._check_subscription(to)
        if isinstance(event, EventRef):
            messages, which = None, f"event {event.id}"
        else:
            messages = self.seen.published(event).matching(*wanted, **fields)
            which = messages.describe()
        what = f"{which} is delivered to {to} ({wished})"

        def look() -> DeliveryRecord | None:
            ids = [each.id for each in messages.records] if messages is not None else [cast("EventRef", event).id]
            records = [record for id in ids if (record := self._event(id)) is not None]
            mine = [each for record in records for each in record.records if each.subscription == to]
            there = next((each for each in mine if each.state == wished), None)
            if there is None and mine and all(each.state in _FINAL for each in mine):
                self._cannot(what, f"the delivery is {mine[0].state}")
            if records and not mine and all(each.state is EventState.DISPATCHED for each in records):
                self._cannot(what, "it was dispatched, and this subscription does not get it")
            return there

        return await self._until(look, what, within, messages)

    async def until(
        self, holds: Callable[[], T | Awaitable[T]], what: str | None = None, *, within: float | None = None
    ) -> T:
        """Wait until a function, async or not, returns a true value, and return it. `what` is for people.

        It is called repeatedly, so it should only read.
        """
        __tracebackhide__ = True
        return await self._until(holds, what or f"{getattr(holds, '__qualname__', holds)} holds", within)

    async def settled(self, *, within: float | None = None) -> None:
        """Wait until nothing is under way: no event that was not dispatched, no job that is ready or runs.

        What is due later does not count, such as a retry that waits.
        """
        __tracebackhide__ = True
        await self._until(self._is_settled, "nothing is under way any more", within)

    # --- looking

    def _is_settled(self) -> bool:
        """Whether nothing is under way. The second look at events sees what a run published between the others."""
        before = self._dispatched()
        return before is not None and not self._has_work() and self._dispatched() == before

    def _dispatched(self) -> set[str] | None:
        """The ids of all events; None while one is pending."""
        events = self.seen.event_records()
        return None if any(each.state is EventState.PENDING for each in events) else {each.id for each in events}

    def _has_work(self) -> bool:
        return any(each.state in (State.READY, State.RUNNING) for each in self.seen.job_records())

    async def _message(self, messages: Messages[E, EventRecord], within: float | None) -> E:
        __tracebackhide__ = True
        return await self._until(
            lambda: next(iter(messages), None), f"{messages.describe()} is published", within, messages
        )

    def _job_in(self, id: str, wished: State, what: str) -> JobRecord | None:
        try:
            record = self.seen.job(id)
        except JobNotFound:
            return None
        if record.state is not wished and record.state.is_final:
            self._cannot(what, f"it is {record.state}")
        return record if record.state is wished else None

    def _event(self, id: str) -> EventRecord | None:
        try:
            return self.seen.event(id)
        except EventNotFound:
            return None

    def _check_subscription(self, name: str) -> None:
        known = [each for one in self.seen.app.catalog.subscriptions for each in one.names]
        if name not in known:
            raise InvalidArgument(f"no domain of this application has a subscription {name!r}.{nearest(name, known)}")

    async def _until(
        self,
        look: Callable[[], T | Awaitable[T | None] | None],
        what: str,
        within: float | None,
        messages: Messages[Any, Any] | None = None,
    ) -> T:
        __tracebackhide__ = True
        seconds = self._timeout if within is None else within
        deadline, pause = time.monotonic() + seconds, _FIRST_LOOK
        while True:
            late = time.monotonic() > deadline
            answer = look()
            found: T | None = await answer if inspect.isawaitable(answer) else answer
            if found:
                return found
            if late:
                nearest_miss = messages.told() if messages is not None else []
                raise AssertionError("\n".join([f"not within {seconds:g} s: {what}", *nearest_miss, *story(self.seen)]))
            await self._pace.sleep(pause)
            pause = min(pause * 1.5, _LAST_LOOK)

    def _cannot(self, what: str, why: str) -> NoReturn:
        __tracebackhide__ = True
        raise AssertionError("\n".join([f"this cannot come any more: {what}; {why}", *story(self.seen)]))


class _Awaiting:
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Blocking:
    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - it blocks on purpose: no event loop runs here


class Scenario(Waits):
    """Runs a real worker for the duration of its block, and waits for the results of the code in it.

    The application is opened if it is not open, and closed again. `timeout` is how many seconds each wait may take
    (default 10), `grace` how many remaining runs may take at the end (default 1). Like `watching`, it counts messages
    since its beginning: `published` and `enqueued` refer to it.

        async with Scenario(app) as scenario:
            await billing.enqueue(SyncInvoice(invoice_id="1"))
            paid = await scenario.event(InvoicePaid, invoice_id="1")
            await scenario.delivery(InvoicePaid, to="catalog.unlock-downloads")
    """

    def __init__(self, app: Remit, *, timeout: float = 10.0, grace: float = 1.0) -> None:
        self._app = app
        self._seconds = timeout
        self._grace = grace
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            if asyncio.get_running_loop() not in self._app._connections._awaiting:
                await stack.enter_async_context(self._app)
            super().__init__(stack.enter_context(watching(self._app)), self._seconds, _Awaiting())
            await stack.enter_async_context(self._app.worker(grace=self._grace))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    def defer(self, clean_up: Callable[[], object]) -> None:
        """Call this at the end of the block in every case, before the worker stops; the last one first."""

        async def call() -> None:
            answer = clean_up()
            if inspect.isawaitable(answer):
                await answer

        self._stack.push_async_callback(call)


class SyncScenario(BlockingFace[Waits]):
    """The same for blocking tests: the worker runs on an event loop in a thread.

    with SyncScenario(app) as scenario:
        billing.sync.enqueue(SyncInvoice(invoice_id="1"))
        scenario.event(InvoicePaid, invoice_id="1")
    """

    event = blocking(Waits.event)
    job = blocking(Waits.job)
    delivery = blocking(Waits.delivery)
    until = blocking(Waits.until)
    settled = blocking(Waits.settled)

    def __init__(self, app: Remit, *, timeout: float = 10.0, grace: float = 1.0) -> None:
        self._scenario = Scenario(app, timeout=timeout, grace=grace)
        self._seconds = timeout
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="remit-scenario", daemon=True)
        self._stack = ExitStack()

    @property
    def seen(self) -> Watch:
        """The messages since the scenario began."""
        return self._face.seen

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._scenario.__aenter__(), self._loop).result()
        except BaseException:
            self._end()
            raise
        super().__init__(Waits(self._scenario.seen, self._seconds, _Blocking()))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stack.close()
            asyncio.run_coroutine_threadsafe(self._scenario.__aexit__(None, None, None), self._loop).result()
        finally:
            self._end()

    def defer(self, clean_up: Callable[[], object]) -> None:
        """Call this at the end of the block in every case, before the worker stops; the last one first."""
        self._stack.callback(clean_up)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


_FINAL = frozenset(state.value for state in State if state.is_final)


def _state(state: str) -> State:
    try:
        return State(state)
    except ValueError:
        raise InvalidArgument(f"{state!r} is not a state of a job.{nearest(state, State)}") from None
