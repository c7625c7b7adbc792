from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from market.stock.messages import Reserve


@dataclass(frozen=True)
class Amount:
    value: Decimal

    @classmethod
    def of(cls, text: str) -> Amount:
        return cls(Decimal(text).quantize(Decimal(1)))

    def doubled(self) -> Amount:
        return Amount(self.value.copy_abs() * 2)

    def is_large(self) -> bool:
        return self.doubled().value > 10


def reserve_all(orders: list[str], organization: str) -> list[Reserve]:
    return [Reserve(organization_id=organization, order=order) for order in orders]
