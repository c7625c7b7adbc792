from __future__ import annotations

from typing import TYPE_CHECKING

from remit import Domain

if TYPE_CHECKING:
    from market.orders.services import Services


class Orders(Domain["Services"]):
    """Orders & baskets: everything a customer <i>does</i>."""


orders = Orders()
bulk = orders.queue("bulk", concurrency=2)
