"""The statements of this feature, by name; their text stands in `sql/`, once per dialect."""

from remit.db.statements import Query


def _query(name: str) -> Query:
    return Query("remit.jobs", name)


STORE = _query("store")
ENQUEUE = _query("enqueue")
ENQUEUE_ONE = _query("enqueue_one")
STORED = _query("stored")
LINES = _query("lines")
PROMOTE = _query("promote")
LOG = _query("log")
MATCHING = _query("matching")
BETWEEN = _query("between")
COUNT = _query("count")
FAILURES = _query("failures")
LOGS = _query("logs")
CANCEL = _query("cancel")
CANCEL_MANY = _query("cancel_many")
RETRY = _query("retry")
RETRY_MANY = _query("retry_many")
DELETE = _query("delete")
DELETE_MANY = _query("delete_many")
PURGE = _query("purge")
PURGE_MANY = _query("purge_many")
UNFINISHED = _query("unfinished")
FINAL_QUEUES = _query("final_queues")
PRUNE = _query("prune")
PRUNE_BEYOND = _query("prune_beyond")
PRUNE_KEPT = _query("prune_kept")
PAUSE = _query("pause")
RESUME = _query("resume")
PAUSED = _query("paused")
WAITING = _query("waiting")
ENDED = _query("ended")
DEAD = _query("dead")
FAILED_ATTEMPTS = _query("failed_attempts")
