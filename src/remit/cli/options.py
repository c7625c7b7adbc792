"""The options that several commands share. Each name has one meaning everywhere, since each has one variable."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter
from cyclopts.validators import Number

AppPath: TypeAlias = Annotated[
    str | None, Parameter(name=("--app", "-a"), help="The application: module:attribute, or module for module:app.")
]
AsJson: TypeAlias = Annotated[
    bool, Parameter(name="--json", negative=(), show_default=False, help="Write JSON, for programs.")
]
JobName: TypeAlias = Annotated[
    str | None, Parameter(name="--job", metavar="NAME", help="Only this job, e.g. billing.sync-invoice.")
]
QueueName: TypeAlias = Annotated[
    str | None, Parameter(name="--queue", metavar="NAME", help="Only this queue, e.g. billing.invoices.")
]
DomainName: TypeAlias = Annotated[
    str | None, Parameter(name="--domain", metavar="NAME", help="Only this domain, e.g. billing.")
]
Limit: TypeAlias = Annotated[
    int, Parameter(name="--limit", validator=Number(gte=1), metavar="N", help="The maximum number.")
]
After: TypeAlias = Annotated[
    str | None, Parameter(name="--after", metavar="ID", help="Continue after this id, the last of the page before.")
]
ReasonText: TypeAlias = Annotated[
    str | None, Parameter(name="--reason", metavar="TEXT", help="Only where the reason contains this text.")
]
Label: TypeAlias = Annotated[
    str | None, Parameter(name="--label", metavar="TEXT", help="Only jobs with exactly this label.")
]
RequestedBy: TypeAlias = Annotated[
    str | None,
    Parameter(name="--requested-by", metavar="NAME", help="Only jobs requested by this name, role or email."),
]
Correlation: TypeAlias = Annotated[
    str | None, Parameter(name="--correlation", metavar="ID", help="Only the chain that began with this job or event.")
]
Scope: TypeAlias = Annotated[
    list[str] | None,
    Parameter(
        name="--scope",
        metavar="KEY=VALUE",
        negative=(),
        consume_multiple=False,
        help="Only jobs of this scope (tenant).",
    ),
]
Since: TypeAlias = Annotated[
    str | None, Parameter(name="--since", metavar="WHEN", help="Only jobs sent since: 10min, 7d, 2026-01-31, …")
]
Until: TypeAlias = Annotated[
    str | None, Parameter(name="--until", metavar="WHEN", help="Only jobs sent before: 10min, 7d, 2026-01-31, …")
]
Failing: TypeAlias = Annotated[
    bool,
    Parameter(
        name="--failed", negative=(), show_default=False, help="Only jobs that wait or run after a failed attempt."
    ),
]
DryRun: TypeAlias = Annotated[
    bool,
    Parameter(name="--dry-run", negative=(), show_default=False, help="Report how many match, and change nothing."),
]
JobIds: TypeAlias = Annotated[
    str, Parameter(name="ID", help="The ids of jobs, or at least their first 8 characters if these are unique.")
]
QueueNames: TypeAlias = Annotated[str, Parameter(name="QUEUE", help="Full names, e.g. billing.invoices.")]
By: TypeAlias = Annotated[
    str | None, Parameter(name="--by", metavar="NAME", help="The person, by default the user account.")
]
Window: TypeAlias = Annotated[
    float,
    Parameter(name="--window", validator=Number(gt=0), metavar="SECONDS", help="Seconds over which rates are taken."),
]
EventIds: TypeAlias = Annotated[str, Parameter(name="ID", help="The ids of events.")]
Yes: TypeAlias = Annotated[bool, Parameter(name=("--yes", "-y"), negative=(), show_default=False, help="Do not ask.")]
StateName: TypeAlias = Literal["scheduled", "ready", "running", "completed", "skipped", "cancelled", "dead"]
