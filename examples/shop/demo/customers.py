"""The customers: they order over HTTP, one order after the other from several clients at once, and keep the answers."""

import asyncio
import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from shop.demo.refusal import Refusal

DATA = Path(__file__).parent / "data"
TRIES = 10
IMPATIENT = 40
"""Every so many customers click twice."""


def read_orders(limit: int | None = None) -> list[dict[str, Any]]:
    """The orders of the CSV, as `POST /orders` takes them."""
    with (DATA / "orders.csv").open(newline="") as file:
        return [row | {"items": dict(_items(row["items"]))} for row in islice(csv.DictReader(file), limit)]


def _items(text: str) -> Iterator[tuple[str, int]]:
    for item in text.split():
        quantity, _, sku = item.partition("x")
        yield sku, int(quantity)


@dataclass(slots=True)
class Answers:
    """What the shop said: the customers' own record, which the audit holds against the shop's. Numbers of orders."""

    accepted: list[str] = field(default_factory=list)
    sold_out: list[str] = field(default_factory=list)
    too_much: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    """Accepted ones that were sent again, and that the shop knew."""
    days: list[str] = field(default_factory=list)
    """Those that the shop has closed."""

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "Answers":
        return cls(**json.loads(path.read_text()))

    @property
    def refused(self) -> list[str]:
        return [*self.sold_out, *self.too_much]

    @property
    def count(self) -> int:
        return len(self.accepted) + len(self.sold_out) + len(self.too_much)


class Customers:
    """Sends the orders at a steady rate, as far as the shop keeps up; closes each day at its end."""

    def __init__(self, orders: list[dict[str, Any]], shop: str, *, clients: int, rate: float) -> None:
        self.answers = Answers()
        self._orders = orders
        self._shop = shop
        self._clients = clients
        self._rate = rate
        self._open_on = Counter(_day(order) for order in orders)

    @property
    def total(self) -> int:
        return len(self._orders)

    async def run(self) -> None:
        begun = asyncio.get_running_loop().time()
        line = enumerate(self._orders)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(self._client(line, begun))

    async def _client(self, line: Iterator[tuple[int, dict[str, Any]]], begun: float) -> None:
        clock = asyncio.get_running_loop().time
        async with httpx.AsyncClient(base_url=self._shop, timeout=30) as http:
            for place, order in line:
                await asyncio.sleep(begun + place / self._rate - clock())
                await self._order(http, order, twice=place % IMPATIENT == IMPATIENT // 2)

    async def _order(self, http: httpx.AsyncClient, order: dict[str, Any], *, twice: bool) -> None:
        number = order["number"]
        answer = await self._post(http, "/orders", order)
        match answer.status_code:
            case 200 | 201:
                self.answers.accepted.append(number)
            case 409:
                self.answers.sold_out.append(number)
            case 402:
                self.answers.too_much.append(number)
            case status:
                raise Refusal(f"POST /orders of {number} was answered {status}: {answer.text}")
        if twice and answer.is_success:
            if (await self._post(http, "/orders", order)).status_code != httpx.codes.OK:
                raise Refusal(f"the shop does not know the order {number}, which it accepted")
            self.answers.repeated.append(number)
        day = _day(order)
        self._open_on[day] -= 1
        if not self._open_on[day]:
            (await self._post(http, f"/days/{day}/closing")).raise_for_status()
            self.answers.days.append(day)

    async def _post(self, http: httpx.AsyncClient, path: str, body: object = None) -> httpx.Response:
        for attempt in range(1, TRIES + 1):
            try:
                answer = await http.post(path, json=body)
            except httpx.TransportError:
                if attempt == TRIES:
                    raise
            else:
                if not answer.is_server_error or attempt == TRIES:
                    return answer
            await asyncio.sleep(0.2 * attempt)
        raise AssertionError("the last try returns or raises")


def _day(order: dict[str, Any]) -> str:
    return str(order["placed_at"])[:10]
