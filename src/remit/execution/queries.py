"""The statements of this package, by name; their text stands in `sql/`, once per dialect."""

from remit.db.statements import Query


def _query(name: str) -> Query:
    return Query("remit.execution", name)


HEADS = _query("heads")
CLAIM = _query("claim")
FINISH = _query("finish")
REFUSE = _query("refuse")
PROBE = _query("probe")
START_SUSPECT = _query("start_suspect")
HELD = _query("held")
RESCUE = _query("rescue")
