from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from bazaar.billing import ledger as books  # violates: foreign-internals
from bazaar.shipping.api import parcels_of  # violates: layer-order

if TYPE_CHECKING:
    from bazaar.billing.invoices import Invoice  # violates: foreign-internals


async def rebuild() -> None:
    await books.post("1")


def look(invoice: Invoice) -> int:
    from ..billing.models import Row  # noqa: TID252  # violates: foreign-internals

    importlib.import_module("bazaar.billing.handlers")  # violates: foreign-internals
    return Row(parcels_of(invoice.number)).number
