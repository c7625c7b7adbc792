"""The package itself hands its domain on."""

from market.orders.owner import Orders, orders

__all__ = ["Orders", "orders"]
