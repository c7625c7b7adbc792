"""The statements of this feature, by name; their text stands in `sql/`, once per dialect."""

from remit.db.statements import Query


def _query(name: str) -> Query:
    return Query("remit.outbox", name)


PUBLISH = _query("publish")
PUBLISH_ONE = _query("publish_one")
STORED = _query("stored")
DISPATCH = _query("dispatch")
RELEASE = _query("release")
LANES = _query("lanes")
PENDING = _query("pending")
FAIL = _query("fail")
RECOGNISE = _query("recognise")
UNKNOWN = _query("unknown")
LOCK_SUBSCRIPTIONS = _query("lock_subscriptions")
DECLARE_EVENTS = _query("declare_events")
DECLARE = _query("declare")
SUBSCRIPTIONS = _query("subscriptions")
CALLED = _query("called")
DECLARATIONS = _query("declarations")
DELIVERIES_BY_STATE = _query("deliveries_by_state")
RETIRE = _query("retire")
DELIVERING = _query("delivering")
CANCELLABLE = _query("cancellable")
OUTBOX = _query("outbox")
GET_EVENT = _query("get_event")
LIST_EVENTS = _query("list_events")
EVENT_DELIVERIES = _query("event_deliveries")
RETRY_EVENT = _query("retry_event")
BEGIN_FILLING = _query("begin_filling")
FILLINGS = _query("fillings")
NOTE_FILLING = _query("note_filling")
END_FILLING = _query("end_filling")
COUNT_LOG = _query("count_log")
NEXT_TO_FILL = _query("next_to_fill")
FILL = _query("fill")
PURGE_EVENTS = _query("purge_events")
PURGE_ARCHIVE = _query("purge_archive")
