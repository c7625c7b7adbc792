"""What others may call."""

from bazaar.billing.messages import billing


def parcels_of(customer: str) -> int:
    from bazaar.billing.api import balance

    return balance(customer) + len(billing.name)
