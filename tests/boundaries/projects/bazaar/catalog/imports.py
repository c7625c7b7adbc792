"""One module, imported as often as it pleases: each line counts."""

from bazaar.billing import ledger  # violates: foreign-internals
from bazaar.billing.ledger import post  # violates: foreign-internals


def settle() -> object:
    from bazaar.billing.ledger import (  # violates: foreign-internals
        settle,
        split,
    )

    return [settle, split, post, ledger]
