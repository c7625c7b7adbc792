"""The statements of workers and leadership, by name."""

from remit.db.statements import Query


def _query(name: str) -> Query:
    return Query("remit.runtime", name)


REGISTER = _query("register")
DEREGISTER = _query("deregister")
BEAT = _query("beat")
BEATS = _query("beats")
DECLARE_DEAD = _query("declare_dead")
WORKERS = _query("workers")
ELECT = _query("elect")
RENEW = _query("renew")
RESIGN = _query("resign")
LEADERS = _query("leaders")
LEFT = _query("left")
