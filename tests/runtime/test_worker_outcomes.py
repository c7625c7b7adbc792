"""How a run ends: what a handler returns, raises and logs, and what the store holds afterwards."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from remit import Cancelled, DeadLetter, Domain, Job, JobRef, Remit, Retry, RetryAfter, Run, Skip, Snooze, fixed
from remit.jobs.model import LogRecord
from tests.runtime.working import all_ended, ended, in_state, opened, until, working


class Mill(Domain[None]):
    """Each test gives its handler as a function that stands here while it lasts."""


mill = Mill()
AGAIN = Retry(attempts=3, backoff=fixed(0.01))


class Refused(Exception):
    """What no retry cures."""


class RefusedForGood(Refused):
    pass


def slowly(attempt: int, error: BaseException) -> float:
    seen.append((attempt, str(error)))
    return 0.01


def broken(attempt: int, error: BaseException) -> float:
    raise ZeroDivisionError("in the backoff function")


seen: list[tuple[int, str]] = []


class Grind(Job[Mill], retry=AGAIN):
    number: int = 0


class GrindInThread(Job[Mill], retry=AGAIN):
    number: int = 0


class GiveUp(Job[Mill], retry=Retry(attempts=5, backoff=fixed(0.01), give_up_on=(Refused,))):
    pass


class GiveUpInGroup(Job[Mill], retry=Retry(attempts=5, give_up_on=(Refused,))):
    pass


class Hurried(Job[Mill], retry=Retry(attempts=1), timeout=0.05):
    pass


class Custom(Job[Mill], retry=Retry(attempts=3, backoff=slowly)):
    pass


class CustomBroken(Job[Mill], retry=Retry(attempts=2, backoff=broken)):
    pass


class Behaviour:
    """What the handlers do, as the test says."""

    does: Any = None


async def behave(job: Any, run: Run[Mill]) -> Any:
    result = Behaviour.does(job, run)
    return await result if asyncio.iscoroutine(result) else result


for kind in (Grind, GiveUp, Hurried, Custom, CustomBroken):
    mill.handles(kind)(behave)


@mill.handles(GiveUpInGroup)
async def give_up_in_group(job: GiveUpInGroup, run: Run[Mill]) -> None:
    await in_a_task_group(Refused("no"))


@mill.handles(GrindInThread)
def behave_in_thread(job: GrindInThread, run: Run[Mill]) -> Any:
    return Behaviour.does(job, run)


@pytest.fixture(autouse=True)
def _clean() -> None:
    Behaviour.does = None
    seen.clear()


def does(function: Any) -> Any:
    Behaviour.does = staticmethod(function)
    return function


def raising(error: BaseException) -> None:
    @does
    def raises(_: Any, __: Run[Mill]) -> None:
        raise error


@pytest.mark.parametrize("job", [Grind(), GrindInThread()], ids=["async", "thread"])
async def test_what_a_handler_returns_is_kept(store_url: str, job: Job[Mill]) -> None:
    does(lambda _, run: {"attempt": run.attempt, "attempts": run.attempts, "key": run.key})
    async with working(store_url, mill) as (app, _):
        ref = await mill.enqueue(job)
        record = await ended(app, ref)
    assert record.state == "completed"
    assert record.result == {"attempt": 1, "attempts": 3, "key": ref.id}
    assert record.failures == 0
    assert record.errors == ()


async def test_run_result_is_kept_where_nothing_is_returned(store_url: str) -> None:
    @does
    def sets(_: Any, run: Run[Mill]) -> None:
        run.result = [1, "two"]

    async with working(store_url, mill) as (app, _):
        assert (await ended(app, await mill.enqueue(Grind()))).result == [1, "two"]


@pytest.mark.parametrize(
    "result, why",
    [(object(), "object"), (float("nan"), "is nan"), ("x" * 70_000, "65536 bytes"), ("half \ud83d", "surrogate")],
    ids=["object", "nan", "large", "surrogate"],
)
async def test_a_result_that_cannot_be_kept_completes_the_run_with_a_warning(
    store_url: str, caplog: pytest.LogCaptureFixture, result: object, why: str
) -> None:
    does(lambda *_: result)
    async with working(store_url, mill) as (app, _):
        record = await ended(app, await mill.enqueue(Grind()))
    assert record.state == "completed"
    assert record.result is None
    [told] = [line.message for line in caplog.records if "result not kept" in line.message]
    assert why in told


@pytest.mark.parametrize("job", [Grind(), GrindInThread()], ids=["async", "thread"])
async def test_skip_ends_the_job_with_its_reason(store_url: str, job: Job[Mill]) -> None:
    raising(Skip("nothing to do"))
    async with working(store_url, mill) as (app, _):
        record = await ended(app, await mill.enqueue(job))
    assert (record.state, record.reason, record.failures) == ("skipped", "nothing to do", 0)


async def test_skip_is_not_swallowed_by_a_handler_that_catches_exceptions(store_url: str) -> None:
    @does
    def catches(*_: Any) -> str:
        try:
            raise Skip("really")
        except Exception:
            return "swallowed"

    async with working(store_url, mill) as (app, _):
        assert (await ended(app, await mill.enqueue(Grind()))).reason == "really"


async def test_snooze_runs_again_and_costs_no_attempt(store_url: str) -> None:
    attempts: list[int] = []

    @does
    def snoozes(_: Any, run: Run[Mill]) -> None:
        attempts.append(run.attempt)
        if len(attempts) < 5:
            raise Snooze(0.01)

    async with working(store_url, mill) as (app, _):
        record = await ended(app, await mill.enqueue(Grind()))
    assert (record.state, record.failures) == ("completed", 0)
    assert attempts == [1] * 5


async def test_retry_after_waits_as_long_as_it_says_and_costs_an_attempt(store_url: str) -> None:
    raising(RetryAfter(3600, "the other side is closed"))
    async with working(store_url, mill) as (app, _):
        ref = await mill.enqueue(Grind())
        record = await in_state(app, ref, "scheduled")
        assert 3500 < (record.run_at - datetime.now(UTC)).total_seconds() <= 3600
        assert record.failures == 1
        assert [(error.kind, error.message) for error in record.errors] == [("RetryAfter", "the other side is closed")]


async def test_retry_after_makes_the_job_dead_at_its_last_attempt(store_url: str) -> None:
    raising(RetryAfter(0.01))
    async with working(store_url, mill) as (app, _):
        record = await ended(app, await mill.enqueue(Grind()))
    assert (record.state, record.failures, len(record.errors)) == ("dead", 3, 3)


async def test_a_dead_letter_is_dead_at_once_with_its_reason(store_url: str) -> None:
    raising(DeadLetter("no such country"))
    async with working(store_url, mill) as (app, _):
        record = await ended(app, await mill.enqueue(Grind()))
    assert (record.state, record.reason) == ("dead", "no such country")


async def test_an_exception_is_retried_until_the_attempts_are_used_up(store_url: str) -> None:
    attempts: list[tuple[int, str]] = []

    @does
    def fails(_: Any, run: Run[Mill]) -> None:
        attempts.append((run.attempt, run.key))
        raise ValueError(f"attempt {run.attempt}")

    async with working(store_url, mill) as (app, _):
        ref = await mill.enqueue(Grind())
        record = await ended(app, ref)
    assert record.state == "dead"
    assert record.reason == "failed 3 of 3 attempts; last: ValueError: attempt 3"
    assert attempts == [(1, ref.id), (2, ref.id), (3, ref.id)]
    assert [(error.attempt, error.message) for error in record.errors] == [
        (1, "attempt 1"), (2, "attempt 2"), (3, "attempt 3"),
    ]  # fmt: skip
    assert all("in fails" in (error.traceback or "") for error in record.errors)


@pytest.mark.parametrize("error", [Refused("no"), RefusedForGood("never")])
async def test_give_up_on_makes_the_job_dead_at_once(store_url: str, error: Exception) -> None:
    raising(error)
    async with working(store_url, mill) as (app, _):
        record = await ended(app, await mill.enqueue(GiveUp()))
    assert (record.state, record.failures) == ("dead", 1)
    assert str(error) in (record.reason or "")


async def test_other_exceptions_are_retried_where_some_are_given_up_on(store_url: str) -> None:
    @does
    def fails_once(_: Any, run: Run[Mill]) -> None:
        if run.attempt == 1:
            raise KeyError("once")

    async with working(store_url, mill) as (app, _):
        assert (await ended(app, await mill.enqueue(GiveUp()))).state == "completed"


async def test_a_backoff_function_is_given_the_attempt_and_the_error(store_url: str) -> None:
    raising(ValueError("why"))
    async with working(store_url, mill) as (app, _):
        assert (await ended(app, await mill.enqueue(Custom()))).state == "dead"
    assert seen[:2] == [(1, "why"), (2, "why")]


async def test_a_backoff_function_that_raises_does_not_cost_the_job(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    raising(ValueError("why"))
    async with working(store_url, mill) as (app, _):
        record = await in_state(app, await mill.enqueue(CustomBroken()), "scheduled")
        assert record.failures == 1
    assert "backoff function failed, the default is used: mill.custom-broken" in caplog.text


async def test_a_run_that_a_shutdown_interrupts_has_begun_and_expires_no_more(store_url: str) -> None:
    async def hangs(job: Any, run: Run[Mill]) -> None:
        await asyncio.sleep(3600)

    Behaviour.does = hangs
    async with opened(store_url, mill, grace=0.01) as app:
        refs = [await mill.enqueue(Grind(number=number), expires=3600) for number in range(40)]
        async with app.worker() as worker:
            await until(lambda: len(worker.parts.executor.active) == 10)
            running = set(worker.parts.executor.active)
        expiring = {ref.id for ref in refs if (await app.jobs.get(ref.id)).expires_at is not None}
    assert expiring == {ref.id for ref in refs} - running


async def test_a_backoff_for_one_call_overrules_the_policy(store_url: str) -> None:
    raising(ValueError("why"))
    async with working(store_url, mill) as (app, _):
        record = await in_state(app, await mill.enqueue(Grind(), backoff=fixed(1000.0)), "scheduled")
        assert (record.run_at - datetime.now(UTC)).total_seconds() > 500


@pytest.mark.parametrize("job", [Grind(), GrindInThread()], ids=["async", "thread"])
@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), StopIteration(), GeneratorExit(), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
async def test_no_exception_of_a_handler_ends_the_worker(store_url: str, job: Job[Mill], error: BaseException) -> None:
    @does
    def raises(_: Any, run: Run[Mill]) -> None:
        if run.attempt == 1:
            raise error

    async with working(store_url, mill) as (app, worker):
        first = await ended(app, await mill.enqueue(job))
        second = await ended(app, await mill.enqueue(job))
        assert worker.health()["ok"]
    assert [record.state for record in (first, second)] == ["completed", "completed"]
    assert [record.failures for record in (first, second)] == [1, 1]


@pytest.mark.parametrize("job", [Grind(), GrindInThread()], ids=["async", "thread"])
async def test_what_a_handler_logs_is_kept_with_the_job(
    store_url: str, caplog: pytest.LogCaptureFixture, job: Job[Mill]
) -> None:
    @does
    def logs(_: Any, run: Run[Mill]) -> None:
        run.log.debug("not kept")
        run.log.info("%d of %d", run.attempt, run.attempts)
        run.log.warning("a NUL \0")
        if run.attempt == 1:
            raise ValueError

    with caplog.at_level(logging.INFO):
        async with working(store_url, mill) as (app, _):
            ref = await mill.enqueue(job)
            await ended(app, ref)
            lines = await logged(app, ref, 4)
    assert [(line.attempt, line.level, line.message) for line in lines] == [
        (1, logging.INFO, "1 of 3"),
        (1, logging.WARNING, "a NUL \\0"),
        (2, logging.INFO, "2 of 3"),
        (2, logging.WARNING, "a NUL \\0"),
    ]
    [record] = [line for line in caplog.records if line.getMessage() == "2 of 3"]
    assert record.name.startswith("remit.job.mill.grind")
    assert record.remit_job_id == ref.id  # type: ignore[attr-defined]


async def logged(app: Remit, ref: JobRef, count: int) -> tuple[LogRecord, ...]:
    async def kept() -> tuple[LogRecord, ...] | None:
        logs = (await app.jobs.get(ref.id)).logs
        return logs if len(logs) >= count else None

    lines = await until(kept)
    assert lines is not None
    return lines


async def test_a_line_that_cannot_be_formatted_is_kept_as_far_as_it_goes(store_url: str) -> None:
    @does
    def logs(_: Any, run: Run[Mill]) -> None:
        run.log.info("%s and %s", 1)  # noqa: PLE1206

    async with working(store_url, mill) as (app, _):
        ref = await mill.enqueue(Grind())
        assert (await ended(app, ref)).state == "completed"
        [line] = await logged(app, ref, 1)
    assert line.message.startswith("%s and %s (its arguments do not fit")


async def test_a_running_job_learns_that_it_was_cancelled_and_is_not_tried_again(store_url: str) -> None:
    @does
    async def waits(_: Any, run: Run[Mill]) -> None:
        await until(lambda: run.cancelled)
        raise RuntimeError("stopped")

    async with working(store_url, mill, lease=1.5) as (app, _):
        ref = await mill.enqueue(Grind())
        await in_state(app, ref, "running")
        asked = await app.jobs.cancel(ref.id, reason="no longer wanted", by="ops")
        assert asked.state == "running"
        record = await ended(app, ref)
    assert (record.state, record.reason, record.cancelled_by) == ("cancelled", "no longer wanted", "ops")


async def in_a_task_group(*errors: BaseException) -> None:
    async def part(error: BaseException) -> None:
        raise error

    async with asyncio.TaskGroup() as group:
        for error in errors:
            group.create_task(part(error))


async def test_what_the_tasks_of_a_handler_raise_ends_the_run_as_if_the_handler_had(store_url: str) -> None:
    outcomes = [Skip("gone"), DeadLetter("no"), Snooze(3600), RetryAfter(3600, "busy"), Cancelled("half")]

    @does
    async def splits(job: Grind, run: Run[Mill]) -> None:
        await in_a_task_group(outcomes[job.number])

    async with working(store_url, mill) as (app, worker):
        refs = [await mill.enqueue(Grind(number=number)) for number in range(5)]
        refs.append(await mill.enqueue(GiveUpInGroup()))
        counts = worker.telemetry.counts
        await until(lambda: counts.total() - counts["failed"] >= len(refs))  # a retry counts as failed, too
        records = [await app.jobs.get(ref.id) for ref in refs]
    assert [(record.state.value, record.failures) for record in records] == [
        ("skipped", 0), ("dead", 1), ("scheduled", 0), ("scheduled", 1), ("cancelled", 0), ("dead", 1),
    ]  # fmt: skip
    assert [record.reason for record in records[:2]] == ["gone", "no"]
    assert [error.kind for error in records[3].errors] == ["RetryAfter"]


@pytest.mark.parametrize("job", [Grind(), GrindInThread()], ids=["async", "thread"])
async def test_a_job_that_was_asked_to_stop_and_does_so_is_cancelled(store_url: str, job: Job[Mill]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def checks(run: Run[Mill]) -> None:
        run.enqueue(Grind(number=99))
        while True:
            run.check()
            await asyncio.sleep(0.005)

    @does
    def works(job: Any, run: Run[Mill]) -> Any:
        loop.call_soon_threadsafe(stopped.set)
        if isinstance(job, Grind):
            return checks(run)
        while True:
            run.check()
            time.sleep(0.005)

    async with working(store_url, mill, lease=1.5) as (app, _):
        ref = await mill.enqueue(job)
        await stopped.wait()
        await app.jobs.cancel(ref.id, reason="no longer wanted", by="ops")
        record = await ended(app, ref)
        assert len((await app.jobs.list()).jobs) == 1, "what it sent is not sent"
    assert (record.state, record.reason, record.cancelled_by) == ("cancelled", "no longer wanted", "ops")
    assert (record.failures, record.errors) == (0, ())


async def test_a_handler_may_cancel_its_job_by_itself(store_url: str) -> None:
    raising(Cancelled("the order was withdrawn"))
    async with working(store_url, mill) as (app, _):
        record = await ended(app, await mill.enqueue(Grind()))
    assert (record.state, record.reason, record.cancelled_by) == ("cancelled", "the order was withdrawn", None)


async def test_check_lets_a_run_go_on_that_nobody_has_asked_to_stop(store_url: str) -> None:
    does(lambda _, run: run.check() or "went on")
    async with working(store_url, mill) as (app, _):
        assert (await ended(app, await mill.enqueue(Grind()))).result == "went on"


async def stops_when_it_must(_: Any, run: Run[Mill]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        run.check()


async def test_a_run_whose_time_is_up_has_failed_whatever_it_raises_then(store_url: str) -> None:
    does(stops_when_it_must)
    async with working(store_url, mill) as (app, _):
        record = await ended(app, await mill.enqueue(Hurried()))
    assert (record.state, [error.kind for error in record.errors]) == ("dead", ["TimeoutError"])


async def test_a_run_that_a_shutdown_stops_runs_again_whatever_it_raises_then(store_url: str) -> None:
    does(stops_when_it_must)
    async with working(store_url, mill, grace=0.01) as (app, worker):
        ref = await mill.enqueue(Grind())
        await in_state(app, ref, "running")
        await until(lambda: worker.parts.executor.active)
        await worker.stop()
        record = await app.jobs.get(ref.id)
    assert (record.state, record.failures) == ("ready", 0)


async def test_jobs_end_in_any_order_and_each_in_its_own_way(store_url: str) -> None:
    @does
    def ends(job: Grind, _: Run[Mill]) -> int:
        match job.number % 3:
            case 0:
                raise Skip("third")
            case 1:
                raise DeadLetter("first")
        return job.number

    async with working(store_url, mill) as (app, _):
        refs = await mill.enqueue_many([Grind(number=n) for n in range(60)])
        records = await all_ended(app, *refs)
    expected = ["skipped", "dead", "completed"] * 20
    assert [record.state for record in records] == expected


async def test_drain_runs_what_is_ready_and_what_that_sends(store_url: str) -> None:
    @does
    def sends(job: Grind, run: Run[Mill]) -> None:
        if job.number < 5:
            run.enqueue(Grind(number=job.number + 1))

    app = Remit(store_url, domains=[mill])
    await app.migrate()
    async with app:
        await mill.enqueue(Grind())
        await mill.enqueue(Grind(number=9), delay=3600)
        await app.drain()
        page = await app.jobs.list(state="completed")
        assert len(page.jobs) == 6
        assert len((await app.jobs.list(state="scheduled")).jobs) == 1
