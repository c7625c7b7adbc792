"""Django: `transaction.atomic()` is the transaction in which domains send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remit.errors import MissingExtra

try:
    from django.db import connections  # type: ignore[import-untyped]
except ImportError as error:
    raise MissingExtra("remit.adapters.django needs Django: pip install django") from error


def ambient(alias: str = "default") -> Callable[[], object | None]:
    """Find the current atomic block, so that there is no need to pass `tx=`.

    Inside `transaction.atomic()` of that alias (also by `ATOMIC_REQUESTS`), messages of a domain are part of the block.
    Outside, also after `set_autocommit(False)`, there is none. Django has a connection per thread, and so a block
    belongs to the thread that began it. Django's `TestCase` runs each test in a block, which it rolls back.

        app = Remit(url, domains=[billing], ambient=[remit.adapters.django.ambient()])

        with transaction.atomic():
            invoice.save()
            billing.sync.publish(InvoicePaid(invoice_id=invoice.pk))
    """

    def find() -> object | None:
        connection: Any = connections[alias]
        return connection if connection.in_atomic_block else None

    return find
