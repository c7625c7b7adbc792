"""Names of events: past facts pass, commands and things do not."""

import pytest

from remit.boundaries.rules.facts import is_fact


@pytest.mark.parametrize(
    "name",
    [
        "InvoicePaid", "OrderPlaced", "ParcelSent", "UserSignedUp", "ItemAddedToCart", "PaymentFailed", "StockRanOut",
        "OrderBecameLate", "InvoicePaidLate", "InvoiceVoidedManually", "SubscriptionWithdrawn", "ContractWon",
        "PasswordReset", "PriceSet", "MessageRead", "BasketSplitUp", "UserLoggedIn", "HTTPCallFailed", "RefundAgreed",
        "InvoicePaidV2", "OrderPlaced2", "OrderPlacedEvent", "Shipped", "OrderWasPlaced", "JobBegan", "CaseTakenOver",
        "SeatsHeld", "TicketBought", "DocumentWritten", "LimitExceeded", "VoucherRedeemed", "FileUploaded",
        "PaymentWentThrough", "MembershipRenewedAutomatically", "CustomerMerged", "OrderReceived", "AccountOverdrawn",
    ],
)  # fmt: skip
def test_past_facts_pass(name: str) -> None:
    assert is_fact(name)


@pytest.mark.parametrize(
    "name",
    [
        "PayInvoice", "SendReceipt", "InvoicePayment", "SendPaidInvoice", "StockLow", "Invoice", "InvoiceEvent",
        "PaymentNeed", "NewsFeed", "LimitExceed", "OrderProceed", "SetUpAccount", "ReadMessage", "PutOnHold", "Speed",
        "OrderPlacing", "UserRegistration", "InvoiceOverdueNotice", "Event", "Red", "PaidInvoiceReminder",
    ],
)  # fmt: skip
def test_commands_and_things_do_not(name: str) -> None:
    assert not is_fact(name)
