"""Letters. The id of each comes from `key`, so one that is sent again is known by its id."""

from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from shop.money import euros

SHOP = "shop@example.com"
OFFICE = "office@shop.example.com"


def invoice_letter(order: str, email: str, total_cents: int, invoice: str, *, key: str) -> Message:
    letter = MIMEMultipart()
    text = f"Thank you for your order {order}.\nThe invoice over {euros(total_cents)} is attached.\n"
    letter.attach(MIMEText(text))
    attachment = MIMEText(invoice, "html")
    attachment.add_header("Content-Disposition", "attachment", filename=f"{order}.html")
    letter.attach(attachment)
    return _address(letter, email, f"Your order {order}", key)


def question_letter(order: str, email: str, *, key: str) -> Message:
    return _address(MIMEText("You kept what you ordered. How do you like it?\n"), email, f"How was order {order}?", key)


def office_letter(job: str, reason: str, *, key: str) -> Message:
    text = f"{reason}\n\nWhen it is mended: remit dead replay shop.app:app {job}\n"
    return _address(MIMEText(text), OFFICE, f"No parcel for {reason.partition(':')[0]}", key)


def _address(letter: Message, to: str, subject: str, key: str) -> Message:
    letter["Message-ID"] = f"<{key}@shop.example.com>"
    letter["From"] = SHOP
    letter["To"] = to
    letter["Subject"] = subject
    return letter
