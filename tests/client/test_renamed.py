"""What was renamed is found by each of its names: jobs, dead letters, deliveries and events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from remit import Domain, Event, Job, Remit, Retry, Run


def nobody(job: Any, run: Run[Any]) -> None:
    raise ValueError("nobody is at home")


def release(url: str, *, renamed: bool) -> tuple[Remit, Callable[[], None]]:
    """One release of an application, whose handlers fail; and what sends one message of each kind."""
    once = Retry(attempts=1)

    class Billing(Domain, handlers=__name__): ...

    job: dict[str, Any] = {"name": "billing.sync"}
    event: dict[str, Any] = {"name": "billing.paid"}
    subscription: dict[str, Any] = {"name": "hear"}
    if renamed:
        job = {"name": "billing.push", "aliases": ("billing.sync",)}
        event = {"name": "billing.settled", "aliases": ("billing.paid",)}
        subscription = {"name": "listen", "aliases": ("hear",)}

    class Sync(Job[Billing], retry=once, **job): ...

    class Paid(Event[Billing], **event): ...

    billing = Billing()
    billing.handles(Sync)(nobody)
    billing.on(Paid, **subscription, retry=once, inline="a test")(nobody)
    app = Remit(url, domains=[billing])
    app.sync.migrate()

    def send() -> None:
        billing.sync.enqueue(Sync())
        billing.sync.publish(Paid())
        app.sync.drain()

    return app, send


@pytest.fixture
def app(store_url: str) -> Remit:
    """The release that renamed everything, on what both have left behind."""
    for renamed in (False, True):
        app, send = release(store_url, renamed=renamed)
        with app.bound(), app.sync:
            send()
    return app


@pytest.mark.parametrize("name", ["billing.push", "billing.sync", "billing.listen", "billing.hear"])
def test_dead_letters_are_found_and_replayed_by_each_name(app: Remit, name: str) -> None:
    with app.sync:
        jobs = app.sync.jobs
        assert jobs.count(state="dead", job=name) == 2
        assert len(jobs.list(job=name).jobs) == 2
        assert jobs.replay(job=name) == 2
        assert jobs.count(state="dead", job=name) == 0
        assert jobs.count(state="ready") == 2


def test_a_subscription_is_found_by_its_former_name_where_no_handler_is_imported(app: Remit, store_url: str) -> None:
    stranger = Remit(store_url, domains=[])
    with stranger.sync:
        assert stranger.sync.jobs.count(state="dead", job="billing.listen") == 2
        assert stranger.sync.jobs.count(state="dead", job="billing.push") == 1, "only the application knows its aliases"


@pytest.mark.parametrize("name", ["billing.settled", "billing.paid"])
def test_events_are_found_by_each_name(app: Remit, name: str) -> None:
    with app.sync:
        found = app.sync.events.list(event=name).events
    assert sorted(each.name for each in found) == ["billing.paid", "billing.settled"]


def test_a_name_that_nobody_has_finds_nothing(app: Remit) -> None:
    with app.sync:
        assert app.sync.jobs.list(job="billing.nothing").jobs == ()
        assert app.sync.events.list(event="billing.nothing").events == ()
