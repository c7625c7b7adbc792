"""Resolution of expressions in the sources to declarations: a domain, a message, a function."""

from __future__ import annotations

import ast
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

from remit.boundaries.scopes import (
    FUNCTIONS,
    Annotated,
    Binding,
    Defined,
    Function,
    Imported,
    Item,
    Parameter,
    Scope,
    Value,
    function_scope,
)
from remit.boundaries.sources import OWN, Source
from remit.boundaries.syntax import Syntax, read
from remit.catalog import Catalog, Domain, DomainSpec, MessageSpec

_DEPTH: Final = 12
_KEPT: Final = 128
_OWNED: Final = frozenset({"Run", "Scheduler", "Publisher", "SyncFace", "Recorder", "Recorded", "Domain"})
_REGISTRARS: Final = frozenset({"handles", "on", "exhausted"})
_COPIES: Final = frozenset({"dataclasses.replace", "copy.replace", "copy.copy", "copy.deepcopy"})
_INTO: Final = frozenset({"list", "tuple", "set", "iter", "sorted", "reversed", "next", "filter"})


@dataclass(frozen=True, slots=True)
class Meaning:
    """The possible messages of an expression; `whole` is False if a part of it could not be resolved.

    `made` are those that the expression makes; the others are known from an annotation of a value made elsewhere.
    """

    specs: tuple[MessageSpec, ...] = ()
    made: frozenset[MessageSpec] = frozenset()
    whole: bool = True

    def __or__(self, other: Meaning) -> Meaning:
        specs = tuple(dict.fromkeys((*self.specs, *other.specs)))
        return Meaning(specs, self.made | other.made, self.whole and other.whole)


_UNKNOWN: Final = Meaning(whole=False)


@dataclass
class Names:
    """Resolves names in modules, through imports, aliases and re-exports.

    Names of imported modules are looked up in the modules themselves; others are read from the sources.
    """

    catalog: Catalog
    sources: Mapping[str, Source]
    asked: set[str] = field(default_factory=set)
    """The modules whose names were looked up; callers that need it clear it first."""
    _read: OrderedDict[str, Syntax] = field(default_factory=OrderedDict)

    # --- declarations, by the dotted names under which they can be reached

    @cached_property
    def _owners(self) -> dict[str, DomainSpec]:
        return {f"{spec.owner.__module__}.{spec.owner.__qualname__}": spec for spec in self._domains}

    @cached_property
    def _domains(self) -> list[DomainSpec]:
        return [domain.__remit__ for domain in self.catalog.domains]

    @cached_property
    def _messages(self) -> dict[str, MessageSpec]:
        specs: list[MessageSpec] = [*self.catalog.specs, *self.catalog.events]
        return {spec.path.replace(":", "."): spec for spec in specs}

    @cached_property
    def _living(self) -> dict[str, Any]:
        """Domains and messages as attributes of imported modules."""
        found: dict[str, Any] = {}
        known = {id(spec.message): spec for spec in self._messages.values()}
        for name in self.sources:
            for attribute, value in list(vars(sys.modules.get(name, object)).items()):
                if isinstance(value, Domain):
                    found[f"{name}.{attribute}"] = value.__remit__
                elif id(value) in known:
                    found[f"{name}.{attribute}"] = known[id(value)]
        return found

    @cached_property
    def by_path(self) -> dict[str, DomainSpec | MessageSpec]:
        """Every domain and message, by the place where its class is declared."""
        return {path_of(each): each for each in (*self._domains, *self._messages.values(), *self._living.values())}

    @cached_property
    def classes(self) -> frozenset[str]:
        """The names of all message classes."""
        return frozenset(spec.message.__name__ for spec in self._messages.values())

    @cached_property
    def world(self) -> str:
        """A digest of all declarations and module names; the meaning of a name depends on these, and on files."""
        known = sorted(f"{name}={path_of(found)}" for name, found in self._living.items())
        known += sorted(f"{path}={spec.name}" for path, spec in self._messages.items())
        known += sorted(f"{path}={spec.name} in {spec.package}" for path, spec in self._owners.items())
        known += sorted(f"{name}{'/' if source.is_package else ''}" for name, source in self.sources.items())
        return blake2b("\n".join(known).encode(), digest_size=16).hexdigest()

    # --- scopes

    def syntax(self, module: str) -> Syntax:
        """One parsed module. Only the last ones are kept: all of a large application would fill the memory."""
        self.asked.add(module)
        found = self._read.get(module)
        if found is None:
            found = self._read[module] = read(self.sources[module])
            if len(self._read) > _KEPT:
                self._read.popitem(last=False)
        else:
            self._read.move_to_end(module)
        return found

    def scope(self, module: str) -> Scope:
        """The names of a module."""
        return self.syntax(module).scope

    def inner(self, source: Source, function: Function, outer: Scope, owner: ast.ClassDef | None) -> Scope:
        """The names of a function."""
        return function_scope(function, outer, owner, source.package)

    # --- from an expression to a dotted name

    def dotted(self, node: ast.AST, module: str, scope: Scope, depth: int = 0) -> str | None:
        """The full name of the object of an expression, followed to its definition; None if it cannot be resolved."""
        path = self._reference(node, module, scope, depth)
        return None if path is None else self._canonical(path)

    def _reference(self, node: ast.AST, module: str, scope: Scope, depth: int) -> str | None:
        if depth > _DEPTH:
            return None
        match node:
            case ast.Attribute(value=value, attr=attribute):
                origin = self._reference(value, module, scope, depth + 1)
                return None if origin is None else f"{origin}.{attribute}"
            case ast.Subscript(value=value):  # `Run[Billing]`, a generic class
                return self._reference(value, module, scope, depth + 1)
            case ast.Constant(value=str(text)):  # an annotation in quotes
                inner = _parsed(text)
                return None if inner is None else self._reference(inner, module, scope, depth + 1)
            case ast.Name(id=name):
                return self._named(name, module, scope, depth)
            case _:
                return None

    def _named(self, name: str, module: str, scope: Scope, depth: int) -> str | None:
        bindings, found = scope.find(name)
        if found is None:
            whole = f"{module}.{name}"
            if whole in self._living:
                return whole
            return next(
                (f"{starred}.{name}" for starred in self._root(scope).starred if self._has(starred, name)), None
            )
        match bindings[0]:
            case Imported(dotted):
                return dotted
            case Value(ast.Name() | ast.Attribute() as value):
                return self._reference(value, module, found, depth + 1)
            case _ if found.parent is None:
                return f"{module}.{name}"
            case _:
                return None

    def _root(self, scope: Scope) -> Scope:
        while scope.parent is not None:
            scope = scope.parent
        return scope

    def _has(self, module: str, name: str, depth: int = 0) -> bool:
        if f"{module}.{name}" in self._living:
            return True
        if module not in self.sources or depth > _DEPTH:
            return False
        scope = self.scope(module)
        return name in scope.names or any(self._has(starred, name, depth + 1) for starred in scope.starred)

    def _canonical(self, path: str, depth: int = 0) -> str:
        """Follow re-exports: `shop.billing.SyncInvoice` → `shop.billing.messages.SyncInvoice`."""
        if path in self._messages or path in self._owners or path in self._living or depth > _DEPTH:
            return path
        module, rest = self._split(path)
        if module is None or not rest:
            return path
        first, _, others = rest.partition(".")
        target = self._named(first, module, self.scope(module), 0)
        if target is None or target == f"{module}.{first}":
            return path
        return self._canonical(f"{target}.{others}".rstrip("."), depth + 1)

    def _split(self, path: str) -> tuple[str | None, str]:
        parts = path.split(".")
        for end in range(len(parts), 0, -1):
            if (module := ".".join(parts[:end])) in self.sources:
                return module, ".".join(parts[end:])
        return None, path

    def definition(self, path: str) -> tuple[str, list[Binding]]:
        """The module of a canonical name, and its binding at the top level there."""
        module, rest = self._split(path)
        if module is None or not rest or "." in rest:
            return "", []
        return module, self.scope(module).names.get(rest, [])

    def class_of(self, node: ast.AST, module: str, scope: Scope, depth: int = 0) -> tuple[str, ast.ClassDef] | None:
        """The class of the object of an expression, if it is in the sources: its module and its definition."""
        if depth > _DEPTH:
            return None
        bindings: list[Binding] = []
        match node:
            case ast.Call(func=function):
                return self._class_at(self.dotted(function, module, scope))
            case ast.Await(value=value):
                return self.class_of(value, module, scope, depth + 1)
            case ast.Name(id="self" | "cls") if owner := self._owner_class(scope):
                return module, owner[0]
            case ast.Attribute(value=value, attr=attribute) if holder := self.class_of(value, module, scope, depth + 1):
                module, scope, kind = holder[0], self.scope(holder[0]), _attribute_kind(holder[1], attribute)
                if isinstance(kind, ast.Call):
                    return self.class_of(kind, module, scope, depth + 1)
                return self._annotated_class(kind, module, scope) if kind else None
            case ast.Name() | ast.Attribute():
                module, bindings, scope = self._bindings(node, module, scope)
            case _:
                pass
        found = (self._class_of_binding(each, module, scope, depth + 1) for each in bindings)
        return next(filter(None, found), None)

    def type_of(self, node: ast.AST, module: str, scope: Scope) -> str | None:
        """The dotted name of the class that an annotation gives to a name, or to an attribute of an object."""
        match node:
            case ast.Name(id=name):
                bindings, found = scope.find(name)
                annotations = [each.node for each in bindings if isinstance(each, Annotated)]
                return self.dotted(annotations[0], module, found or scope) if annotations else None
            case ast.Attribute(value=value, attr=attribute) if holder := self.class_of(value, module, scope):
                kind = _attribute_kind(holder[1], attribute)
                return self.dotted(kind, holder[0], self.scope(holder[0])) if kind else None
            case _:
                return None

    def _bindings(self, node: ast.Name | ast.Attribute, module: str, scope: Scope) -> tuple[str, list[Binding], Scope]:
        """The binding of a name: in its function, or in the module that defines it."""
        if isinstance(node, ast.Name):
            bindings, found = scope.find(node.id)
            if found is not None and found.parent is not None and not isinstance(bindings[0], Imported):
                return module, bindings, scope
        where, bindings = self.definition(self.dotted(node, module, scope) or "")
        return where, bindings, self.scope(where) if where else scope

    def _class_of_binding(
        self, binding: Binding, module: str, scope: Scope, depth: int
    ) -> tuple[str, ast.ClassDef] | None:
        match binding:
            case Annotated(node):
                return self._annotated_class(node, module, scope)
            case Value(node):
                return self.class_of(node, module, scope, depth)
            case Parameter(default=ast.expr() as node):
                return self.class_of(node, module, scope.parent or scope, depth)
            case _:
                return None

    def _class_at(self, path: str | None) -> tuple[str, ast.ClassDef] | None:
        module, bindings = self.definition(path or "")
        for binding in bindings:
            if isinstance(binding, Defined) and isinstance(binding.node, ast.ClassDef):
                return module, binding.node
        return None

    def _annotated_class(self, node: ast.expr, module: str, scope: Scope) -> tuple[str, ast.ClassDef] | None:
        if isinstance(node, ast.BinOp):  # `Hub | None`
            return self._annotated_class(node.left, module, scope) or self._annotated_class(node.right, module, scope)
        return self._class_at(self.dotted(node, module, scope))

    def is_plain(self, node: ast.AST, module: str, scope: Scope) -> bool:
        """Whether an expression is an object of the application that is not a port and holds nothing of remit."""
        found = self.class_of(node, module, scope)
        return found is not None and not is_port(found[1]) and not self._comes_of_remit(*found)

    def _comes_of_remit(self, module: str, owner: ast.ClassDef, depth: int = 0) -> bool:
        for base in owner.bases if depth <= _DEPTH else ():
            path = self.dotted(base, module, self.scope(module)) or ""
            found = self._class_at(path)
            if path.startswith(f"{OWN}.") or (found is not None and self._comes_of_remit(*found, depth + 1)):
                return True
        return False

    # --- domains

    def domain(self, node: ast.AST, module: str, scope: Scope, depth: int = 0) -> DomainSpec | None:
        """The domain of an expression: the instance, its `sync` interface, a run, a port, a recorder."""
        if depth > _DEPTH:
            return None
        path = self.dotted(node, module, scope)
        if path is not None and (found := self.domain_at(path, depth)):
            return found
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=attribute) if self._owner_class(scope) is not None:
                return self._attribute(attribute, module, scope, depth)
            case ast.Attribute(value=value, attr="sync"):
                return self.domain(value, module, scope, depth + 1)
            case ast.Attribute(value=value, attr=attribute):
                return self._attribute_of(value, attribute, module, scope, depth)
            case ast.Call(func=ast.Attribute(value=value, attr="recorder")):
                return self.domain(value, module, scope, depth + 1)
            case ast.Call(func=function):
                path = self.dotted(function, module, scope)
                return self._owners.get(path or "")
            case ast.Name(id=name):
                bindings, found_in = scope.find(name)
                for binding in bindings if found_in is not None else ():
                    assert found_in is not None
                    if found := self._domain_of_binding(binding, module, found_in, depth + 1):
                        return found
            case _:
                pass
        return None

    def domain_at(self, path: str, depth: int = 0) -> DomainSpec | None:
        """The domain, or an interface of one, with this dotted name."""
        living = self._living.get(path)
        if isinstance(living, DomainSpec):
            return living
        if path.endswith(".sync"):
            return self.domain_at(path.removesuffix(".sync"), depth)
        module, bindings = self.definition(path)
        for binding in bindings:
            if isinstance(binding, Value) and isinstance(binding.node, ast.Call):
                return self.domain(binding.node, module, self.scope(module), depth + 1)
        return None

    def _domain_of_binding(self, binding: Binding, module: str, scope: Scope, depth: int) -> DomainSpec | None:
        match binding:
            case Value(node):
                return self.domain(node, module, scope, depth)
            case Annotated(node):
                return self._domain_of_annotation(node, module, scope)
            case Parameter(function, 1):
                return self.registered(function, module, scope.parent or scope)
            case _:
                return None

    def _domain_of_annotation(self, node: ast.expr, module: str, scope: Scope) -> DomainSpec | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            parsed = _parsed(node.value)
            return None if parsed is None else self._domain_of_annotation(parsed, module, scope)
        match node:
            case ast.Subscript(value=kind, slice=argument) if (
                self._reference(kind, module, scope, 0) or ""
            ).rpartition(".")[2] in _OWNED:
                return self._owners.get(self.dotted(argument, module, scope) or "")
            case ast.BinOp(left=left, right=right):
                return self._domain_of_annotation(left, module, scope) or self._domain_of_annotation(
                    right, module, scope
                )
            case _:
                return self._owners.get(self.dotted(node, module, scope) or "")

    def registered(self, function: Function, module: str, scope: Scope) -> DomainSpec | None:
        """The domain that a function is registered with as a handler, by its decorators."""
        for decorator in function.decorator_list:
            match decorator:
                case ast.Call(func=ast.Attribute(value=value, attr=verb)) if verb in _REGISTRARS:
                    return self.domain(value, module, scope)
                case _:
                    pass
        return None

    def handling(self, scope: Scope, module: str) -> DomainSpec | None:
        """The domain whose handler, or part of a handler, a function is: by a decorator, or by a `Run[Billing]`."""
        while scope.parent is not None:
            if scope.function is not None:
                if found := self.registered(scope.function, module, scope.parent):
                    return found
                for binding in (each for bindings in scope.names.values() for each in bindings):
                    if isinstance(binding, Annotated) and (found := self._run_of(binding.node, module, scope.parent)):
                        return found
            scope = scope.parent
        return None

    def _run_of(self, node: ast.expr, module: str, scope: Scope) -> DomainSpec | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = _parsed(node.value) or node
        kind = (self.dotted(node, module, scope) or "") if isinstance(node, ast.Subscript) else ""
        is_run = kind.startswith(f"{OWN}.") and kind.endswith(".Run")
        return self._domain_of_annotation(node, module, scope) if is_run else None

    def _owner_class(self, scope: Scope | None) -> tuple[ast.ClassDef, Scope] | None:
        while scope is not None:
            if scope.owner is not None:
                return scope.owner, scope
            scope = scope.parent
        return None

    def _attribute(self, attribute: str, module: str, scope: Scope, depth: int) -> DomainSpec | None:
        """`self.scheduler`: by an annotation in the class, or by the use of a parameter in `__init__`."""
        found = self._owner_class(scope)
        assert found is not None
        return self._attribute_in(found[0], attribute, module, depth)

    def _attribute_of(
        self, value: ast.expr, attribute: str, module: str, scope: Scope, depth: int
    ) -> DomainSpec | None:
        """`invoice.events`: the attribute of a name whose class is annotated."""
        if not isinstance(value, ast.Name):
            return None
        for binding in scope.find(value.id)[0]:
            kind = binding.node if isinstance(binding, Annotated) else None
            if isinstance(binding, Value) and isinstance(binding.node, ast.Call):
                kind = binding.node.func
            path = None if kind is None else self.dotted(kind, module, scope)
            where, bindings = self.definition(path or "")
            for each in bindings:
                if isinstance(each, Defined) and isinstance(each.node, ast.ClassDef):
                    return self._attribute_in(each.node, attribute, where, depth + 1)
        return None

    def _attribute_in(self, owner: ast.ClassDef, attribute: str, module: str, depth: int) -> DomainSpec | None:
        scope = self.scope(module)
        for statement in owner.body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if name == attribute:
                    return self._domain_of_annotation(annotation, module, scope)
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == attribute:
                    return self.domain(value, module, scope, depth + 1)
                case ast.FunctionDef(name="__init__"):
                    inner = function_scope(statement, scope, owner, self.sources[module].package)
                    for each in ast.walk(statement):
                        match each:
                            case ast.Assign(
                                targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)], value=value
                            ) if name == attribute and depth < _DEPTH:
                                return self.domain(value, module, inner, depth + 1)
                            case _:
                                pass
                case _:
                    pass
        return None

    # --- messages

    def text(self, node: ast.AST | None, module: str, scope: Scope, depth: int = 0) -> str | None:
        """The text of an expression: literal, a constant that it names, or composed of these."""
        if depth > _DEPTH:
            return None
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id="__name__"):
                return module
            case ast.Name(id="__package__"):
                return self.sources[module].package
            case ast.Name() | ast.Attribute():
                where, bindings, found_in = self._bindings(node, module, scope)
                found = [each.node for each in bindings if isinstance(each, Value)]
                return self.text(found[0], where, found_in, depth + 1) if len(found) == 1 else None
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                return self.text(value, module, scope, depth + 1)
            case ast.JoinedStr(values=parts):
                between = ""
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                between, parts = "", [left, right]
            case ast.Call(
                func=ast.Attribute(value=ast.Constant(value=str(between)), attr="join"),
                args=[ast.Tuple(elts=parts) | ast.List(elts=parts)],
            ):
                pass
            case _:
                return None
        texts = [self.text(part, module, scope, depth + 1) for part in parts]
        known = [text for text in texts if text is not None]
        return between.join(known) if len(known) == len(texts) else None

    def spec(self, path: str | None) -> MessageSpec | None:
        """The message of that dotted name."""
        if path is None:
            return None
        living = self._living.get(path)
        return self._messages.get(path) or (living if isinstance(living, MessageSpec) else None)

    def messages(self, node: ast.AST, module: str, scope: Scope, depth: int = 0) -> Meaning:
        """The messages that an expression may be, or may hold."""
        if depth > _DEPTH:
            return _UNKNOWN
        again = depth + 1
        match node:
            case ast.Call():
                return self._messages_of_call(node, module, scope, again)
            case ast.Name(id=name):
                bindings, found = scope.find(name)
                if found is None:
                    return _UNKNOWN
                return _all(self._messages_of_binding(each, module, found, again) for each in _telling(bindings))
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                return _all((self.messages(part, module, scope, again) for part in parts), empty=Meaning())
            case ast.ListComp(elt=part) | ast.SetComp(elt=part) | ast.GeneratorExp(elt=part):
                return self.messages(part, module, scope, again)
            case ast.IfExp(body=one, orelse=other):
                return self.messages(one, module, scope, again) | self.messages(other, module, scope, again)
            case ast.BoolOp(values=parts):
                return _all(self.messages(part, module, scope, again) for part in parts)
            case ast.BinOp(left=left, right=right):
                return self.messages(left, module, scope, again) | self.messages(right, module, scope, again)
            case ast.Starred(value=value) | ast.Await(value=value) | ast.NamedExpr(value=value):
                return self.messages(value, module, scope, again)
            case ast.Subscript(value=value):
                return self.messages(value, module, scope, again)
            case _:
                return _UNKNOWN

    def _messages_of_call(self, node: ast.Call, module: str, scope: Scope, depth: int) -> Meaning:
        path = self.dotted(node.func, module, scope)
        if path is None:
            if isinstance(node.func, ast.Name) and node.func.id in _INTO and node.args:
                return self.messages(node.args[-1], module, scope, depth)
            return self._returned(node.func, module, scope)
        if spec := self.spec(path) or self.spec(path.rpartition(".")[0]):  # the class, or a maker on it
            return Meaning((spec,), frozenset({spec}))
        if path in _COPIES and node.args:
            return self.messages(node.args[0], module, scope, depth)
        where, bindings = self.definition(path)
        for binding in bindings:
            if isinstance(binding, Defined) and isinstance(binding.node, FUNCTIONS):
                return self._annotated(binding.node.returns, where, self.scope(where))
        return _UNKNOWN

    def _returned(self, function: ast.expr, module: str, scope: Scope) -> Meaning:
        """The return annotation of a method of the same class, or of a function in a function."""
        match function:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name) if owner := self._owner_class(scope):
                for each in owner[0].body:
                    if isinstance(each, FUNCTIONS) and each.name == name:
                        return self._annotated(each.returns, module, scope)
            case ast.Name(id=name):
                for binding in scope.find(name)[0]:
                    if isinstance(binding, Defined) and isinstance(binding.node, FUNCTIONS):
                        return self._annotated(binding.node.returns, module, scope)
            case _:
                pass
        return _UNKNOWN

    def _messages_of_binding(self, binding: Binding, module: str, scope: Scope, depth: int) -> Meaning:
        match binding:
            case Value(node) | Item(node):
                return self.messages(node, module, scope, depth)
            case Annotated(node):
                return self._annotated(node, module, scope)
            case Parameter(function, 0) if self.registered(function, module, scope.parent or scope):
                return Meaning()  # the delivered message, which is not sent on
            case _:
                return _UNKNOWN

    def _annotated(self, node: ast.expr | None, module: str, scope: Scope) -> Meaning:
        match node:
            case ast.Constant(value=str(text)):
                return self._annotated(_parsed(text), module, scope)
            case ast.Constant(value=None):
                return Meaning()
            case ast.BinOp(left=left, right=right):
                return self._annotated(left, module, scope) | self._annotated(right, module, scope)
            case ast.Subscript(slice=ast.Tuple(elts=parts)):
                return _all(self._annotated(part, module, scope) for part in parts)
            case ast.Subscript(slice=part):
                return self._annotated(part, module, scope)
            case None:
                return _UNKNOWN
            case _:
                spec = self.spec(self.dotted(node, module, scope))
                return Meaning((spec,)) if spec else _UNKNOWN


def path_of(spec: DomainSpec | MessageSpec) -> str:
    """The place where the class of a domain or of a message is declared: `module:Class`."""
    cls = spec.owner if isinstance(spec, DomainSpec) else spec.message
    return f"{cls.__module__}:{cls.__qualname__}"


def is_port(owner: ast.ClassDef) -> bool:
    """Whether a class represents others, which the sources may not show."""
    return any(ast.unparse(base).partition("[")[0].rpartition(".")[2] in {"Protocol", "ABC"} for base in owner.bases)


def _attribute_kind(owner: ast.ClassDef, attribute: str) -> ast.expr | None:
    """The type of an attribute in a class: an annotation, also of the parameter that is kept there, or a call."""
    for statement in owner.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)) if name == attribute:
                return statement.annotation
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as made) if name == attribute:
                return made
            case ast.FunctionDef(name="__init__"):
                parameters = {each.arg: each.annotation for each in [*statement.args.args, *statement.args.kwonlyargs]}
                for node in ast.walk(statement):
                    match node:
                        case ast.Assign(
                            targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)],
                            value=ast.Name() | ast.Call() as value,
                        ) if name == attribute:
                            return parameters.get(value.id) if isinstance(value, ast.Name) else value
                        case _:
                            pass
            case _:
                pass
    return None


def _telling(bindings: list[Binding]) -> list[Binding]:
    """Without the empty list that is filled afterwards, and without an annotation if values are more precise."""
    values: list[Binding] = [each for each in bindings if not isinstance(each, Annotated) and not _is_empty(each)]
    return values or bindings


def _is_empty(binding: Binding) -> bool:
    match binding:
        case Value(ast.List(elts=[]) | ast.Constant(value=None)):
            return True
        case _:
            return False


def _all(meanings: Iterator[Meaning], empty: Meaning = _UNKNOWN) -> Meaning:
    found: Meaning | None = None
    for meaning in meanings:
        found = meaning if found is None else found | meaning
    return empty if found is None else found


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None
