"""The caller's handle as a transaction: a job is sent in the transaction that holds the data it is about.

remit executes on the handle and leaves the rest to its owner: it never commits, rolls back or closes it. A handle on
which the caller's commit would not decide is refused.
"""

from remit.db.handles.adopting import adopt, is_blocking
from remit.db.handles.words import type_name

__all__ = ["adopt", "is_blocking", "type_name"]
