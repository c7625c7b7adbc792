"""Sending from a domain: the ownership check, and the application that sends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from remit.catalog.calls import EnqueueOptions, EnqueueRequest, prepare, spec_of
from remit.catalog.later import later_message
from remit.catalog.messages import Job
from remit.catalog.ports import Directory, Sender, running_domain
from remit.catalog.publishing import PublishOptions, PublishRequest, event_spec_of, prepare_event
from remit.catalog.specs import DomainSpec, EventSpec, JobSpec, Message, MessageSpec
from remit.errors import InvalidArgument, OwnershipError, UnboundDomain


@dataclass(frozen=True, slots=True)
class Binding:
    """The open application that sends for a domain: its label, its sender, and all the messages that it knows."""

    label: str
    sender: Sender
    directory: Directory


class Dispatch:
    """Checks the messages that one domain sends, before anything is written; for the async and blocking interface."""

    def __init__(self, domain: DomainSpec) -> None:
        self.domain = domain
        self._binding: Binding | None = None

    @property
    def binding(self) -> Binding | None:
        """The application, if there is one."""
        return self._binding

    def rebind(self, binding: Binding | None) -> Binding | None:
        """Send through another application, or none, and return the previous binding."""
        before, self._binding = self._binding, binding
        return before

    @property
    def sender(self) -> Sender:
        """The sender of the application. Raises `UnboundDomain`."""
        return self._bound().sender

    def request(self, message: Message[Any], options: EnqueueOptions) -> EnqueueRequest:
        """Check one job of this domain and make it a request."""
        spec = spec_of(message)
        self._check_owner(spec)
        directory = self._bound().directory
        return prepare(spec, message, options, directory.policy(spec), directory.scope(message))

    def requests(self, messages: Iterable[Message[Any]], options: EnqueueOptions) -> list[EnqueueRequest]:
        """The same for several jobs. Raises `InvalidArgument` for an `id`, which only one job can have."""
        if options.get("id") is not None:
            raise InvalidArgument("id belongs to one job; enqueue the jobs one by one, or leave it out.")
        return [self.request(message, options) for message in _several("enqueue", messages)]

    def publication(self, event: Message[Any], options: PublishOptions) -> PublishRequest:
        """Check one event of this domain and make it a request."""
        spec = event_spec_of(event)
        self._check_owner(spec)
        directory = self._bound().directory
        limit, scope, keep = directory.limit(spec), directory.scope(event), directory.keep(spec)
        return prepare_event(spec, event, options, limit, scope, keep=keep)

    def publications(self, events: Iterable[Message[Any]], options: PublishOptions) -> list[PublishRequest]:
        """The same for several events. Raises `InvalidArgument` for an `id`, which only one event can have."""
        if options.get("id") is not None:
            raise InvalidArgument("id belongs to one event; publish the events one by one, or leave it out.")
        return [self.publication(event, options) for event in _several("publish", events)]

    def later(self, event: Message[Any]) -> Job[Any]:
        """Make the job that publishes an event of this domain when it runs."""
        spec = event_spec_of(event)
        self._check_owner(spec)
        return later_message(self.domain, event, self._bound().directory.limit(spec))

    def build(self, name: str, payload: Mapping[str, Any], version: int | None = None) -> Message[Any]:
        """Make a message of this domain from its short or full name and the values of its fields.

        By default it is of the newest version.
        """
        if not isinstance(name, str) or not isinstance(payload, Mapping):
            raise InvalidArgument("enqueue_named takes a name and a mapping of field values.")
        whole_name = name if "." in name else f"{self.domain.name}.{name}"
        spec = self.domain.jobs.find(whole_name, version) or self._bound().directory.by_name(whole_name, version)
        self._check_owner(spec)
        return spec.codec.build(payload)

    def _check_owner(self, spec: MessageSpec) -> None:
        try:
            check_owner(self.domain, spec)
        except OwnershipError:
            self.refused(spec)
            raise

    def refused(self, spec: MessageSpec) -> None:
        """Let the application count a message that belongs neither to this domain nor to that of the handler here."""
        if self._binding is not None:
            running = running_domain.get()
            sender = self.domain if running is None else running.__remit__
            self._binding.sender.refused(sender.name, spec.name, spec.kind)

    def _bound(self) -> Binding:
        if self._binding is None:
            raise UnboundDomain(
                f"{self.domain.name} cannot send yet: it is not bound to an application. Create one with "
                f"Remit(url, domains=[{self.domain.name.replace('-', '_')}]) first."
            )
        return self._binding


def _several(verb: str, messages: Iterable[Message[Any]]) -> Iterable[Message[Any]]:
    if isinstance(messages, Message) or not isinstance(messages, Iterable):
        raise InvalidArgument(
            f"{verb}_many takes several messages, as in {verb}_many([…]), not {messages!r}; for one there is {verb}."
        )
    return messages


def check_owner(domain: DomainSpec, spec: MessageSpec) -> None:
    """Refuse a message that the domain does not own, and any message while another domain's handler runs here.

    Raises `OwnershipError`, which names the alternative.
    """
    owner = spec.domain.__remit__
    running = running_domain.get()
    if owner is not domain:
        raise OwnershipError(
            f"{domain.name} cannot {_VERBS[spec.kind]} {spec.name}: only {owner.name} may. "
            f"{remedy(domain, owner, spec.kind)}"
        )
    if running is not None and running is not domain.instance:
        raise OwnershipError(
            f"A handler of {running.__remit__.name} cannot {_VERBS[spec.kind]} {spec.name}, not even through "
            f"{domain.name}. {remedy(running.__remit__, owner, spec.kind)}"
        )


def remedy(domain: DomainSpec, owner: DomainSpec, kind: str) -> str:
    """Return the alternative to sending another's job or event: events of the domain to which the owner subscribes."""
    heard = sorted(
        {each.event.message.__qualname__ for each in owner.subscriptions.all if each.event.domain.__remit__ is domain}
    )
    if heard:
        return f"Publish {' or '.join(heard)} instead, which {owner.name} subscribes to."
    if kind == EventSpec.kind:
        return f"Let {owner.name} publish it, or let {domain.name} publish an event of its own."
    published = sorted({each.message.__qualname__ for each in domain.events.all})
    mine = f"one of its own events ({', '.join(published)})" if published else "an event"
    return f"Let {domain.name} publish {mine} and let {owner.name} subscribe to it, or call an API of {owner.name}."


_VERBS = {JobSpec.kind: "enqueue", EventSpec.kind: "publish"}
