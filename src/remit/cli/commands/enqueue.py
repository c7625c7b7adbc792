"""`remit enqueue`: send one job by its name, for scripts and people."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from remit.catalog import Domain, EnqueueOptions
from remit.cli.applications import named, opened, whoever
from remit.cli.exits import UsageError
from remit.cli.moments import moment_ahead
from remit.cli.options import AppPath, AsJson, By
from remit.cli.output import say, tell
from remit.client import OWN_TRANSACTION


def enqueue(
    *words: Annotated[str, Parameter(name="NAME PAYLOAD", help="The job, e.g. billing.sync-invoice, and its fields.")],
    app: AppPath = None,
    delay: Annotated[
        float | None, Parameter(validator=Number(gte=0), metavar="SECONDS", help="Seconds until it is due.")
    ] = None,
    at: Annotated[
        str | None, Parameter(metavar="WHEN", help="The time at which it is due, e.g. 2026-01-31T13:00Z.")
    ] = None,
    priority: Annotated[int | None, Parameter(metavar="N", help="Its priority; a lower number goes first.")] = None,
    attempts: Annotated[
        int | None, Parameter(validator=Number(gte=1), metavar="N", help="The number of its attempts.")
    ] = None,
    timeout: Annotated[
        float | None, Parameter(validator=Number(gt=0), metavar="SECONDS", help="Seconds that one run of it may take.")
    ] = None,
    label: Annotated[str | None, Parameter(metavar="TEXT", help="A label for people.")] = None,
    by: By = None,
    id: Annotated[
        str | None, Parameter(metavar="ID", help="An id of your own (a UUID), so that a repeated call sends only once.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Send one job: NAME is its full name, PAYLOAD a JSON object of its fields, @FILE, or @- for standard
    input.

    The payload is checked as in Python. The id of the job is written to standard output.
    """
    rest = list(words)
    path = named(rest.pop(0) if rest and ":" in rest[0] and not rest[0].lstrip().startswith("{") else app)
    if not rest or len(rest) > 2:
        raise UsageError(
            'remit enqueue takes the name of a job and its payload: billing.sync-invoice \'{"invoice_id": "1"}\''
        )
    payload = _payload(rest[1] if len(rest) == 2 else "{}")
    options = _options(
        delay=delay,
        at=moment_ahead("--at", at),
        priority=priority,
        attempts=attempts,
        timeout=timeout,
        label=label,
        id=id,
        requested_by=by or whoever(),
    )
    with opened(path) as (application, _):
        spec = application.catalog.by_name(rest[0])
        domain = spec.domain.__remit__.instance
        assert isinstance(domain, Domain)
        ref = domain.sync.enqueue_named(rest[0], payload, tx=OWN_TRANSACTION, **options)
    if json:
        tell({"id": ref.id, "job": spec.name, "duplicate": ref.duplicate})
    else:
        say(f"{ref.id} {spec.name}" + (" already existed: it is a duplicate" if ref.duplicate else ""))


def _payload(text: str) -> dict[str, Any]:
    source = "the payload"
    try:
        if text.startswith("@"):
            source = "standard input" if text == "@-" else text[1:]
            text = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text("utf-8")
        payload = jsonlib.loads(text)
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{source} is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise UsageError(f"{source} is {type(payload).__name__}: write a JSON object of the job's fields")
    return payload


def _options(**given: Any) -> EnqueueOptions:
    return {name: value for name, value in given.items() if value is not None}  # type: ignore[return-value]
