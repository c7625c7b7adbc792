"""Which jobs a verb is about: one filter for lists, counts and everything that is done to many."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, TypeAlias, TypedDict

from remit.catalog import AnyId, id_text
from remit.codec import encode
from remit.errors import InvalidArgument, nearest
from remit.jobs.model import Filter, micros
from remit.jobs.states import State


class JobFilter(TypedDict, total=False):
    """Conditions that a job must meet, all of them; one that is missing or None holds for every job.

    - `state`: one of the seven states. `job`, `queue`: whole names, e.g. `billing.sync-invoice`. `domain`: its name. A
      `job` is the name of a job or of a subscription; jobs under its other names, which it had or has, match too.
    - `label`: the whole label. `requested_by`: the name, role or email of the requester.
    - `reason`: a part of the reason for which a job was skipped, cancelled, put off or given up; no index serves it, so
      name a `state` with it.
    - `correlation`: the job or event at the beginning of a chain. `scope`: keys and values that its scope must have.
    - `since`, `until`: sent at this moment or later, sent before this moment. `ended_before`: ended at this moment or
      earlier. They must be aware.
    - `failing`: jobs that have not ended and of which an attempt failed. `deleted`: deleted jobs too.
    """

    state: str | None
    job: str | None
    queue: str | None
    domain: str | None
    label: str | None
    requested_by: str | None
    reason: str | None
    correlation: AnyId | None
    scope: Mapping[str, Any] | None
    since: datetime | None
    until: datetime | None
    ended_before: datetime | None
    failing: bool
    deleted: bool


def checked(given: JobFilter, names: Collection[str] | None = None) -> Filter:
    """A filter as the statements take it; `names` are all names of its `job`.

    Raises `InvalidArgument`, which names the condition.
    """
    for key in given:
        if key not in JobFilter.__annotations__:
            raise InvalidArgument(
                f"a filter of jobs has no condition {key!r}.{nearest(key, list(JobFilter.__annotations__))}"
            )
    cause = given.get("correlation")
    correlation = id_text(cause)
    if cause is not None and correlation is None:
        raise InvalidArgument(f"correlation is {cause!r}, which is not an id: copy one from `remit jobs show`")
    scope = given.get("scope")
    filter: Filter = {
        "state": _state(given.get("state")),
        "names": None if names is None else encode(sorted(names)),
        "queue": given.get("queue"),
        "domain": given.get("domain"),
        "label": given.get("label"),
        "requested_by": given.get("requested_by"),
        "reason": given.get("reason"),
        "correlation": correlation,
        "scope": encode(dict(scope)) if scope else None,
        "since": _micros("since", given.get("since")),
        "until": _micros("until", given.get("until")),
        "ended_before": _micros("ended_before", given.get("ended_before")),
        "failing": bool(given.get("failing")),
        "deleted": bool(given.get("deleted")),
    }
    return filter


Called: TypeAlias = Callable[[str], Collection[str]]
"""Gives all names of what an application calls by one of them; at least that one."""


def by_that_name(name: str) -> Collection[str]:
    """What goes by a name where no application tells of others."""
    return (name,)


def unknown(noun: str, name: str, known: Collection[str]) -> str:
    """Say that a name is unknown, and which one was probably meant."""
    return f"there is no {noun} {name!r}.{nearest(name, known)}"


def _state(state: str | None) -> str | None:
    if state is None:
        return None
    try:
        return State(state).value
    except ValueError:
        raise InvalidArgument(
            f"state {state!r} is no state of a job.{nearest(state, list(State))} The states are {', '.join(State)}."
        ) from None


def _micros(name: str, at: datetime | None) -> int | None:
    if at is not None and at.utcoffset() is None:
        raise InvalidArgument(f"{name} has no time zone: pass an aware datetime, e.g. datetime.now(UTC)")
    return None if at is None else micros(at)
