"""What others may call."""

from bazaar.shipping.api import parcels_of  # violates: domain-cycle


def balance(customer: str) -> int:
    return parcels_of(customer)
