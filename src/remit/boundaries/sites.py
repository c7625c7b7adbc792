"""The places where messages are sent and handlers registered: every call of remit's methods in the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import resolve_name
from typing import Final, TypeAlias

from remit.boundaries.names import Names
from remit.boundaries.scopes import Scope
from remit.boundaries.sources import Source
from remit.boundaries.syntax import Syntax
from remit.catalog import DomainSpec, MessageSpec

ENQUEUE: Final = frozenset({"enqueue", "enqueue_many"})
NAMED: Final = frozenset({"enqueue_named"})
RECORDED: Final = frozenset({"publish_recorded"})
PUBLISH: Final = frozenset({"publish", "publish_many", "publish_soon", "publish_later", "record"}) | RECORDED
REGISTER: Final = frozenset({"handles", "on", "exhausted"})
_SEND: Final = ENQUEUE | NAMED | PUBLISH
_VERBS: Final = _SEND | REGISTER
_LOADERS: Final = frozenset(
    {"importlib.import_module", "importlib.util.find_spec", "pkgutil.resolve_name", "__import__"}
)
_WORDS: Final = tuple(
    word.encode()
    for word in (*_SEND, "handles", "exhausted", ".on(", "Remit", *(each.rpartition(".")[2] for each in _LOADERS))
)
_ROOT: Final = frozenset({"remit.Remit", "remit.app.Remit"})


@dataclass(frozen=True, slots=True)
class Sending:
    """A message is sent. `through` is the domain whose method is called, if that can be resolved.

    `within` is the domain whose handler it is that sends. `specs` are the messages that may be sent, `made` those of
    them that are made for it; `name` is the text, if it is sent by name. `told` is False if the message cannot be
    resolved.
    """

    source: Source
    line: int
    verb: str
    through: DomainSpec | None
    within: DomainSpec | None
    specs: tuple[MessageSpec, ...] = ()
    made: frozenset[MessageSpec] = frozenset()
    name: str | None = None
    told: bool = True


@dataclass(frozen=True, slots=True)
class Registration:
    """A handler or a subscription is registered with a domain. `what` names it in reports; `spec` is the message."""

    source: Source
    line: int
    verb: str
    domain: DomainSpec
    what: str
    spec: MessageSpec | None = None


@dataclass(frozen=True, slots=True)
class Building:
    """A message is made here, or its class is passed on, for any use."""

    source: Source
    spec: MessageSpec


@dataclass(frozen=True, slots=True)
class Composing:
    """`Remit(…)` is called: the composition root."""

    source: Source
    line: int


@dataclass(frozen=True, slots=True)
class Loading:
    """A module is imported by its name in a text."""

    source: Source
    line: int
    module: str


Site: TypeAlias = Sending | Registration | Building | Composing | Loading


def sites_of(source: Source, names: Names) -> Iterator[Site]:
    """Everything of that kind in one module."""
    if not _worth_reading(source.data, names):
        return
    syntax = names.syntax(source.module)
    for call, scope in syntax.calls:
        yield from _site(call, source, scope, names)
    yield from _mentions(syntax, source, names)


def _worth_reading(data: bytes, names: Names) -> bool:
    return any(word in data for word in _WORDS) or any(name.encode() in data for name in names.classes)


def _mentions(syntax: Syntax, source: Source, names: Names) -> Iterator[Building]:
    """Message classes that are kept or passed on as values, to be built elsewhere."""
    for node in (*syntax.holders, *(call for call, _ in syntax.calls)):
        match node:
            case ast.Dict(values=values) | ast.List(elts=values) | ast.Tuple(elts=values) | ast.Set(elts=values):
                parts: list[ast.expr | None] = list(values)
            case ast.Assign(value=value) | ast.Return(value=value):
                parts = [value]
            case ast.Call(func=function) if not (isinstance(function, ast.Attribute) and function.attr in REGISTER):
                parts = [*node.args, *(each.value for each in node.keywords)]
            case _:
                continue
        for part in parts:
            name = part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else ""
            if part is not None and name in names.classes:
                spec = names.spec(names.dotted(part, source.module, syntax.scope))
                if spec is not None:
                    yield Building(source, spec)


def _site(call: ast.Call, source: Source, scope: Scope, names: Names) -> Iterator[Site]:
    module = source.module
    yield from _handed_on(call, source, scope, names)
    verb, receiver = _verb(call.func, module, scope, names)
    if verb in _SEND:
        yield _sending(call, verb, receiver, source, scope, names)
        return
    path = names.dotted(call.func, module, scope)
    if spec := names.spec(path) or names.spec((path or "").rpartition(".")[0]):
        yield Building(source, spec)
    elif path in _ROOT:
        yield Composing(source, call.lineno)
    elif (path or getattr(call.func, "id", "")) in _LOADERS:
        if loaded := _loaded(call, module, scope, names):
            yield Loading(source, call.lineno, loaded)
    elif verb in REGISTER and receiver is not None and (domain := _registrar(receiver, module, scope, names)):
        spec = names.spec(names.dotted(call.args[0], module, scope)) if call.args else None
        what = _registered(call, verb, spec, source, scope, names)
        yield Registration(source, call.lineno, verb, domain, what, spec)


def _registrar(receiver: ast.expr | str, module: str, scope: Scope, names: Names) -> DomainSpec | None:
    return names.domain_at(receiver) if isinstance(receiver, str) else names.domain(receiver, module, scope)


def _loaded(call: ast.Call, module: str, scope: Scope, names: Names) -> str | None:
    """The module that is imported by its name in a text, also relative to a `package`."""
    given = dict(zip(("name", "package"), call.args, strict=False)) | {each.arg: each.value for each in call.keywords}
    name, package = (names.text(given.get(each), module, scope) for each in ("name", "package"))
    try:
        return None if name is None else resolve_name(name.partition(":")[0], package)
    except ImportError:  # it is relative to something unknown, or to nothing
        return None


def _verb(function: ast.expr, module: str, scope: Scope, names: Names) -> tuple[str, ast.expr | str | None]:
    """The method that a function is, and its object: an expression, or a dotted name if the method has another name."""
    if isinstance(function, ast.Attribute):
        return function.attr, function.value
    path = names.dotted(function, module, scope)
    if path is None:
        return "", None
    origin, _, verb = path.rpartition(".")
    return (verb, origin) if verb in _VERBS and names.domain_at(origin) is not None else ("", None)


def _handed_on(call: ast.Call, source: Source, scope: Scope, names: Names) -> Iterator[Sending]:
    """Methods passed on for others to call, with any argument: `partial(billing.enqueue, job)`, `map(…, …)`."""
    for part in (*call.args, *(each.value for each in call.keywords)):
        if isinstance(part, ast.Attribute | ast.Name):
            verb, receiver = _verb(part, source.module, scope, names)
            if verb in _SEND and receiver and (through := _registrar(receiver, source.module, scope, names)):
                yield Sending(source, part.lineno, verb, through, names.handling(scope, source.module), told=False)


def _sending(
    call: ast.Call, verb: str, receiver: ast.expr | str | None, source: Source, scope: Scope, names: Names
) -> Sending:
    module = source.module
    what = call.args[0] if call.args else next((each.value for each in call.keywords if each.arg in _FIRST), None)
    through = None if receiver is None else _registrar(receiver, module, scope, names)
    site = Sending(source, call.lineno, verb, through, names.handling(scope, module))
    if through is None and isinstance(receiver, ast.expr) and names.is_plain(receiver, module, scope):
        return replace(site, told=False)  # its method's use of it is checked there
    if verb in RECORDED:
        return site  # the events were seen where the objects recorded them
    if verb in NAMED:
        name = names.text(what, module, scope)
        return replace(site, name=name, told=name is not None)
    if what is None:
        return replace(site, told=False)
    meaning = names.messages(what, module, scope)
    return replace(site, specs=meaning.specs, made=meaning.made, told=meaning.whole)


_FIRST: Final = frozenset({"job", "jobs", "event", "events", "name"})


def _registered(call: ast.Call, verb: str, spec: MessageSpec | None, source: Source, scope: Scope, names: Names) -> str:
    stated = next((names.text(each.value, source.module, scope) for each in call.keywords if each.arg == "name"), None)
    if verb in {"on", "exhausted"} and stated:
        return f"the subscription {stated!r}"
    return f"the handler of {spec.name}" if spec else f"a handler ({verb})"
