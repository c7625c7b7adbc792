from bazaar.billing.messages import Billing
from remit import Job


class CloseBooks(Job[Billing]):  # violates: misplaced-message
    organization_id: str
