"""The way out of a domain: what may leave it, and through which application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from remit.catalog.calls import EnqueueOptions, EnqueueRequest, prepare, spec_of
from remit.catalog.ports import Directory, Sender, running_domain
from remit.catalog.specs import DomainSpec, JobSpec, Message
from remit.errors import InvalidArgument, OwnershipError, UnboundDomain


@dataclass(frozen=True, slots=True)
class Binding:
    """The open application that sends for a domain: its label, its door, and all the jobs that it knows."""

    label: str
    sender: Sender
    directory: Directory


class Dispatch:
    """Checks what one domain sends, before anything is written; the async and the blocking face both use it."""

    def __init__(self, domain: DomainSpec) -> None:
        self._domain = domain
        self._binding: Binding | None = None

    @property
    def binding(self) -> Binding | None:
        """The application, if there is one."""
        return self._binding

    def rebind(self, binding: Binding | None) -> Binding | None:
        """Send through another application, or none, and give the one before."""
        before, self._binding = self._binding, binding
        return before

    @property
    def sender(self) -> Sender:
        """The door of the application. Raises `UnboundDomain`."""
        return self._bound().sender

    def request(self, message: Message[Any], options: EnqueueOptions) -> EnqueueRequest:
        """Check one message of this domain and make it a request."""
        spec = spec_of(message)
        check_owner(self._domain, spec)
        return prepare(spec, message, options, self._bound().directory.policy(spec))

    def requests(self, messages: Iterable[Message[Any]], options: EnqueueOptions) -> list[EnqueueRequest]:
        """The same for several messages. Raises `InvalidArgument` for an `id`, which only one job can have."""
        if options.get("id") is not None:
            raise InvalidArgument("id belongs to one job; enqueue the jobs one by one, or leave it out.")
        return [self.request(message, options) for message in messages]

    def build(self, name: str, payload: Mapping[str, Any]) -> Message[Any]:
        """Make a message of this domain from its short or whole name and the values of its fields."""
        if not isinstance(name, str) or not isinstance(payload, Mapping):
            raise InvalidArgument("enqueue_named takes a name and a mapping of field values.")
        whole_name = name if "." in name else f"{self._domain.name}.{name}"
        spec = self._domain.jobs.get(whole_name) or self._bound().directory.by_name(whole_name)
        check_owner(self._domain, spec)
        return spec.codec.build(payload)

    def _bound(self) -> Binding:
        if self._binding is None:
            raise UnboundDomain(
                f"{self._domain.name} cannot send yet: no application has taken it in. Create one with "
                f"Remit(url, domains=[{self._domain.name.replace('-', '_')}]) and open it first."
            )
        return self._binding


def check_owner(domain: DomainSpec, spec: JobSpec) -> None:
    """Refuse a job that the domain does not own, and any job while another domain's handler runs here.

    Raises `OwnershipError`, which says what to do instead.
    """
    owner = spec.domain.__remit__
    if owner is not domain:
        raise OwnershipError(
            f"{domain.name} cannot enqueue {spec.name}: only {owner.name} may. Let {domain.name} publish an event "
            f"that {owner.name} subscribes to, or call an API of {owner.name}."
        )
    running = running_domain.get()
    if running is not None and running is not domain.instance:
        raise OwnershipError(
            f"A handler of {running.__remit__.name} cannot enqueue {spec.name}, not even through {domain.name}; "
            f"let it publish an event that {domain.name} subscribes to."
        )
