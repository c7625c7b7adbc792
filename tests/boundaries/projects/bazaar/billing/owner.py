from remit import Domain


class Billing(Domain[object]):
    """Invoices & payments, <b>all</b> of them."""


billing = Billing()
