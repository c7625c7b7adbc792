"""The tables of this domain. Money is in cents."""

from datetime import date, datetime
from typing import TypedDict

from sqlalchemy import JSON, CheckConstraint, ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column

from shop.database import Base


class Line(TypedDict):
    """One line of an order, as it was when it was placed."""

    sku: str
    title: str
    quantity: int
    price_cents: int


class Product(Base):
    __tablename__ = "product"
    __table_args__ = (CheckConstraint("stock >= 0"),)

    sku: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    price_cents: Mapped[int]
    stock: Mapped[int]


class Order(Base):
    __tablename__ = "orders"

    number: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(index=True)
    customer: Mapped[str]
    email: Mapped[str]
    country: Mapped[str]
    channel: Mapped[str]
    lines: Mapped[list[Line]] = mapped_column(JSON)
    total_cents: Mapped[int]
    paid: Mapped[bool] = mapped_column(default=False)


class Payment(Base):
    """The ledger. Nothing here refuses a second payment of the same order: the job is what must happen once."""

    __tablename__ = "payment"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_number: Mapped[str] = mapped_column(ForeignKey("orders.number"), index=True)
    amount_cents: Mapped[int]
    booked_at: Mapped[datetime] = mapped_column(server_default=func.current_timestamp())
