"""What a run may send: only what its domain owns, and as its application says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remit.catalog import (
    MAX_HOPS,
    Catalog,
    EnqueueOptions,
    EnqueueRequest,
    Event,
    Job,
    MessageSpec,
    Owner,
    PublishOptions,
    PublishRequest,
    check_owner,
    event_spec_of,
    prepare,
    prepare_event,
    spec_of,
)
from remit.errors import OwnershipError


class Gate:
    """Checks and prepares messages. `refused` is called with (domain, message, kind) of what may not pass.

    `max_hops` is the limit for what runs send; see `remit.catalog.hops`.
    """

    def __init__(
        self, catalog: Catalog, refused: Callable[[str, str, str], None], max_hops: int | None = MAX_HOPS
    ) -> None:
        self.max_hops = max_hops
        self._catalog = catalog
        self._refused = refused

    def job(self, sender: Owner[Any], job: Job[Any], options: EnqueueOptions) -> EnqueueRequest:
        spec = spec_of(job)
        self._check_owner(sender, spec)
        return prepare(spec, job, options, self._catalog.policy(spec), self._catalog.scope(job))

    def event(self, sender: Owner[Any], event: Event[Any], options: PublishOptions) -> PublishRequest:
        spec, catalog = event_spec_of(event), self._catalog
        self._check_owner(sender, spec)
        return prepare_event(spec, event, options, catalog.limit(spec), catalog.scope(event), keep=catalog.keep(spec))

    def _check_owner(self, sender: Owner[Any], spec: MessageSpec) -> None:
        try:
            check_owner(sender.__remit__, spec)
        except OwnershipError:
            self._refused(sender.__remit__.name, spec.name, spec.kind)
            raise
