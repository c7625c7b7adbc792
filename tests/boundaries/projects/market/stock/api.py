def available(sku: str) -> bool:
    return bool(sku)
