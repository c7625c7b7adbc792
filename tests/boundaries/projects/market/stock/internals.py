def forecast(sku: str) -> bool:
    return bool(sku)
