"""Holds what came out against what went in: mailbox, documents and books outside against what customers were told."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from remit import Remit, State
from remit.client import QueueRecord
from shop.analytics.models import Sale
from shop.billing.models import Payment
from shop.database import Database
from shop.demo import edges
from shop.demo.customers import Answers
from shop.demo.edges import Edge
from shop.demo.log import EventLog
from shop.demo.outside import TAKEN, TRIED_AGAIN, Answer, Call, Letter, Mail, Outside
from shop.money import euros
from shop.orders.models import Order, Product
from shop.setup import read_products

JOBS_PER_ORDER = 6
"""Payment, invoice, its mail, parcel, and two notes in the order."""
DELIVERIES_PER_ORDER = 6
"""To whom every order goes: everybody but the app, the customer who is asked, the report and the office."""
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the audit looks at, as it lies there."""

    answers: Answers
    orders: Mapping[str, Order]
    payments: Sequence[tuple[str, int]]
    sales: Sequence[tuple[str, int]]
    stock: Mapping[str, int]
    """What is left, by SKU."""
    events: Counter[str]
    """How many were published, by name."""
    undelivered: int
    """Events that wait for the relay, or that it gave up."""
    queues: Sequence[QueueRecord]
    invoices: Mapping[str, str]
    mails: Sequence[Mail]
    parcels: Sequence[Call]
    pushes: Sequence[Call]
    reports: Mapping[str, Mapping[str, Any]]

    @property
    def through_app(self) -> list[str]:
        return [number for number, order in self.orders.items() if order.channel == "app"]

    @property
    def by_phone(self) -> list[str]:
        return [number for number, order in self.orders.items() if order.channel == "phone"]

    @property
    def packed(self) -> Counter[str]:
        return Counter(call.order for call in self.parcels if call.answer in TAKEN)

    @property
    def given_up(self) -> set[str]:
        """Orders whose parcels the warehouse refused at first."""
        return {call.order for call in self.parcels if call.answer is Answer.REFUSED}


@dataclass(slots=True)
class Finding:
    """One line of the audit: what was due and what was found.

    `rolled_back` counts what was found about orders that were never committed. `twice` and `again` are None where they
    cannot be told; `again` is what came once more under its key, which is allowed outside the database.
    """

    what: str | Edge
    due: int
    found: int
    lost: int = 0
    rolled_back: int = 0
    twice: int | None = 0
    again: int | None = None
    proof: str = ""
    remark: str = ""
    faults: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.what)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.rolled_back or self.twice or self.faults)


async def collect(app: Remit, database: Database, folder: Path) -> Evidence:
    """Look at everything. `folder` is where the outside world keeps its things."""
    outside = Outside(folder)
    log = EventLog(app)
    await log.read(whole=True)
    outbox = await app.events.outbox()
    with database.sessions() as session:
        orders = {order.number: order for order in session.scalars(select(Order))}
        payments = [
            (number, cents) for number, cents in session.execute(select(Payment.order_number, Payment.amount_cents))
        ]
        sales = [(number, cents) for number, cents in session.execute(select(Sale.order_number, Sale.total_cents))]
        stock = {product.sku: product.stock for product in session.scalars(select(Product))}
    return Evidence(
        answers=Answers.load(folder / "answers.json"),
        orders=orders,
        payments=payments,
        sales=sales,
        stock=stock,
        events=log.by_name(),
        undelivered=outbox.pending + outbox.dead,
        queues=await app.queues.list(window=DAY),
        invoices=outside.invoice_texts(),
        mails=list(outside.mails()),
        parcels=outside.calls(outside.parcels),
        pushes=outside.calls(outside.pushes),
        reports=outside.report_contents(),
    )


def audit(evidence: Evidence) -> list[Finding]:
    """Every line. Pure: the same evidence gives the same findings."""
    return [
        _orders(evidence),
        _stock(evidence),
        _invoices(evidence),
        _booked(edges.CHARGE, evidence, evidence.payments, "the ledger"),
        _parcels(evidence),
        _booked(edges.COUNT, evidence, evidence.sales, "the figures"),
        _noted(edges.PAID, {number for number, _ in evidence.payments}, evidence, "paid"),
        _mails(edges.INVOICE, Letter.INVOICE, evidence.invoices.keys(), evidence),
        _noted(edges.SENT, evidence.packed.keys(), evidence, "sent"),
        _pushes(evidence),
        _mails(edges.QUESTION, Letter.QUESTION, evidence.by_phone, evidence),
        _reports(evidence),
        _mails(edges.DIED, Letter.OFFICE, evidence.given_up, evidence),
        _mails(edges.OFFICE, Letter.OFFICE, evidence.given_up, evidence),
        _events(evidence),
        _runs(evidence),
    ]


# --- the books of the shop


def _orders(evidence: Evidence) -> Finding:
    answers = evidence.answers
    finding = _compare("orders in the book", answers.accepted, Counter(evidence.orders.keys()), "the table of orders")
    finding.remark = (
        f"Rolled back after OrderPlaced was published: sold out {len(answers.sold_out)}, too expensive "
        f"{len(answers.too_much)}, sent twice {len(answers.repeated)}."
    )
    return finding


def _stock(evidence: Evidence) -> Finding:
    sold = Counter({line["sku"]: 0 for order in evidence.orders.values() for line in order.lines})
    for order in evidence.orders.values():
        sold.update({line["sku"]: line["quantity"] for line in order.lines})
    taken = {product["sku"]: product["stock"] - evidence.stock[product["sku"]] for product in read_products()}
    finding = Finding("pieces from stock", sold.total(), sum(taken.values()), proof="the table of products")
    for sku, pieces in taken.items():
        if pieces != sold[sku]:
            finding.faults.append(f"of {sku} {pieces} were taken from stock, and {sold[sku]} were sold")
    return finding


def _invoices(evidence: Evidence) -> Finding:
    paid = {number for number, _ in evidence.payments}
    finding = _compare("invoices", paid, Counter(evidence.invoices.keys()), "the files")
    for number, page in evidence.invoices.items():
        order = evidence.orders.get(number)
        if order is not None and euros(order.total_cents) not in page:
            finding.faults.append(f"the invoice of order {number} does not say {euros(order.total_cents)}")
    return finding


# --- one line for each subscription


def _booked(edge: Edge, evidence: Evidence, rows: Sequence[tuple[str, int]], proof: str) -> Finding:
    """Inside the database: exactly once."""
    finding = _compare(edge, evidence.answers.accepted, Counter(number for number, _ in rows), proof)
    for number, cents in rows:
        order = evidence.orders.get(number)
        if order is not None and order.total_cents != cents:
            finding.faults.append(f"{proof} has {euros(cents)} for order {number} over {euros(order.total_cents)}")
    return finding


def _noted(edge: Edge, due: Collection[str], evidence: Evidence, column: str) -> Finding:
    """Inside the database, but a mark that is set twice looks like one."""
    marked = Counter(number for number, order in evidence.orders.items() if getattr(order, column))
    finding = _compare(edge, due, marked, f"the orders marked {column}")
    finding.twice = None
    return finding


def _parcels(evidence: Evidence) -> Finding:
    answers = Counter(call.answer for call in evidence.parcels)
    finding = _compare(edges.PACK, evidence.answers.accepted, evidence.packed, "the warehouse's book")
    finding.again = answers[Answer.KNOWN]
    finding.remark = (
        f"Calls of the warehouse that failed or were answered too late, and were tried again: "
        f"{sum(answers[answer] for answer in TRIED_AGAIN)}. With a key that it knew, so that it packed nothing: "
        f"{finding.again}. "
        f"Parcels given up, and sent when the office had mended the addresses: {len(evidence.given_up)}."
    )
    return finding


def _mails(edge: Edge, letter: Letter, due: Collection[str], evidence: Evidence) -> Finding:
    """Outside the database: at least once, and a letter that comes again has the Message-ID that it had before."""
    letters = [mail for mail in evidence.mails if mail.letter is letter]
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for mail in letters:
        ids[mail.order].add(mail.message_id)
    found = Counter({number: len(several) for number, several in ids.items()})
    finding = _compare(edge, due, found, "the mailbox")
    finding.again = len(letters) - found.total()
    if finding.again and letter is Letter.INVOICE:
        finding.remark = (
            f"Invoices mailed again, since their worker was killed between sending and saying so: {finding.again}. "
            "Each has the Message-ID that it had before."
        )
    for mail in letters if letter is Letter.INVOICE else ():
        order = evidence.orders.get(mail.order)
        if order is not None and (mail.to != order.email or euros(order.total_cents) not in mail.text):
            finding.faults.append(f"the e-mail about order {mail.order} to {mail.to} does not fit the order")
    return finding


def _pushes(evidence: Evidence) -> Finding:
    """Two for each order through the app, the first with one mark, the second with both."""
    shown: defaultdict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for call in evidence.pushes:
        if call.answer in TAKEN:
            shown[call.order].append((call.said["paid"], call.said["sent"]))
    due = [f"{number} {place}" for number in evidence.through_app for place in (1, 2)]
    found = [f"{number} {place}" for number, states in shown.items() for place in range(1, len(states) + 1)]
    finding = _compare(edges.PUSH, due, Counter(found), "the app, in order")
    finding.again = sum(call.answer is Answer.KNOWN for call in evidence.pushes)
    for number, states in shown.items():
        if len(states) == 2 and not (sum(states[0]) == 1 and all(states[1])):
            finding.faults.append(f"the app was told about order {number} in the wrong order: {states}")
    failed = sum(call.answer is Answer.FAILED for call in evidence.pushes)
    finding.remark = f"Pushes that failed at first, while the next one of the same order waited: {failed}."
    return finding


def _reports(evidence: Evidence) -> Finding:
    finding = _compare(edges.DAY, evidence.answers.days, Counter(evidence.reports.keys()), "the reports")
    finding.twice = None
    for day, report in evidence.reports.items():
        sales = [order.total_cents for order in evidence.orders.values() if order.day.isoformat() == day]
        if (report["orders"], report["revenue_cents"]) != (len(sales), sum(sales)):
            finding.faults.append(
                f"the report of {day} says {report['orders']} orders, {euros(report['revenue_cents'])}"
            )
    return finding


# --- what remit itself says


def _events(evidence: Evidence) -> Finding:
    orders = len(evidence.orders)
    due = {
        "orders.order-placed": orders,
        "billing.payment-booked": orders,
        "billing.invoice-issued": orders,
        "warehouse.parcel-sent": orders,
        "orders.order-moved": 2 * orders,
        "orders.return-period-ended": len(evidence.by_phone),
        "orders.day-closed": len(evidence.answers.days),
        "remit.job-died": len(evidence.given_up),
        "warehouse.parcel-given-up": len(evidence.given_up),
    }
    finding = Finding("events handed out", sum(due.values()), evidence.events.total() - evidence.undelivered)
    finding.proof = "remit's log"
    finding.lost = sum(max(0, count - evidence.events[name]) for name, count in due.items())
    finding.lost += evidence.undelivered
    for name, count in sorted(evidence.events.items()):
        if count > due.get(name, 0):
            finding.faults.append(f"{count} times {name} was published, and {due.get(name, 0)} are due")
    return finding


def _runs(evidence: Evidence) -> Finding:
    ended: Counter[State] = Counter()
    for queue in evidence.queues:
        waiting = {State.READY: queue.ready, State.SCHEDULED: queue.scheduled, State.RUNNING: queue.running}
        ended.update({**queue.ended, **waiting, State.DEAD: queue.dead})
    phone, days, given_up = len(evidence.by_phone), len(evidence.answers.days), len(evidence.given_up)
    deliveries = (
        DELIVERIES_PER_ORDER * len(evidence.orders) + 2 * len(evidence.through_app) + phone + days + 2 * given_up
    )
    jobs = JOBS_PER_ORDER * len(evidence.orders) + 2 * phone + days + given_up
    completed = ended.pop(State.COMPLETED, 0)
    finding = Finding("deliveries and jobs", deliveries + jobs, completed, proof="remit's queues")
    finding.lost = max(0, finding.due - completed)
    finding.faults += [f"{count} are {state.value}" for state, count in sorted(ended.items()) if count]
    if completed > finding.due:
        finding.faults.append(f"{completed - finding.due} more ran than were asked for")
    return finding


def _compare(what: str | Edge, due: Collection[str], found: Counter[str], proof: str) -> Finding:
    """Hold what was found, with how often, against what is due."""
    finding = Finding(what, len(due), sum(number in found for number in due), proof=proof)
    wanted = set(due)
    finding.lost = len(wanted - found.keys())
    finding.rolled_back = len(found.keys() - wanted)
    finding.twice = sum(times - 1 for times in found.values())
    finding.faults += _named("is missing", wanted - found.keys(), what)
    finding.faults += _named("was never committed, and is there", found.keys() - wanted, what)
    finding.faults += _named("is there more than once", {one for one, times in found.items() if times > 1}, what)
    return finding


def _named(fault: str, numbers: Collection[str], what: str | Edge) -> Iterator[str]:
    return (f"{what}: {number} {fault}" for number in sorted(numbers))
