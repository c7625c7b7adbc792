"""`foreign-enqueue`, `foreign-publish`, `unknown-job`: a domain sends only its own messages, by any domain's method."""

from __future__ import annotations

from collections.abc import Iterator

from remit.boundaries.model import Model
from remit.boundaries.sites import ENQUEUE, NAMED, PUBLISH, Sending
from remit.boundaries.violations import Violation
from remit.catalog import DomainSpec, EventSpec, JobSpec, MessageSpec
from remit.catalog.dispatch import remedy
from remit.errors import nearest


def foreign_enqueue(model: Model) -> Iterator[Violation]:
    """Only the owner of a job enqueues it: by class, and by name."""
    for site in _sendings(model):
        for spec in (*site.specs, *named_jobs(model, site)):
            if isinstance(spec, JobSpec) and (sender := _stranger(model, site, spec)):
                owner = spec.domain.__remit__.name
                yield _violation(
                    "foreign-enqueue",
                    site,
                    sender,
                    f"enqueues {spec.name}",
                    f"{_who(model, site, sender, 'enqueues', spec)}, and only {owner} may",
                    _remedy(model, site, spec) or remedy(sender, spec.domain.__remit__, spec.kind),
                )
        if site.verb in ENQUEUE | NAMED:
            yield from _borrowed("foreign-enqueue", model, site, JobSpec.kind)


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
                    f"publishes {spec.name}",
                    f"{_who(model, site, sender, 'publishes', spec)}, and only {owner} may",
                    _remedy(model, site, spec) or remedy(sender, spec.domain.__remit__, spec.kind),
                )
        if site.verb in PUBLISH:
            yield from _borrowed("foreign-publish", model, site, EventSpec.kind)


def unknown_job(model: Model) -> Iterator[Violation]:
    """A name in a text is checked as a class is."""
    known = _jobs(model)
    for site in _sendings(model):
        if site.name is None or named_jobs(model, site):
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
    """The domain that sends a message that it does not own; None if there is none.

    Code outside all domains, such as a web layer, may send any message by the methods of its owner.
    """
    owner = spec.domain.__remit__
    home = _sender(model, site)
    if home is not None and home is not owner and not _is_passed_on(site, spec):
        return home
    return site.through if site.through is not None and site.through is not owner else None


def _sender(model: Model, site: Sending) -> DomainSpec | None:
    """The domain whose code sends: that of the handler, or else of the package; None outside all."""
    return site.within or model.home(site.source.module)


def _is_passed_on(site: Sending, spec: MessageSpec) -> bool:
    """A received event may be passed to calls outside remit, as far as they are resolved; a job is never received."""
    return site.through is None and isinstance(spec, EventSpec) and spec not in site.made


def _borrowed(rule: str, model: Model, site: Sending, kind: str) -> Iterator[Violation]:
    """A domain calls the method of another with an unresolved message: that method takes only the other's messages."""
    home, owner = _sender(model, site), site.through
    if home is None or owner is None or home is owner or site.specs or named_jobs(model, site):
        return
    did = f"calls {owner.name}.{site.verb}"
    yield _violation(rule, site, home, did, f"{home.name} {did}, and only {owner.name} may", remedy(home, owner, kind))


def named_jobs(model: Model, site: Sending) -> list[JobSpec]:
    """The job of a name in a text; None without a name, or without such a job."""
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
    if _sender(model, site) is sender:
        return f"{sender.name} {verb} {spec.name}"
    return f"{site.source.module} {verb} {spec.name} through {sender.name}"


def _remedy(model: Model, site: Sending, spec: MessageSpec) -> str | None:
    """The remedy if the message may be sent from here, by the method of its owner."""
    owner = spec.domain.__remit__
    if _sender(model, site) not in (None, owner):
        return None
    return f"Call {site.verb} of {owner.name}."


def _violation(rule: str, site: Sending, sender: DomainSpec, did: str, message: str, instead: str) -> Violation:
    subject = f"{site.source.module} {did}"
    return Violation(rule, site.source.file, site.line, sender.name, subject, message, instead)
