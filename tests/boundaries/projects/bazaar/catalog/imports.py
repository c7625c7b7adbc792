"""One module, imported as often as it pleases: each line counts."""

import importlib
import pkgutil

from bazaar.billing import ledger  # violates: foreign-internals
from bazaar.billing.ledger import post  # violates: foreign-internals


def settle() -> object:
    from bazaar.billing.ledger import (  # violates: foreign-internals
        settle,
        split,
    )

    return [settle, split, post, ledger]


def load() -> list[object]:
    return [
        importlib.import_module(".ledger", package="bazaar.billing"),  # violates: foreign-internals
        importlib.import_module("..billing.ledger", __package__),  # violates: foreign-internals
        importlib.import_module(name=f"bazaar.{'billing'}.ledger"),  # violates: foreign-internals
        __import__("bazaar.billing.ledger"),  # violates: foreign-internals
        pkgutil.resolve_name("bazaar.billing.ledger:post"),  # violates: foreign-internals
        pkgutil.resolve_name("bazaar.billing.messages:billing"),
        importlib.import_module(".messages", "bazaar.billing"),
        importlib.import_module(".search", __package__),
        importlib.import_module(".search", None),
        __import__("bazaar.catalog.search", globals(), locals()),
    ]
