"""`inline-handler`: an event handler decides and dispatches; jobs do the work.

A handler of an event may read the event and its run, compute, decide, log, build values, raise, loop, and send messages
of its own domain, also through functions of its own domain and of modules outside all domains that do no more. Any
other call or await is work: it would be retried with the delivery, block others, and have no name of its own in any
list.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from remit.boundaries.model import Model
from remit.boundaries.names import Names, is_port
from remit.boundaries.scopes import FUNCTIONS, Annotated, Defined, Function, Imported, Item, Parameter, Scope, Value
from remit.boundaries.sites import ENQUEUE, NAMED, PUBLISH
from remit.boundaries.sources import OWN, Source
from remit.boundaries.violations import Violation
from remit.catalog import DomainSpec

_PURE: Final = frozenset(
    {
        "abc", "array", "ast", "base64", "binascii", "bisect", "calendar", "collections", "colorsys", "contextlib",
        "copy", "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "heapq",
        "hmac", "html", "ipaddress", "itertools", "json", "logging", "loguru", "math", "msgspec", "numbers", "operator",
        "os.path",
        "pydantic", "random", "re", "secrets", "statistics", "string", "structlog", "textwrap", "types", "typing",
        "typing_extensions", "unicodedata", "urllib.parse", "uuid", "warnings", "weakref", "zlib", "zoneinfo",
    }
)  # fmt: skip
"""Modules whose calls compute or log, and reach nothing outside."""

_PURE_CALLS: Final = frozenset({"time.time", "time.monotonic", "time.time_ns", "os.fspath", "pathlib.PurePath"})
_ACTING: Final = frozenset({"open", "exec", "eval", "compile", "input", "breakpoint", "__import__"})
_WORK_OF_RUN: Final = frozenset({"transaction", "complete", "context"})
_DISPATCH: Final = ENQUEUE | NAMED | PUBLISH
_DEPTH: Final = 6


@dataclass(frozen=True, slots=True)
class _Work:
    what: str
    line: int


def inline_handler(model: Model) -> Iterator[Violation]:
    """Handlers of events dispatch, unless `inline=` gives a reason; hooks for dead jobs are unrestricted."""
    declared = set(model.events)
    for subscription in model.subscriptions:
        if subscription.inline is not None or subscription.event not in declared:
            continue
        found = model.function_of(subscription.handler)
        if found is None:
            continue
        source, function, owner = found
        domain = subscription.domain.__remit__
        scope = model.names.inner(source, function, model.names.scope(source.module), owner)
        run = _run(function, is_bound=inspect.ismethod(subscription.handler.function))
        work = list(_Reading(model, domain, {run} if run else set()).work(function, source, scope))
        if not work:
            continue
        told = ", ".join(dict.fromkeys(f"{each.what} (line {each.line})" for each in work[:4]))
        yield Violation(
            "inline-handler",
            source.file,
            work[0].line,
            domain.name,
            subscription.name,
            f"the handler of {subscription.name} does the work itself: it {told}{' and more' if len(work) > 4 else ''}",
            f"Let it enqueue a job of {domain.name} (run.enqueue(…)) whose handler does that; or give a reason: "
            f'on(…, inline="…").',
        )


def _run(function: Function, *, is_bound: bool) -> str | None:
    """The name of the run: the second parameter, after `self` the third."""
    arguments = [*function.args.posonlyargs, *function.args.args][is_bound:]
    return arguments[1].arg if len(arguments) > 1 else None


@dataclass
class _Reading:
    """Reads one handler, and the functions that it calls. `runs` are the names of the run there."""

    model: Model
    domain: DomainSpec
    runs: set[str]
    seen: set[tuple[str, int, int]] = field(default_factory=set)
    depth: int = 0

    @property
    def names(self) -> Names:
        """The resolver of names."""
        return self.model.names

    def work(self, function: Function, source: Source, scope: Scope) -> Iterator[_Work]:
        """Everything in it that is work, in the order of the source."""
        self.seen.add((source.module, function.lineno, function.col_offset))
        contexts = _contexts(function, self.runs)
        awaited = {id(node.value) for node in ast.walk(function) if isinstance(node, ast.Await)}
        for node in _inside(function):
            match node:
                case ast.Call():
                    if what := self._what(node, source, scope, contexts, id(node) in awaited):
                        yield _Work(what, node.lineno)
                case ast.Await(value=value) if not isinstance(value, ast.Call):
                    yield _Work(f"awaits {ast.unparse(value)}", node.lineno)
                case ast.AsyncFor():
                    yield _Work(f"waits for {ast.unparse(node.iter)}", node.lineno)
                case ast.Import() | ast.ImportFrom() | _:
                    pass

    def _what(self, call: ast.Call, source: Source, scope: Scope, contexts: set[str], awaited: bool) -> str | None:
        """The kind of work of a call; None if it is not work."""
        told = ast.unparse(call.func)
        if any(_is_context(part, self.runs, contexts) for part in ast.walk(call.func)):
            return f"calls {told}"
        if any(_is_context(part, self.runs, contexts) for each in _arguments(call) for part in ast.walk(each)):
            return f"passes run.context to {told}"
        root = _root(call.func)
        if isinstance(root, ast.Name) and root.id in self.runs:
            verbs = _chain(call.func)
            return f"calls {told}" if _WORK_OF_RUN & set(verbs) else None
        if isinstance(call.func, ast.Attribute) and call.func.attr in _DISPATCH:
            through = self.names.domain(call.func.value, source.module, scope)
            if through is not None:
                return None  # other rules check the owner of the message
        path = self.names.dotted(call.func, source.module, scope)
        verb = (path or "").rpartition(".")
        if verb[2] in _DISPATCH and self.names.domain_at(verb[0]) is not None:
            return None
        if isinstance(call.func, ast.Attribute):
            holder = self.names.class_of(call.func.value, source.module, scope)
            if holder is not None:
                return self._method_of(call, call.func.attr, holder, told)
        if path is None:
            return self._local(call, source, scope, awaited)
        return self._named(call, path, source, awaited)

    def _local(self, call: ast.Call, source: Source, scope: Scope, awaited: bool) -> str | None:
        """A call on a local name, on a value, or on a builtin."""
        told = ast.unparse(call.func)
        root = _root(call.func)
        if not isinstance(root, ast.Name):
            return f"awaits {told}" if awaited else None  # a method of a literal, or of the result of another call
        bindings, found = scope.find(root.id)
        if found is None:
            return f"calls {told}" if root.id in _ACTING or not hasattr(builtins, root.id) else None
        if isinstance(call.func, ast.Name):
            for binding in bindings:
                if isinstance(binding, Defined) and isinstance(binding.node, FUNCTIONS):
                    return self._function(call, binding.node, source, found, told)
        if awaited:
            return f"awaits {told}"
        if isinstance(call.func, ast.Attribute):
            kind = self.names.type_of(call.func.value, source.module, scope)
            if kind is not None and not _is_pure(kind) and not self.names.spec(kind):
                return f"calls {told}"
        if any(isinstance(binding, Parameter | Annotated | Item | Value | Defined) for binding in bindings):
            return None  # a method of the event, or of a value that was computed here: that call was checked itself
        return f"calls {told}"

    def _named(self, call: ast.Call, path: str, source: Source, awaited: bool) -> str | None:
        """A call of something with a name in some module."""
        told = ast.unparse(call.func)
        if self.names.spec(path) or self.names.spec(path.rpartition(".")[0]) or _is_pure(path):
            return f"awaits {told}" if awaited else None
        module, bindings = self.names.definition(path)
        if not bindings:  # a method of something at the top level of a module, perhaps
            return self._method(path, told, awaited)
        for binding in bindings:
            match binding:
                case Defined(ast.ClassDef()) if not awaited:
                    return None  # a value of a class of the application
                case Defined(node) if isinstance(node, FUNCTIONS) and self._is_read(module):
                    return self._function(call, node, self.names.sources[module], self.names.scope(module), told)
                case Imported(dotted) if _is_pure(dotted) and not awaited:
                    return None
                case _:
                    pass
        return f"{'awaits' if awaited else 'calls'} {told}"

    def _method(self, path: str, told: str, awaited: bool) -> str | None:
        """`logger.info`, `RATES.get`, `Money.of`: by the kind of its owner."""
        verb = "awaits" if awaited else "calls"
        if awaited:
            return f"{verb} {told}"
        owner = path.rpartition(".")[0]
        module, bindings = self.names.definition(owner)
        for binding in bindings:
            match binding:
                case Defined(ast.ClassDef()):
                    return None  # a maker of the class
                case Value(ast.Call(func=maker)):
                    made_by = self.names.dotted(maker, module, self.names.scope(module))
                    _, made = self.names.definition(made_by or "")
                    known = made_by is None and isinstance(maker, ast.Name) and hasattr(builtins, maker.id)
                    if known or (made_by and _is_pure(made_by)) or any(_is_class(each) for each in made):
                        return None
                case Value(ast.Constant() | ast.Dict() | ast.List() | ast.Tuple() | ast.Set() | ast.JoinedStr()):
                    return None
                case _:
                    pass
        living = _living(path)
        if living is not None and _is_pure(f"{getattr(living, '__module__', None)}."):
            return None
        return f"{verb} {told}"

    def _method_of(self, call: ast.Call, name: str, holder: tuple[str, ast.ClassDef], told: str) -> str | None:
        """A method of an object of the application: it is read like a function; a port counts as work."""
        module, owner = holder
        if is_port(owner):
            return f"calls {told}"
        source = self.names.sources[module]
        for node in owner.body:
            if isinstance(node, FUNCTIONS) and node.name == name:
                bound = ast.Call(func=call.func, args=[ast.Name("self"), *call.args], keywords=call.keywords)
                return self._function(bound, node, source, self.names.scope(module), told, owner)
        return None

    def _is_read(self, module: str) -> bool:
        """Whether functions of a module may be called: those of the domain, and of modules outside all domains."""
        return self.model.home(module) in (None, self.domain)

    def _function(
        self,
        call: ast.Call,
        function: Function,
        source: Source,
        outer: Scope,
        told: str,
        owner: ast.ClassDef | None = None,
    ) -> str | None:
        """A function may dispatch for the handler, and do no more."""
        if (source.module, function.lineno, function.col_offset) in self.seen or self.depth >= _DEPTH:
            return None
        given = {
            argument.arg
            for argument, value in zip(function.args.args, call.args, strict=False)
            if isinstance(value, ast.Name) and value.id in self.runs
        } | {each.arg for each in call.keywords if isinstance(each.value, ast.Name) and each.value.id in self.runs}
        inner = self.names.inner(source, function, outer, owner)
        runs = {name for name in given if name} | (self.runs if outer.function is not None else set())
        reading = _Reading(self.model, self.domain, runs, self.seen, self.depth + 1)
        work = next(reading.work(function, source, inner), None)
        return None if work is None else f"calls {told}, which {work.what}"


def _inside(function: Function) -> Iterator[ast.AST]:
    """The statements of a function with their contents; inner functions are read when they are called."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            waiting[:0] = ast.iter_child_nodes(node)


def _contexts(function: Function, runs: set[str]) -> set[str]:
    """The local names of parts of `run.context`: `services = run.context`."""
    found: set[str] = set()
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=targets, value=value) if not isinstance(value, ast.Call) and any(
                _is_context(part, runs, found) for part in ast.walk(value)
            ):
                found |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
            case _:
                pass
    return found


def _is_context(node: ast.AST, runs: set[str], contexts: set[str]) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id=name), attr="context"):
            return name in runs
        case ast.Name(id=name):
            return name in contexts
        case _:
            return False


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(each.value for each in call.keywords)]


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node


def _chain(node: ast.expr) -> list[str]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return names


def _is_pure(path: str) -> bool:
    parts = path.split(".")
    modules = {".".join(parts[:end]) for end in range(1, len(parts))}
    return path in _PURE_CALLS or bool(modules & _PURE) or parts[0] == OWN


def _is_class(binding: Any) -> bool:
    return isinstance(binding, Defined) and isinstance(binding.node, ast.ClassDef)


def _living(path: str) -> Any:
    """The object of a dotted name in the imported modules."""
    module, _, name = path.rpartition(".")
    owner, _, attribute = module.rpartition(".")
    loaded = sys.modules.get(owner)
    return None if loaded is None else getattr(vars(loaded).get(attribute), name, None)
