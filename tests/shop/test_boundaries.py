"""The shop keeps its own boundaries, and the audit of its demo looks at every subscription."""

from remit import Remit
from remit.boundaries import assert_boundaries
from shop.demo.edges import EDGES
from shop.domains import DOMAINS


def test_no_domain_reaches_behind_the_messages_of_another() -> None:
    assert_boundaries(Remit("sqlite://", domains=DOMAINS))


def test_every_subscription_has_its_line_in_the_audit() -> None:
    catalog = Remit("sqlite://", domains=DOMAINS).catalog
    catalog.import_handlers()
    heard = {(each.event.message.__name__, each.name) for each in catalog.subscriptions}
    assert {(edge.event, edge.subscription) for edge in EDGES} == heard
