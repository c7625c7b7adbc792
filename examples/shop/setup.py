"""Makes the tables and fills the shelves: `python -m shop.setup`. An application that lives longer uses Alembic."""

import csv
from pathlib import Path
from typing import Any

from shop.analytics.models import Sale
from shop.billing.models import Invoice, Payment
from shop.database import Base, Database
from shop.orders.models import Order, Product
from shop.settings import Settings

MODELS: tuple[type[Base], ...] = (Product, Order, Payment, Invoice, Sale)
PRODUCTS = Path(__file__).parent / "orders" / "products.csv"


def read_products() -> list[dict[str, Any]]:
    """What the shop sells, by the names of the columns of `Product`."""
    with PRODUCTS.open(newline="") as file:
        return [{**row, **{name: int(row[name]) for name in ("price_cents", "stock")}} for row in csv.DictReader(file)]


def set_up(database: Database) -> None:
    """Make what is missing."""
    Base.metadata.create_all(database.engine, [Base.metadata.tables[model.__tablename__] for model in MODELS])
    with database.sessions.begin() as session:
        for product in read_products():
            if session.get(Product, product["sku"]) is None:
                session.add(Product(**product))


if __name__ == "__main__":
    set_up(Database(Settings.from_environment().database_url))
