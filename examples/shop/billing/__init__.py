"""Billing: payments and invoices."""
