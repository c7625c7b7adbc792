"""Holds what came out against what went in: mailbox, files and books outside against the orders that were committed."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text
from sqlalchemy import select

from remit import Remit, State
from shop.database import Database
from shop.demo.customers import Answers
from shop.demo.outside import PACKED, TRIED_AGAIN, Answer, Delivery, Mail, Outside
from shop.orders.invoices import euros
from shop.orders.models import Order, Payment, Product
from shop.setup import read_products

JOBS_PER_ORDER = 4
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the audit looks at, as it lies there."""

    answers: Answers
    orders: Mapping[str, Order]
    payments: Sequence[tuple[str, int]]
    stock: Mapping[str, int]
    """What is left, by SKU."""
    jobs: Counter[tuple[str, str]]
    """How many, by queue and state."""
    invoices: Mapping[str, str]
    mails: Sequence[Mail]
    deliveries: Sequence[Delivery]
    reports: Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Finding:
    """One line of the audit."""

    what: str
    went_in: int
    came_out: int
    lost: int = 0
    twice: int = 0
    again: int | None = None
    """What came once more under the same key, which is allowed outside the database; None where it cannot be told."""
    remark: str = ""
    faults: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.twice or self.faults)


async def collect(app: Remit, database: Database, folder: Path) -> Evidence:
    """Look at everything. `folder` is where the outside world keeps its things."""
    outside = Outside(folder)
    jobs: Counter[tuple[str, str]] = Counter()
    for queue in await app.queues.list(window=DAY):
        jobs.update({(queue.name, "ready"): queue.ready, (queue.name, "scheduled"): queue.scheduled})
        jobs.update({(queue.name, "running"): queue.running, (queue.name, "dead"): queue.dead})
        jobs.update({(queue.name, state.value): n for state, n in queue.ended.items() if state is not State.DEAD})
    with database.sessions() as session:
        orders = {order.number: order for order in session.scalars(select(Order))}
        payments = [
            (number, cents) for number, cents in session.execute(select(Payment.order_number, Payment.amount_cents))
        ]
        stock = {product.sku: product.stock for product in session.scalars(select(Product))}
    return Evidence(
        answers=Answers.load(folder / "answers.json"),
        orders=orders,
        payments=payments,
        stock=stock,
        jobs=jobs,
        invoices=outside.invoice_texts(),
        mails=list(outside.mails()),
        deliveries=outside.deliveries(),
        reports=outside.report_contents(),
    )


def audit(evidence: Evidence) -> list[Finding]:
    """Every line of the table. Pure: the same evidence gives the same findings."""
    return [
        _orders(evidence),
        _stock(evidence),
        _payments(evidence),
        _invoices(evidence),
        _mails(evidence),
        _parcels(evidence),
        _reports(evidence),
        _jobs(evidence),
    ]


def _orders(evidence: Evidence) -> Finding:
    accepted, refused = set(evidence.answers.accepted), set(evidence.answers.refused)
    finding = Finding("orders accepted by the shop", len(accepted), len(evidence.orders))
    finding.lost = len(accepted - evidence.orders.keys())
    finding.faults += [
        f"order {number} was refused, and is there" for number in sorted(refused & evidence.orders.keys())
    ]
    if refused:
        finding.remark = (
            f"{len(refused)} orders were refused, sold out: their jobs were in the transaction that was rolled back."
        )
    return finding


def _stock(evidence: Evidence) -> Finding:
    sold = Counter({line["sku"]: 0 for order in evidence.orders.values() for line in order.lines})
    for order in evidence.orders.values():
        sold.update({line["sku"]: line["quantity"] for line in order.lines})
    taken = {product["sku"]: product["stock"] - evidence.stock[product["sku"]] for product in read_products()}
    finding = Finding("pieces taken from stock", sold.total(), sum(taken.values()))
    for sku, pieces in taken.items():
        if pieces != sold[sku]:
            finding.faults.append(f"of {sku} {pieces} were taken from stock, and {sold[sku]} were sold")
    return finding


def _payments(evidence: Evidence) -> Finding:
    booked = Counter(number for number, _ in evidence.payments)
    finding = Finding("payments booked", len(evidence.orders), len(evidence.payments))
    finding.lost = len(evidence.orders.keys() - booked.keys())
    finding.twice = sum(times - 1 for times in booked.values())
    finding.faults += [f"order {number} was booked {times} times" for number, times in booked.items() if times > 1]
    for number, cents in evidence.payments:
        order = evidence.orders.get(number)
        if order is None or order.total_cents != cents or not order.paid:
            finding.faults.append(f"the payment of order {number} over {euros(cents)} does not fit the order")
    return finding


def _invoices(evidence: Evidence) -> Finding:
    finding = Finding("invoices on disk", len(evidence.orders), len(evidence.invoices))
    finding.lost = len(evidence.orders.keys() - evidence.invoices.keys())
    finding.faults += _without_order("invoice", evidence.invoices, evidence)
    for number, page in evidence.invoices.items():
        order = evidence.orders.get(number)
        if order is not None and euros(order.total_cents) not in page:
            finding.faults.append(f"the invoice of order {number} does not say {euros(order.total_cents)}")
    return finding


def _mails(evidence: Evidence) -> Finding:
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for mail in evidence.mails:
        ids[mail.order].add(mail.message_id)
    finding = Finding("e-mails in the mailbox", len(evidence.orders), sum(map(len, ids.values())))
    finding.lost = len(evidence.orders.keys() - ids.keys())
    finding.twice = sum(len(several) - 1 for several in ids.values())
    finding.again = len(evidence.mails) - finding.came_out
    if finding.again:
        finding.remark = (
            f"{finding.again} e-mails were sent again: their worker was killed after it had sent them, before it could "
            "say so. Outside the database things happen at least once: each has the Message-ID that it had before."
        )
    finding.faults += _without_order("e-mail", ids, evidence)
    for mail in evidence.mails:
        order = evidence.orders.get(mail.order)
        if order is not None and (mail.to != order.email or euros(order.total_cents) not in mail.text):
            finding.faults.append(f"the e-mail about order {mail.order} to {mail.to} does not fit the order")
    return finding


def _parcels(evidence: Evidence) -> Finding:
    packed = Counter(delivery.order for delivery in evidence.deliveries if delivery.answer in PACKED)
    answers = Counter(delivery.answer for delivery in evidence.deliveries)
    finding = Finding("parcels at the warehouse", len(evidence.orders), packed.total())
    finding.lost = len(evidence.orders.keys() - packed.keys())
    finding.twice = sum(times - 1 for times in packed.values())
    finding.again = answers[Answer.KNOWN]
    finding.remark = (
        f"{sum(answers[answer] for answer in TRIED_AGAIN)} calls of the warehouse failed or were answered too late, "
        f"and were tried again; {finding.again} came with a key that it knew, so it packed nothing twice."
    )
    finding.faults += _without_order("parcel", packed, evidence)
    return finding


def _reports(evidence: Evidence) -> Finding:
    asked = set(evidence.answers.days)
    finding = Finding("daily reports", len(asked), len(evidence.reports))
    finding.lost = len(asked - evidence.reports.keys())
    for day, report in evidence.reports.items():
        sales = [order.total_cents for order in evidence.orders.values() if order.day.isoformat() == day]
        if (report["orders"], report["revenue_cents"]) != (len(sales), sum(sales)):
            finding.faults.append(
                f"the report of {day} says {report['orders']} orders, {euros(report['revenue_cents'])}"
            )
    return finding


def _jobs(evidence: Evidence) -> Finding:
    ended = Counter({State.COMPLETED.value: 0})
    for (_, state), count in evidence.jobs.items():
        ended[state] += count
    due = JOBS_PER_ORDER * len(evidence.orders) + len(evidence.answers.days)
    completed = ended.pop(State.COMPLETED.value)
    finding = Finding("jobs completed", due, completed, lost=max(0, due - completed))
    finding.faults += [f"{count} jobs are {state}" for state, count in sorted(ended.items()) if count]
    if completed > due:
        finding.faults.append(f"{completed - due} jobs ran that no order or day asked for")
    return finding


def _without_order(what: str, found: Mapping[str, object], evidence: Evidence) -> Iterator[str]:
    return (
        f"there is an {what} for order {number}, which is not there"
        for number in sorted(found.keys() - evidence.orders.keys())
    )


def table(findings: Sequence[Finding]) -> Table:
    """The findings for people."""
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    shown.add_column("")
    shown.add_column("what", no_wrap=True)
    for heading in ("went in", "came out", "lost", "twice", "again"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for finding in findings:
        shown.add_row(
            Text("✓", "green") if finding.clean else Text("✗", "bold red"),
            finding.what,
            f"{finding.went_in:,}",
            f"{finding.came_out:,}",
            _count(finding.lost),
            _count(finding.twice),
            Text("-" if finding.again is None else f"{finding.again:,}", "dim"),
        )
    return shown


def _count(number: int) -> Text:
    return Text(f"{number:,}", "bold red" if number else "")
