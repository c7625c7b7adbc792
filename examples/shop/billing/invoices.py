"""What an invoice looks like."""

from html import escape
from string import Template

from shop.billing.models import Invoice
from shop.money import euros

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


def render_invoice(invoice: Invoice) -> str:
    """An invoice as a page."""
    lines = "\n".join(
        f"<tr><td>{escape(line['title'])}<td>{line['quantity']}<td>{euros(line['price_cents'])}"
        f"<td>{euros(line['quantity'] * line['price_cents'])}</tr>"
        for line in invoice.lines
    )
    return _PAGE.substitute(
        number=invoice.order_number,
        customer=escape(invoice.customer),
        country=invoice.country,
        day=invoice.day.isoformat(),
        lines=lines,
        total=euros(invoice.total_cents),
    )
