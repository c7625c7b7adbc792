"""The statements of this package, by name; their text stands in `sql/`, once per dialect."""

from remit.db.statements import Query


def _query(name: str) -> Query:
    return Query("remit.client", name)


GET = _query("get")
LIST = _query("list")
