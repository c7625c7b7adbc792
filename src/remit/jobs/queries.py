"""The statements of this feature, by name; their text stands in `sql/`, once per dialect."""

from remit.db.statements import Query


def _query(name: str) -> Query:
    return Query("remit.jobs", name)


STORE = _query("store")
ENQUEUE = _query("enqueue")
ENQUEUE_ONE = _query("enqueue_one")
HEADS = _query("heads")
CLAIM = _query("claim")
FINISH = _query("finish")
REFUSE = _query("refuse")
PROBE = _query("probe")
START_SUSPECT = _query("start_suspect")
HELD = _query("held")
LINES = _query("lines")
PROMOTE = _query("promote")
RESCUE = _query("rescue")
LOG = _query("log")
GET = _query("get")
LIST = _query("list")
FAILURES = _query("failures")
LOGS = _query("logs")
CANCEL = _query("cancel")
RETRY = _query("retry")
DELETE = _query("delete")
PURGE = _query("purge")
REPLAY = _query("replay")
COUNT_DEAD = _query("count_dead")
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
