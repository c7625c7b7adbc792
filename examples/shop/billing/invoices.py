"""Invoices: what they say, and the mail that brings them."""

from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from html import escape
from string import Template

from shop.orders.models import Order

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<title>Invoice $number</title>
<h1>Invoice $number</h1>
<p>$customer, $country &middot; $day</p>
<table>
<tr><th>Article<th>Quantity<th>Price<th>Sum</tr>
$lines
<tr><th colspan="3">Total<th id="total">$total</tr>
</table>
</html>
""")


def euros(cents: int) -> str:
    return f"{cents / 100:,.2f} EUR"


def render_invoice(order: Order) -> str:
    """An invoice as a page."""
    lines = "\n".join(
        f"<tr><td>{escape(line['title'])}<td>{line['quantity']}<td>{euros(line['price_cents'])}"
        f"<td>{euros(line['quantity'] * line['price_cents'])}</tr>"
        for line in order.lines
    )
    return _PAGE.substitute(
        number=order.number,
        customer=escape(order.customer),
        country=order.country,
        day=order.day.isoformat(),
        lines=lines,
        total=euros(order.total_cents),
    )


def invoice_mail(order: Order, invoice: str, *, key: str) -> Message:
    """The mail with an invoice. Its id comes from `key`, so one that is sent again is known by its id."""
    mail = MIMEMultipart()
    mail["Message-ID"] = f"<{key}@shop.example.com>"
    mail["From"] = "shop@example.com"
    mail["To"] = order.email
    mail["Subject"] = f"Your order {order.number}"
    total = euros(order.total_cents)
    mail.attach(MIMEText(f"Thank you for your order {order.number}.\nThe invoice over {total} is attached.\n"))
    attachment = MIMEText(invoice, "html")
    attachment.add_header("Content-Disposition", "attachment", filename=f"{order.number}.html")
    mail.attach(attachment)
    return mail
