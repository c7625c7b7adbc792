"""What handlers of billing are given."""

from dataclasses import dataclass


@dataclass
class Services:
    currency: str = "EUR"
