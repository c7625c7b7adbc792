"""Warehouse: parcels, packed by somebody else's."""
