"""Integrations with libraries that own the caller's transactions. Each is independent; nothing imports them here."""
