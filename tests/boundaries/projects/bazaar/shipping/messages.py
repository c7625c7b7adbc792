from remit import Domain


class Shipping(Domain[object]):
    """Parcels."""


shipping = Shipping()
