"""The job's context on every log record: whichever logger a handler uses, the record names its job.

`install` puts a record factory before the present one, which it calls, so that several may be stacked. A record that
is made while a handler runs, in its task, its thread or its child process, has the fields `remit_job` (the name),
`remit_job_id`, `remit_attempt` and `remit_correlation`. The log of `remit worker` shows them, and a formatter of the
application can.
"""

from __future__ import annotations

import logging
from typing import Any

from remit.catalog import current_origin


def install() -> None:
    """Name the running job on each record of this process, from now on. A second call changes nothing."""
    present = logging.getLogRecordFactory()
    if getattr(present, "of_remit", False):
        return

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = present(*args, **kwargs)
        origin = current_origin.get()
        if origin is not None:
            made.remit_job = origin.job
            made.remit_job_id = origin.causation
            made.remit_attempt = origin.attempt
            made.remit_correlation = origin.correlation
        return made

    record.of_remit = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(record)
