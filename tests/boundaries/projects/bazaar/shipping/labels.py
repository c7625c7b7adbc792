from bazaar.billing.ledger import post
from bazaar.catalog.messages import catalog  # violates: undeclared-dependency

USED = (post, catalog)
