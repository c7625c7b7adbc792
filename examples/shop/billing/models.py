"""The tables of this domain."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, func
from sqlalchemy.orm import Mapped, mapped_column

from shop.database import Base


class Payment(Base):
    """The ledger. Nothing here refuses a second payment of the same order: the job is what must happen once."""

    __tablename__ = "payment"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_number: Mapped[str] = mapped_column(index=True)
    amount_cents: Mapped[int]
    booked_at: Mapped[datetime] = mapped_column(server_default=func.current_timestamp())


class Invoice(Base):
    """What an invoice says: billing's own copy of what it was told about an order."""

    __tablename__ = "invoice"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_number: Mapped[str] = mapped_column(index=True)
    day: Mapped[date]
    customer: Mapped[str]
    email: Mapped[str]
    country: Mapped[str]
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    total_cents: Mapped[int]
