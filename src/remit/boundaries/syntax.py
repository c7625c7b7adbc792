"""The facts of one file, found in one walk through its syntax; independent of any other file."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from remit.boundaries.scopes import FUNCTIONS, Imported, Scope, Value, bind, origin_of, parameter_scope
from remit.boundaries.sources import Source


class Import(msgspec.Struct, frozen=True, array_like=True):
    """An import as in the source: `import module`, or `from module import name`. Relative ones are made absolute.

    `start` is the meaning of the new name in the file: `shop` after `import shop.billing`. `for_types` is True if the
    import is under `if TYPE_CHECKING:`.
    """

    module: str
    name: str | None
    start: str
    line: int
    for_types: bool = False

    @property
    def path(self) -> str:
        """The dotted name that is imported."""
        return self.module if self.name in (None, "*") else f"{self.module}.{self.name}"


class Reached(msgspec.Struct, frozen=True, array_like=True):
    """A used dotted name that starts from an import: `shop.billing.ledger.post` after `import shop`."""

    path: str
    line: int


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """The imports of a file, the names reached through them, and the imported names that others can import."""

    imports: tuple[Import, ...]
    reached: tuple[Reached, ...]
    exports: dict[str, str]


@dataclass
class Syntax:
    """One module: its names, and the places that rules look at, each with the scope in which its names have a meaning.

    `holders` are displays, assignments and returns, whose values go elsewhere. `chains` are whole attribute references
    that start from a name: `a.b.c`, and neither `a.b` nor `a`.
    """

    tree: ast.Module
    scope: Scope
    imports: list[Import] = field(default_factory=list)
    calls: list[tuple[ast.Call, Scope]] = field(default_factory=list)
    holders: list[ast.AST] = field(default_factory=list)
    chains: list[tuple[ast.Attribute, str, Scope]] = field(default_factory=list)

    def facts(self, roots: Iterable[str]) -> Facts:
        """The part that is kept. `roots` are the top-level packages of the application; names outside are omitted."""
        tops = frozenset(roots)
        reached: dict[Reached, None] = {}
        for chain, root, scope in self.chains:
            if (path := _imported(chain, root, scope)) and path.partition(".")[0] in tops:
                reached[Reached(path, chain.lineno)] = None
        exports: dict[str, str] = {}
        for name, bindings in self.scope.names.items():
            match bindings[0]:
                case Imported(path):
                    pass
                case Value(ast.Name() | ast.Attribute() as value):
                    path = _imported(value, root_of(value), self.scope)
                case _:
                    continue
            if path and path.partition(".")[0] in tops:
                exports[name] = path
        return Facts(tuple(self.imports), tuple(reached), exports)


def read(source: Source) -> Syntax:
    """Walk through a module once. Raises `ConfigurationError` if it cannot be parsed."""
    tree = source.parse()
    found = Syntax(tree, Scope())
    waiting: list[_Visit] = [(tree, found.scope, None, True, False)]
    while waiting:
        node, scope, owner, binds, for_types = waiting.pop()
        kind = type(node)
        if binds:
            bind(node, scope, source.package)
        if kind is ast.Call:
            found.calls.append((node, scope))  # type: ignore[arg-type]
        elif kind is ast.Attribute:
            if root := root_of(node):
                found.chains.append((node, root, scope))  # type: ignore[arg-type]
                continue
        elif kind is ast.Import or kind is ast.ImportFrom:
            found.imports += _imports(node, source.package, for_types)
            continue
        elif kind in _HOLDERS:
            found.holders.append(node)
        waiting += _below(node, scope, owner, binds, for_types)
    return found


_Visit = tuple[ast.AST, Scope, ast.ClassDef | None, bool, bool]
"""A node, its scope, the class whose body it is in, whether it binds names there, whether it is only for types."""

_HOLDERS: Final = frozenset({ast.Dict, ast.List, ast.Tuple, ast.Set, ast.Assign, ast.Return})
_LEAVES: Final = (ast.Name, ast.Constant, ast.expr_context, ast.operator, ast.cmpop, ast.unaryop, ast.boolop, ast.alias)


def _below(node: ast.AST, scope: Scope, owner: ast.ClassDef | None, binds: bool, for_types: bool) -> list[_Visit]:
    """The nodes below one, the first of them last."""
    if isinstance(node, FUNCTIONS):
        inner = parameter_scope(node, scope, owner)
        around = [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]
        visits: list[_Visit] = [(each, scope, owner, False, for_types) for each in around]
        visits += [(each, inner, None, True, for_types) for each in node.body]
    elif isinstance(node, ast.ClassDef):
        visits = [(each, scope, node, False, for_types) for each in ast.iter_child_nodes(node)]
    elif isinstance(node, ast.Lambda):
        visits = [(each, scope, owner, False, for_types) for each in ast.iter_child_nodes(node)]
    elif isinstance(node, ast.If) and _is_type_checking(node.test):
        visits = [(each, scope, owner, binds, True) for each in node.body]
        visits += [(each, scope, owner, binds, for_types) for each in node.orelse]
    else:
        visits = [(each, scope, owner, binds, for_types) for each in _children(node)]
    visits.reverse()
    return visits


def _children(node: ast.AST) -> list[ast.AST]:
    """`ast.iter_child_nodes` without nodes that have no children; this is the inner loop of a check."""
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if type(value) is list:
            found += [each for each in value if isinstance(each, ast.AST) and not isinstance(each, _LEAVES)]
        elif isinstance(value, ast.AST) and not isinstance(value, _LEAVES):
            found.append(value)
    return found


def root_of(node: ast.AST) -> str:
    """The name that an attribute reference starts from: `a` of `a.b.c`; empty for anything else."""
    while type(node) is ast.Attribute:
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _imported(node: ast.AST, root: str, scope: Scope) -> str | None:
    """The dotted name of a reference that starts from an import."""
    bindings, _ = scope.find(root)
    if not bindings or not isinstance(bindings[0], Imported):
        return None
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([bindings[0].dotted, *reversed(parts)])


def _is_type_checking(test: ast.expr) -> bool:
    return (test.id if isinstance(test, ast.Name) else getattr(test, "attr", "")) == "TYPE_CHECKING"


def _imports(node: ast.AST, package: str, for_types: bool) -> list[Import]:
    match node:
        case ast.Import(names=names):
            return [
                Import(
                    alias.name,
                    None,
                    alias.name if alias.asname else alias.name.partition(".")[0],
                    node.lineno,
                    for_types,
                )
                for alias in names
            ]
        case ast.ImportFrom(names=names):
            module = origin_of(node, package)
            return [Import(module, alias.name, f"{module}.{alias.name}", node.lineno, for_types) for alias in names]
        case _:
            return []
