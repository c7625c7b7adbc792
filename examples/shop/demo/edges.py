"""Who hears what in the shop, in the order of an order's life, and what of it can be counted outside."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edge:
    event: str
    subscription: str
    effect: str
    """What is counted outside, as `Story.outside` calls it."""

    def __str__(self) -> str:
        return f"{self.event} → {self.subscription}"


CHARGE = Edge("OrderPlaced", "billing.charge", "payments")
PACK = Edge("OrderPlaced", "warehouse.pack", "parcels")
COUNT = Edge("OrderPlaced", "analytics.count-sale", "sales")
PAID = Edge("PaymentBooked", "orders.note-payment", "paid orders")
INVOICE = Edge("InvoiceIssued", "mail.send-invoice", "mails")
SENT = Edge("ParcelSent", "orders.note-parcel", "sent orders")
PUSH = Edge("OrderMoved", "mail.push-to-app", "pushes")
QUESTION = Edge("ReturnPeriodEnded", "mail.ask-customer", "questions")
DAY = Edge("DayClosed", "analytics.report-day", "reports")
DIED = Edge("JobDied", "warehouse.give-up", "")
OFFICE = Edge("ParcelGivenUp", "mail.tell-office", "letters")

EDGES = (CHARGE, PACK, COUNT, PAID, INVOICE, SENT, PUSH, QUESTION, DAY, DIED, OFFICE)
