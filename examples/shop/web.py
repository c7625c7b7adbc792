"""The shop's HTTP: it translates, and leaves the rest to the domains."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from shop.app import app, settings
from shop.database import Database
from shop.orders.models import Order
from shop.orders.placing import AlreadyPlaced, NewOrder, OutOfStock, TooMuch, close_day, place_order

database = Database(settings.database_url)


async def post_order(request: Request) -> JSONResponse:
    """Place an order. A client that got no answer may send it again: an order is placed once."""
    try:
        new = msgspec.json.decode(await request.body(), type=NewOrder)
    except msgspec.MsgspecError as error:
        return JSONResponse({"error": str(error)}, 422)
    try:
        order = await run_in_threadpool(_place, new)
    except AlreadyPlaced:
        return JSONResponse({"number": new.number, "placed": "before"}, 200)
    except OutOfStock as error:
        return JSONResponse({"number": new.number, "error": str(error)}, 409)
    except TooMuch as error:
        return JSONResponse({"number": new.number, "error": str(error)}, 402)
    return JSONResponse({"number": order.number, "total_cents": order.total_cents}, 201)


def _place(new: NewOrder) -> Order:
    with database.sessions.begin() as session:
        return place_order(new, session, return_period=settings.return_period)


def get_order(request: Request) -> JSONResponse:
    with database.sessions() as session:
        order = session.get(Order, request.path_params["number"])
    if order is None:
        return JSONResponse({"error": "no such order"}, 404)
    return JSONResponse(
        {"number": order.number, "total_cents": order.total_cents, "paid": order.paid, "sent": order.sent}
    )


async def post_closing(request: Request) -> JSONResponse:
    """Close a day; its report is built in the background, once all its orders are counted."""
    try:
        day = date.fromisoformat(request.path_params["day"])
    except ValueError as error:
        return JSONResponse({"error": str(error)}, 422)
    placed = await run_in_threadpool(_close, day)
    return JSONResponse({"day": day.isoformat(), "orders": placed}, 202)


def _close(day: date) -> int:
    with database.sessions.begin() as session:
        return close_day(day, session)


async def get_health(_: Request) -> JSONResponse:
    return JSONResponse({"ok": True})


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with app:
        yield
    database.close()


web = Starlette(
    routes=[
        Route("/orders", post_order, methods=["POST"]),
        Route("/orders/{number}", get_order),
        Route("/days/{day}/closing", post_closing, methods=["POST"]),
        Route("/health", get_health),
    ],
    lifespan=lifespan,
)
