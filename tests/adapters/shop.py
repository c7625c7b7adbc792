"""A domain whose orders are mapped by SQLAlchemy, and record what happens to them."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from remit import Domain, Event, Job


class Oops(Exception):
    """Ends a block without commit."""


class Shop(Domain):
    """The sender of these tests."""


class Audit(Domain):
    """Another one, which records on the same objects."""


shop, audit = Shop(), Audit()


class Seen(Event[Audit]):
    number: int


class Pack(Job[Shop]):
    number: int


class Told(Event[Shop]):
    number: int


class Base(DeclarativeBase):
    """What is mapped here."""


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")

    events = shop.recorder()
    trail = audit.recorder()
    lines: Mapped[list[Line]] = relationship(cascade="all, delete-orphan")

    def tell(self, *numbers: int) -> Order:
        for number in numbers:
            self.events.record(Told(number=number))
        return self


class Line(Base):
    """A part of an order, which is merged and deleted with it."""

    __tablename__ = "lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    text: Mapped[str] = mapped_column(default="")

    events = shop.recorder()

    def tell(self, number: int) -> Line:
        self.events.record(Told(number=number))
        return self
