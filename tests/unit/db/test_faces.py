"""One implementation, two faces: nothing is missing on either, and nobody keeps a second copy."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import pytest

import remit
from remit import Domain, Job, Remit
from remit.catalog.domains import SyncFace
from remit.client import (
    Events,
    Jobs,
    Queues,
    Subscriptions,
    SyncEvents,
    SyncJobs,
    SyncQueues,
    SyncSubscriptions,
    SyncWorkers,
    Workers,
)

FACES = [
    (Events, SyncEvents),
    (Jobs, SyncJobs),
    (Queues, SyncQueues),
    (Subscriptions, SyncSubscriptions),
    (Workers, SyncWorkers),
]

VERBS = {
    Events: {"get", "list", "outbox", "retry", "replay"},
    Subscriptions: {"list", "get", "retire", "differences"},
    Jobs: {
        "get",
        "whole_id",
        "list",
        "cancel",
        "retry",
        "delete",
        "replay",
        "count",
        "cancel_many",
        "retry_many",
        "delete_many",
    },
    Queues: {"list", "pause", "resume"},
    Workers: {"list", "leaders"},
}


def verbs(face: type) -> set[str]:
    return {name for name, value in vars(face).items() if callable(value) and not name.startswith("_")}


@pytest.mark.parametrize("face, sync", FACES)
def test_both_faces_have_the_same_verbs(face: type, sync: type) -> None:
    assert verbs(face) == verbs(sync) == VERBS[face]


@pytest.mark.parametrize("face, sync", FACES)
def test_a_verb_says_the_same_on_both_faces(face: type, sync: type) -> None:
    for name in verbs(face):
        one, other = getattr(face, name), getattr(sync, name)
        assert inspect.signature(one) == inspect.signature(other), name
        assert one.__doc__ == other.__doc__, name
        assert one.__doc__, name


@pytest.mark.parametrize("face, sync", FACES)
def test_one_face_is_awaited_and_the_other_is_not(face: type, sync: type) -> None:
    for name in verbs(face):
        assert inspect.iscoroutinefunction(getattr(face, name)), name
        assert not inspect.iscoroutinefunction(getattr(sync, name)), name


def test_a_domain_sends_in_both_styles() -> None:
    sending = {"enqueue", "enqueue_many", "enqueue_named", "flush"}
    sending |= {"publish", "publish_many", "publish_recorded", "publish_soon", "publish_later"}
    assert verbs(SyncFace) == sending < verbs(Domain)
    for name in sending:
        assert parameters(getattr(Domain, name)) == parameters(getattr(SyncFace, name)), name
        assert inspect.iscoroutinefunction(getattr(Domain, name))
        assert not inspect.iscoroutinefunction(getattr(SyncFace, name))


def parameters(function: Any) -> Iterable[tuple[str, Any]]:
    return [(p.name, p.kind) for p in inspect.signature(function).parameters.values() if p.name != "self"]


class Faces(Domain): ...


class Look(Job[Faces]):
    n: int = 0


faces = Faces()


def test_an_application_has_its_faces(sqlite_url: str) -> None:
    app = Remit(sqlite_url, domains=[faces])
    found = {name: type(value) for name, value in vars(app).items() if not name.startswith("_")}
    awaited = {"events": Events, "jobs": Jobs, "queues": Queues, "subscriptions": Subscriptions, "workers": Workers}
    assert {name: found[name] for name in awaited} == awaited
    sync = {name: type(value) for name, value in vars(app.sync).items() if not name.startswith("_")}
    assert sync == {
        "events": SyncEvents,
        "jobs": SyncJobs,
        "queues": SyncQueues,
        "subscriptions": SyncSubscriptions,
        "workers": SyncWorkers,
    }


def test_the_public_names_are_the_vocabulary() -> None:
    assert set(remit.__all__) == {
        "Cancelled",
        "DeadLetter",
        "Defaults",
        "Domain",
        "Envelope",
        "Event",
        "EventRecord",
        "EventRef",
        "Job",
        "JobDied",
        "JobRecord",
        "JobRef",
        "Keep",
        "Outbox",
        "Page",
        "Publisher",
        "Rail",
        "Remit",
        "Retry",
        "RetryAfter",
        "Run",
        "Scheduler",
        "Skip",
        "Snooze",
        "State",
        "SubscriptionRecord",
        "exponential",
        "fixed",
    }


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in remit.__all__:
        assert getattr(remit, name).__doc__, name


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'remit' has no attribute 'Celery'"):
        remit.Celery  # noqa: B018
