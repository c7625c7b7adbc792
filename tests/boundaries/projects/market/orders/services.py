from dataclasses import dataclass

from market.stock.api import available
from market.stock.internals import forecast


@dataclass
class Services:
    def fits(self, sku: str) -> bool:
        return available(sku) and forecast(sku)
