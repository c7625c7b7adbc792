"""`unpublished-event`, `unheard-event`: every event has its publisher and its subscribers."""

from __future__ import annotations

from collections.abc import Iterator

from remit.boundaries.model import Model
from remit.boundaries.sites import PUBLISH, Building, Sending
from remit.boundaries.violations import Violation
from remit.catalog import EventSpec


def unpublished_event(model: Model) -> Iterator[Violation]:
    """Each event is published or recorded; an older version is kept for stored events, and no longer published.

    A class that its domain builds is not reported if that domain also publishes unresolved messages.
    """
    sent = {spec for site in model.sites if isinstance(site, Sending) for spec in site.specs}
    built = {(site.spec, model.home(site.source.module)) for site in model.sites if isinstance(site, Building)}
    doubtful = {
        model.home(site.source.module)
        for site in model.sites
        if isinstance(site, Sending) and site.verb in PUBLISH and not site.told
    }
    for spec in model.events:
        owner = spec.domain.__remit__
        if (
            spec in sent
            or not owner.events.is_newest(spec)
            or any((spec, home) in built and home in doubtful for home in (owner, None))
        ):
            continue
        yield _violation(
            model,
            "unpublished-event",
            spec,
            f"{spec.name} is never published",
            f"Publish it in {owner.name}, or remove it; if something outside these sources does, "
            f'Exempt("unpublished-event", "{spec.name}", reason=…).',
        )


def unheard_event(model: Model) -> Iterator[Violation]:
    """Each event has a subscriber, or is declared to be kept for the record."""
    heard = {each.event for each in model.subscriptions}
    for spec in model.events:
        if spec not in heard and not spec.audit_only:
            yield _violation(
                model,
                "unheard-event",
                spec,
                f"{spec.name} has no subscriber",
                "Subscribe to it, remove it, or set audit_only=True on the class if it is kept for the record.",
            )


def _violation(model: Model, rule: str, spec: EventSpec, message: str, remedy: str) -> Violation:
    place = model.place_of(spec)
    return Violation(rule, place.file, place.line, spec.domain.__remit__.name, spec.name, message, remedy)
