"""A domain whose orders are mapped by SQLAlchemy, and record what happens to them."""

from __future__ import annotations

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from remit import Domain, Event, Job


class Oops(Exception):
    """Ends a block without commit."""


class Shop(Domain):
    """The sender of these tests."""


shop = Shop()


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

    def tell(self, *numbers: int) -> Order:
        for number in numbers:
            self.events.record(Told(number=number))
        return self
