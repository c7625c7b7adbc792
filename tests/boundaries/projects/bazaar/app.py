from bazaar import tasks
from bazaar.billing.messages import billing
from bazaar.catalog.messages import catalog
from bazaar.shipping.messages import shipping
from remit import Remit
from remit.boundaries import Allow, Boundaries, Exempt

REGISTERED = tasks

app = Remit(  # violates: stale-exception stale-exception vanished-subscription
    "sqlite://",
    domains=[billing, catalog, shipping],
    scope=("organization_id",),
    boundaries=Boundaries(
        faces={"billing": ("messages", "api"), "*": ("messages", "api")},
        allow=[
            Allow("shipping", "bazaar.billing.ledger", reason="moves to an api with the next tariff"),
            Allow("shipping", "bazaar.catalog.search", reason="was needed once"),
        ],
        depends={"shipping": ("billing",)},
        layers=("shipping", "catalog"),
        facts=("LowWater",),
        entities=("bazaar.*.models",),
        infrastructure=("bazaar.*.infrastructure",),
        exempt=[
            Exempt("unpublished-event", "billing.tariff-changed", reason="published by the old ledger"),
            Exempt("unheard-event", "billing.tariff-changed", reason="heard once"),
        ],
    ),
)
