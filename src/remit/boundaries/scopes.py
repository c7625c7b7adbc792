"""Bindings of names in a module or a function, found without running anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
"""A function, of either kind."""

FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_INNER: Final = (*FUNCTIONS, ast.ClassDef, ast.Lambda)
_BINDING: Final = frozenset(
    {
        ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign,
        ast.NamedExpr, ast.AugAssign, ast.For, ast.AsyncFor, ast.comprehension, ast.Lambda, ast.MatchAs, ast.MatchStar,
        ast.ExceptHandler, ast.withitem, ast.Call,
    }
)  # fmt: skip
_GROW: Final = frozenset({"append", "add", "extend", "insert", "appendleft"})


@dataclass(frozen=True, slots=True)
class Imported:
    """The name is an import of that dotted name."""

    dotted: str


@dataclass(frozen=True, slots=True)
class Defined:
    """The name is a function or a class that is defined here."""

    node: Function | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Value:
    """The name was given this value, or a list that it names was given this item."""

    node: ast.expr


@dataclass(frozen=True, slots=True)
class Item:
    """The name iterates over the items of this value."""

    node: ast.expr


@dataclass(frozen=True, slots=True)
class Annotated:
    """The name has this annotation."""

    node: ast.expr


@dataclass(frozen=True, slots=True)
class Parameter:
    """The name is a parameter of that function, at that place, and has no annotation."""

    function: Function
    place: int
    default: ast.expr | None = None


Binding: TypeAlias = Imported | Defined | Value | Item | Annotated | Parameter

_SOMETHING: Final = Item(ast.Constant(None))
"""A name of this scope, about which nothing else is known."""


@dataclass
class Scope:
    """The names of a module or of a function, and the scope around it. `owner` is the class whose method it is."""

    names: dict[str, list[Binding]] = field(default_factory=dict)
    parent: Scope | None = None
    owner: ast.ClassDef | None = None
    function: Function | None = None
    starred: list[str] = field(default_factory=list)

    def find(self, name: str) -> tuple[list[Binding], Scope | None]:
        """The bindings of a name here, and the scope that holds them."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name], scope
            scope = scope.parent
        return [], None

    def add(self, name: str, binding: Binding) -> None:
        """Add a binding of a name."""
        self.names.setdefault(name, []).append(binding)


def function_scope(function: Function, parent: Scope, owner: ast.ClassDef | None, package: str) -> Scope:
    """The names of a function, its parameters first."""
    scope = parameter_scope(function, parent, owner)
    for each in own_nodes(function):
        bind(each, scope, package)
    return scope


def parameter_scope(function: Function, parent: Scope, owner: ast.ClassDef | None) -> Scope:
    """The names of the parameters of a function."""
    scope = Scope(parent=parent, owner=owner, function=function)
    arguments = function.args
    places = [*arguments.posonlyargs, *arguments.args]
    required = [None] * (len(places) - len(arguments.defaults))
    defaults = [*required, *arguments.defaults, *arguments.kw_defaults]
    for place, (argument, default) in enumerate(zip([*places, *arguments.kwonlyargs], defaults, strict=True)):
        annotation = argument.annotation
        scope.add(argument.arg, Annotated(annotation) if annotation else Parameter(function, place, default))
    for rest in (arguments.vararg, arguments.kwarg):
        if rest is not None:
            scope.add(rest.arg, Annotated(rest.annotation) if rest.annotation else Parameter(function, -1))
    return scope


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, in the order of the source, without the bodies of inner functions and classes."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, _INNER):
            yield from own_nodes(child)


def bind(each: ast.AST, scope: Scope, package: str) -> None:  # noqa: PLR0912 - one case per way to bind a name
    """Bind the names that a node defines in its scope. `package` is the start of relative imports."""
    if type(each) in _BINDING:
        match each:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                scope.add(each.name, Defined(each))
            case ast.Import():
                for alias in each.names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    scope.add(bound, Imported(alias.name if alias.asname else bound))
            case ast.ImportFrom():
                origin = origin_of(each, package)
                for alias in each.names:
                    if alias.name == "*":
                        scope.starred.append(origin)
                    else:
                        scope.add(alias.asname or alias.name, Imported(f"{origin}.{alias.name}"))
            case ast.Assign():
                for target in each.targets:
                    _bind(target, each.value, scope)
            case ast.AnnAssign(target=ast.Name(id=name)):
                scope.add(name, Annotated(each.annotation))
                if each.value is not None:
                    scope.add(name, Value(each.value))
            case ast.NamedExpr(target=ast.Name(id=name)):
                scope.add(name, Value(each.value))
            case ast.AugAssign(target=ast.Name(id=name)):
                scope.add(name, Value(each.value))
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                for name in _names(each.target):
                    scope.add(name, Item(each.iter))
            case ast.Lambda():
                for argument in each.args.args:
                    scope.add(argument.arg, _SOMETHING)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.ExceptHandler(name=str(name)):
                scope.add(name, _SOMETHING)
            case ast.withitem(optional_vars=ast.Name(id=name)):
                scope.add(name, Value(each.context_expr))
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=verb), args=[*_, last]) if verb in _GROW:
                if name in scope.names:
                    scope.add(name, Value(last))
            case _:
                pass


def origin_of(node: ast.ImportFrom, package: str) -> str:
    """The full name of the module of an import."""
    if not node.level:
        return node.module or ""
    start = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
    return f"{start}.{node.module or ''}".rstrip(".")


def _bind(target: ast.expr, value: ast.expr, scope: Scope) -> None:
    match target, value:
        case ast.Name(id=name), _:
            scope.add(name, Value(value))
        case ast.Tuple(elts=targets) | ast.List(elts=targets), ast.Tuple(elts=values) | ast.List(elts=values) if len(
            targets
        ) == len(values):
            for each, part in zip(targets, values, strict=True):
                _bind(each, part, scope)
        case ast.Tuple() | ast.List(), _:
            for name in _names(target):
                scope.add(name, Item(value))
        case _:
            pass


def _names(target: ast.expr) -> Iterator[str]:
    return (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
