"""The same behind a transaction pooler."""

from depot.messages import depot

from remit import Remit

app = Remit(domains=[depot], pooler=True)
