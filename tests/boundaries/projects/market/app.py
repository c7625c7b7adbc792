from market.orders import orders
from market.stock.messages import stock
from remit import Remit
from remit.boundaries import Allow, Boundaries


def make_app() -> Remit:
    return Remit(
        "sqlite://",
        domains=[orders, stock],
        scope=("organization_id",),
        boundaries=Boundaries(
            faces={"stock": ("messages", "api")},
            allow=[Allow("orders", "market.stock.internals", reason="moves to the api next spring")],
            depends={"orders": ("stock",)},
            layers=("orders", "stock"),
            infrastructure=("market.*.infrastructure",),
        ),
    )


app = make_app()
