"""Integrations with the libraries that own the caller's transactions. Each stands alone; nothing imports them here."""
