"""The tables of this domain."""

from datetime import date

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from shop.database import Base


class Sale(Base):
    """One order, as far as the figures need it: analytics' own copy. Nothing here refuses a second one."""

    __tablename__ = "sale"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_number: Mapped[str]
    day: Mapped[date] = mapped_column(index=True)
    country: Mapped[str]
    channel: Mapped[str]
    total_cents: Mapped[int]
    skus: Mapped[list[str]] = mapped_column(JSON)
