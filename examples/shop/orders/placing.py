"""Placing an order: the order, its stock and its jobs are one commit, or nothing."""

from datetime import datetime
from typing import Annotated

import msgspec
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shop.orders.messages import BookPayment, NotifyWarehouse, RenderInvoice, orders
from shop.orders.models import Line, Order, Product


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


def place_order(new: NewOrder, session: Session) -> Order:
    """Place an order in the caller's transaction. Raises `OutOfStock` and `AlreadyPlaced`: roll back then.

    The jobs come first only to show that it does not matter: they exist if, and only if, the caller commits.
    """
    orders.sync.enqueue_many(
        [BookPayment(order=new.number), RenderInvoice(order=new.number), NotifyWarehouse(order=new.number)],
        tx=session,
        requested_by={"email": new.email},
    )
    lines = [_reserve(session, sku, quantity) for sku, quantity in sorted(new.items.items())]
    order = Order(
        number=new.number,
        day=new.placed_at.date(),
        customer=new.customer,
        email=new.email,
        country=new.country,
        channel=new.channel,
        lines=lines,
        total_cents=sum(line["quantity"] * line["price_cents"] for line in lines),
    )
    session.add(order)
    try:
        session.flush()
    except IntegrityError as error:
        raise AlreadyPlaced(new.number) from error
    return order


def _reserve(session: Session, sku: str, quantity: int) -> Line:
    reserved = session.execute(
        update(Product)
        .where(Product.sku == sku, Product.stock >= quantity)
        .values(stock=Product.stock - quantity)
        .returning(Product.title, Product.price_cents)
        .execution_options(synchronize_session=False)
    )
    product = reserved.one_or_none()
    if product is None:
        raise OutOfStock(f"{sku} is sold out")
    return Line(sku=sku, title=product.title, quantity=quantity, price_cents=product.price_cents)
