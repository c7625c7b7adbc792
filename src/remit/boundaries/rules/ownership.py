"""`foreign-enqueue`, `foreign-publish`, `unknown-job`: a domain sends its own messages, whoever's verb it calls."""

from __future__ import annotations

from collections.abc import Iterator

from remit.boundaries.model import Model
from remit.boundaries.sites import NAMED, Sending
from remit.boundaries.violations import Violation
from remit.catalog import DomainSpec, EventSpec, JobSpec, MessageSpec
from remit.errors import nearest


def foreign_enqueue(model: Model) -> Iterator[Violation]:
    """A job is enqueued by its owner alone: by class, and by name."""
    for site in _sendings(model):
        for spec in (*site.specs, *_named(model, site)):
            if isinstance(spec, JobSpec) and (sender := _stranger(model, site, spec)):
                owner = spec.domain.__remit__.name
                yield _violation(
                    "foreign-enqueue",
                    site,
                    sender,
                    spec,
                    f"{_who(model, site, sender, 'enqueues', spec)}, and only {owner} may",
                    _remedy(model, site, spec) or _remedy_of_job(sender, spec),
                )


def foreign_publish(model: Model) -> Iterator[Violation]:
    """An event has one publisher: its owner."""
    for site in _sendings(model):
        for spec in site.specs:
            if isinstance(spec, EventSpec) and (sender := _stranger(model, site, spec)):
                owner = spec.domain.__remit__.name
                yield _violation(
                    "foreign-publish",
                    site,
                    sender,
                    spec,
                    f"{_who(model, site, sender, 'publishes', spec)}, and only {owner} may",
                    _remedy(model, site, spec)
                    or f"Let {owner} publish it, or let {sender.name} publish an event of its own.",
                )


def unknown_job(model: Model) -> Iterator[Violation]:
    """A name in a text is checked as a class is."""
    known = _jobs(model)
    for site in _sendings(model):
        if site.name is None or _named(model, site):
            continue
        domain = site.through or model.home(site.source.module)
        whole = _whole_name(site, domain)
        if whole is None:
            continue
        yield Violation(
            "unknown-job",
            site.source.file,
            site.line,
            domain.name if domain else whole.partition(".")[0],
            f"{site.source.module} enqueues {whole}",
            f"no domain declares a job {whole!r}",
            f"Correct the name.{nearest(whole, known)}",
        )


def _sendings(model: Model) -> Iterator[Sending]:
    return (site for site in model.sites if isinstance(site, Sending))


def _stranger(model: Model, site: Sending, spec: MessageSpec) -> DomainSpec | None:
    """The domain that sends what it does not own; None where all is well.

    Code outside all domains, such as a web layer, may send what it likes by the verbs of the owner.
    """
    owner = spec.domain.__remit__
    home = model.home(site.source.module)
    if home is not None and home is not owner:
        return home
    return site.through if site.through is not None and site.through is not owner else None


def _named(model: Model, site: Sending) -> list[JobSpec]:
    if site.verb not in NAMED or site.name is None:
        return []
    whole = _whole_name(site, site.through or model.home(site.source.module))
    found = _jobs(model).get(whole or "")
    return [found] if found else []


def _whole_name(site: Sending, domain: DomainSpec | None) -> str | None:
    assert site.name is not None
    if "." in site.name:
        return site.name
    return f"{domain.name}.{site.name}" if domain else None


def _jobs(model: Model) -> dict[str, JobSpec]:
    return {name: spec for spec in model.catalog.specs for name in spec.names}


def _who(model: Model, site: Sending, sender: DomainSpec, verb: str, spec: MessageSpec) -> str:
    if model.home(site.source.module) is sender:
        return f"{sender.name} {verb} {spec.name}"
    return f"{site.source.module} {verb} {spec.name} through {sender.name}"


def _remedy(model: Model, site: Sending, spec: MessageSpec) -> str | None:
    """What to do where the message may be sent from here, by the verb of its owner."""
    owner = spec.domain.__remit__
    if model.home(site.source.module) not in (None, owner):
        return None
    return f"Call {site.verb} of {owner.name}."


def _remedy_of_job(sender: DomainSpec, spec: JobSpec) -> str:
    owner = spec.domain.__remit__
    heard = sorted(
        {each.event.message.__qualname__ for each in owner.subscriptions.values() if each.event.domain is sender.owner}
    )
    if heard:
        return f"Publish {' or '.join(heard)} instead, which {owner.name} hears."
    return (
        f"Publish an event of {sender.name}, and let {owner.name} hear it and enqueue its own job; or call what "
        f"{owner.name} makes public."
    )


def _violation(rule: str, site: Sending, sender: DomainSpec, spec: MessageSpec, message: str, remedy: str) -> Violation:
    verb = "enqueues" if rule == "foreign-enqueue" else "publishes"
    subject = f"{site.source.module} {verb} {spec.name}"
    return Violation(rule, site.source.file, site.line, sender.name, subject, message, remedy)
