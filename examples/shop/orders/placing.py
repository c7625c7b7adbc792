"""Placing an order: the order, its stock and its event are one commit, or nothing."""

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shop.money import euros
from shop.orders.messages import DayClosed, OrderLine, OrderPlaced, ReturnPeriodEnded, orders
from shop.orders.models import Order, Product

MOST_CENTS = 20_000
"""What the shop delivers before it is paid."""


class NewOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order as a client sends it. Prices are the shop's business."""

    number: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{6}$")]
    placed_at: datetime
    customer: str
    email: Annotated[str, msgspec.Meta(pattern=r"^[^@\s]+@[^@\s]+$")]
    country: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]
    channel: str
    items: Annotated[dict[str, Annotated[int, msgspec.Meta(ge=1, le=100)]], msgspec.Meta(min_length=1)]
    """How many of what, by SKU."""


class OutOfStock(Exception):
    """There is not enough of a product."""


class AlreadyPlaced(Exception):
    """An order with this number is here."""


class TooMuch(Exception):
    """The order costs more than the shop delivers before it is paid."""


def place_order(new: NewOrder, session: Session, *, return_period: float) -> Order:
    """Place an order in the caller's transaction.

    Raises `AlreadyPlaced`, `OutOfStock` and `TooMuch`: roll back then. The event is published before any of this is
    known, only to show that it does not matter: it exists if, and only if, the caller commits.
    """
    lines = _lines(new, session)
    order = Order(
        number=new.number,
        day=new.placed_at.date(),
        customer=new.customer,
        email=new.email,
        country=new.country,
        channel=new.channel,
        lines=[asdict(line) for line in lines],
        total_cents=sum(line.quantity * line.price_cents for line in lines),
    )
    orders.sync.publish(_placed(order, lines), tx=session)
    if order.channel == "phone":
        ended = ReturnPeriodEnded(order=order.number, email=order.email)
        orders.sync.publish_later(ended, delay=return_period, tx=session)
    session.add(order)
    try:
        session.flush()
    except IntegrityError as error:
        raise AlreadyPlaced(order.number) from error
    for line in sorted(lines, key=lambda line: line.sku):  # in one order, so that no two customers block each other
        _reserve(line, session)
    if order.total_cents > MOST_CENTS:
        raise TooMuch(f"{euros(order.total_cents)} is more than we deliver before it is paid")
    return order


def close_day(day: date, session: Session) -> int:
    """Take no more orders of a day, and say how many there were, in the caller's transaction."""
    placed = session.scalar(select(func.count()).select_from(Order).where(Order.day == day)) or 0
    orders.sync.publish(DayClosed(day=day, orders=placed), tx=session)
    return placed


def _placed(order: Order, lines: tuple[OrderLine, ...]) -> OrderPlaced:
    return OrderPlaced(
        order=order.number,
        day=order.day,
        customer=order.customer,
        email=order.email,
        country=order.country,
        channel=order.channel,
        lines=lines,
        total_cents=order.total_cents,
    )


def _lines(new: NewOrder, session: Session) -> tuple[OrderLine, ...]:
    products = {product.sku: product for product in session.scalars(select(Product).where(Product.sku.in_(new.items)))}
    if missing := new.items.keys() - products.keys():
        raise OutOfStock(f"there is no {', '.join(sorted(missing))}")
    return tuple(
        OrderLine(sku, products[sku].title, quantity, products[sku].price_cents) for sku, quantity in new.items.items()
    )


def _reserve(line: OrderLine, session: Session) -> None:
    reserved = session.scalar(
        update(Product)
        .where(Product.sku == line.sku, Product.stock >= line.quantity)
        .values(stock=Product.stock - line.quantity)
        .returning(Product.sku)
        .execution_options(synchronize_session=False)
    )
    if reserved is None:
        raise OutOfStock(f"{line.title} is sold out")
