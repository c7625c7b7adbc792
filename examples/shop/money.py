"""Money is in cents everywhere; this is how people read it."""


def euros(cents: int) -> str:
    return f"{cents / 100:,.2f} EUR"
