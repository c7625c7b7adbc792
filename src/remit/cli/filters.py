"""The filter of a command: its options as the conditions of the Python methods, checked against known names."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from remit.app import Remit, SyncRemit
from remit.cli.exits import UsageError
from remit.cli.moments import moment_of
from remit.client import JobFilter
from remit.errors import InvalidArgument, nearest


def job_filter(  # one parameter per option
    *,
    state: str | None = None,
    job: str | None = None,
    queue: str | None = None,
    domain: str | None = None,
    label: str | None = None,
    requested_by: str | None = None,
    reason: str | None = None,
    correlation: str | None = None,
    scope: Iterable[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    dead_before: str | None = None,
    failing: bool = False,
) -> JobFilter:
    """The conditions that were given, without the others. Raises `UsageError`."""
    given: JobFilter = {
        "state": state,
        "job": job,
        "queue": queue,
        "domain": domain,
        "label": label,
        "requested_by": requested_by,
        "reason": reason,
        "correlation": correlation,
        "scope": _scope(scope or ()),
        "since": moment_of("--since", since),
        "until": moment_of("--until", until),
        "ended_before": moment_of("--dead-before", dead_before),
        "failing": failing,
    }
    return {key: value for key, value in given.items() if value}  # type: ignore[return-value]


def _scope(pairs: Iterable[str]) -> dict[str, Any] | None:
    scope: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"--scope {pair!r} is not KEY=VALUE, as in --scope organization_id=acme")
        scope[key] = _value(value)
    return scope or None


def _value(text: str) -> Any:
    """A number, true, false or null if the text is one in JSON; otherwise the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, dict | list) else value


def check_names(app: Remit, face: SyncRemit, filter: JobFilter) -> None:
    """Refuse a queue, job or domain that neither the application declares nor the store has. Raises `InvalidArgument`.

    Called only if a filter found nothing, so that a filter with results costs no second query.
    """
    app.catalog.import_handlers()
    jobs = {*(name for spec in app.catalog.specs for name in spec.names)}
    jobs |= {name for each in app.catalog.subscriptions for name in each.names}
    _check(face, "job", filter.get("job"), jobs)
    _check(face, "queue", filter.get("queue"), app.catalog.queues)
    _check(face, "domain", filter.get("domain"), [domain.__remit__.name for domain in app.catalog.domains])


def _check(face: SyncRemit, noun: str, name: str | None, known: Collection[str]) -> None:
    if name is None or name in known or name == "remit":
        return
    stored: JobFilter = {noun: name, "deleted": True}  # type: ignore[misc]
    if not face.jobs.list(limit=1, **stored).jobs:
        hint = nearest(name, known) or (f" There are {', '.join(sorted(known))}." if known else "")
        raise InvalidArgument(f"--{noun} {name}: no {noun} of that name is declared, and the store has none.{hint}")
