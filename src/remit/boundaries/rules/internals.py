"""`foreign-internals`, `undeclared-dependency`, `layer-order`: allowed imports between domains."""

from __future__ import annotations

from collections.abc import Iterator

from remit.boundaries.model import Crossing, Model
from remit.boundaries.violations import Violation


def foreign_internals(model: Model) -> Iterator[Violation]:
    """Other domains import only the public modules of a domain."""
    for each in model.crossings:
        if each.face or _allowed(model, each):
            continue
        faces = ", ".join(f"{each.owner.package}.{face}" for face in model.boundaries.face(each.owner.name))
        yield _violation(
            "foreign-internals",
            each,
            f"{each.user.name} imports {each.imported}, which is internal to {each.owner.name}",
            f"Import a public module of {each.owner.name} ({faces}), or subscribe to one of its events; to make the "
            "module public, add it to Boundaries(faces=…); "
            f'to allow this one, Allow("{each.user.name}", "{each.imported}", reason=…).',
        )


def undeclared_dependency(model: Model) -> Iterator[Violation]:
    """A domain with a list of dependencies has no others."""
    depends = model.boundaries.depends or {}
    for each in model.crossings:
        mine = depends.get(each.user.name)
        if mine is None or each.owner.name in mine or _allowed(model, each):
            continue
        yield _violation(
            "undeclared-dependency",
            each,
            f"{each.user.name} imports {each.imported}, and Boundaries(depends=…) lets it depend only on "
            f"{', '.join(mine) or 'no domain'}",
            f'Remove the dependency, or add it: depends={{"{each.user.name}": (…, "{each.owner.name}")}}.',
        )


def layer_order(model: Model) -> Iterator[Violation]:
    """A domain depends only on lower layers; subscriptions are allowed in any direction."""
    height = {name: -place for place, layer in enumerate(model.boundaries.layers) for name in layer}
    for each in model.crossings:
        user, owner = height.get(each.user.name), height.get(each.owner.name)
        if user is None or owner is None or user > owner or not each.dependency or _allowed(model, each):
            continue
        where = "beside" if user == owner else "above"
        yield _violation(
            "layer-order",
            each,
            f"{each.user.name} imports {each.imported}, and {each.owner.name} is {where} it in the layers",
            f"Let {each.user.name} publish an event to which {each.owner.name} subscribes, or move common code to a "
            "lower layer.",
        )


def _allowed(model: Model, each: Crossing) -> bool:
    return model.boundaries.allows(each.user.name, each.imported, each.owner.name) is not None


def _violation(rule: str, each: Crossing, message: str, remedy: str) -> Violation:
    subject = f"{each.source.module} -> {each.imported}"
    return Violation(rule, each.source.file, each.line, each.user.name, subject, message, remedy)
