"""Makes up what the shop sells and who orders it; the same seed makes the same files.

PYTHONPATH=examples python -m shop.demo.data.generate
"""

import csv
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
PRODUCTS_FILE = HERE.parents[1] / "orders" / "products.csv"
SEED = 20260302
FIRST_DAY = datetime(2026, 3, 2, tzinfo=UTC)
ORDERS = 2_000
CUSTOMERS = 640

PLENTY = 10_000
LIMITED = "PRINT-LTD"
LIMITED_STOCK = 12
LIMITED_RUSH = range(4, 58, 2)
"""The orders, counted from the first, that want the limited print: more of them than there are prints."""

PRODUCTS = [
    ("TEA-SENCHA", "Sencha, 100 g", 890, PLENTY),
    ("TEA-ASSAM", "Assam, 250 g", 1150, PLENTY),
    ("TEA-DARJEELING", "Darjeeling first flush, 100 g", 1690, PLENTY),
    ("TEA-EARLGREY", "Earl Grey, 250 g", 990, PLENTY),
    ("TEA-OOLONG", "Oolong, 100 g", 1490, PLENTY),
    ("TEA-ROOIBOS", "Rooibos, 250 g", 790, PLENTY),
    ("TEA-MINT", "Peppermint, 100 g", 590, PLENTY),
    ("COFFEE-HOUSE", "House blend, 500 g", 1290, PLENTY),
    ("COFFEE-ETHIOPIA", "Ethiopia Yirgacheffe, 250 g", 1190, PLENTY),
    ("COFFEE-DECAF", "Decaffeinated, 250 g", 1090, PLENTY),
    ("MUG-BLUE", "Mug, cobalt blue", 1450, PLENTY),
    ("MUG-WHITE", "Mug, white", 1250, PLENTY),
    ("MUG-ENAMEL", "Enamel mug", 990, PLENTY),
    ("POT-GLASS", "Glass tea pot, 1.2 l", 3990, PLENTY),
    ("POT-IRON", "Cast iron tea pot, 0.8 l", 6490, PLENTY),
    ("KETTLE-STEEL", "Kettle, 1.7 l", 5490, PLENTY),
    ("FILTER-PAPER", "Paper filters, 100 pieces", 390, PLENTY),
    ("FILTER-STEEL", "Permanent filter", 1890, PLENTY),
    ("GRINDER-HAND", "Hand grinder", 4490, PLENTY),
    ("HONEY-LINDEN", "Linden honey, 500 g", 890, PLENTY),
    ("SUGAR-CANDY", "Rock candy, 500 g", 450, PLENTY),
    ("BISCUIT-OAT", "Oat biscuits, 200 g", 490, PLENTY),
    ("GIFT-BOX", "Gift box", 350, PLENTY),
    (LIMITED, "Print, limited edition", 4900, LIMITED_STOCK),
]

COUNTRIES = {"DE": 38, "FR": 17, "NL": 11, "AT": 9, "ES": 8, "IT": 8, "PL": 5, "SE": 4}
CHANNELS = {"web": 62, "app": 31, "phone": 7}
HOURS = [1, 1, 1, 1, 1, 2, 4, 7, 9, 10, 11, 12, 13, 11, 10, 10, 11, 12, 14, 16, 17, 14, 8, 3]
WEEKDAYS = [1.1, 1.0, 0.95, 1.0, 1.05, 0.8, 0.9]

COLUMNS = ["number", "placed_at", "customer", "email", "country", "channel", "items"]


def orders() -> Iterator[list[str]]:
    chance = random.Random(SEED)
    homes = {customer: _pick(chance, COUNTRIES) for customer in range(1, CUSTOMERS + 1)}
    for place, moment in enumerate(_moments(chance)):
        customer = 1 + int(chance.betavariate(0.7, 1.6) * CUSTOMERS)  # some buy often, most once or twice
        name = f"customer-{customer:04d}"
        items = " ".join(f"{quantity}x{sku}" for sku, quantity in _basket(chance, place).items())
        yield [
            f"{moment:%Y}-{place + 1:06d}",
            moment.isoformat().replace("+00:00", "Z"),
            name,
            f"{name}@example.com",
            homes[customer],
            _pick(chance, CHANNELS),
            items,
        ]


def _moments(chance: random.Random) -> list[datetime]:
    """When the orders came in: more in the evening, fewer on Saturday."""
    days = [FIRST_DAY + timedelta(days=number) for number in range(8)]
    weights = [WEEKDAYS[day.weekday()] for day in days]
    moments = [
        day + timedelta(hours=chance.choices(range(24), HOURS)[0], seconds=chance.randrange(3600))
        for day in chance.choices(days, weights, k=ORDERS)
    ]
    return sorted(moments)


def _basket(chance: random.Random, place: int) -> dict[str, int]:
    everyday = [sku for sku, *_ in PRODUCTS if sku != LIMITED]
    basket = {
        sku: _quantity(chance) for sku in chance.sample(everyday, chance.choices([1, 2, 3, 4], [46, 30, 17, 7])[0])
    }
    if place in LIMITED_RUSH:
        basket[LIMITED] = 1
    return basket


def _quantity(chance: random.Random) -> int:
    return chance.choices([1, 2, 3, 6], [70, 20, 7, 3])[0]


def _pick(chance: random.Random, weights: dict[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]


def main() -> None:
    with PRODUCTS_FILE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sku", "title", "price_cents", "stock"])
        writer.writerows(PRODUCTS)
    with (HERE / "orders.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(orders())


if __name__ == "__main__":
    main()
