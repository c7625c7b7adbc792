-- The outbox, which is also the log of events; subscriptions; what is left of a delivery when its job is pruned.
-- PostgreSQL's file says more about each column.

CREATE TABLE remit_event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    lane INTEGER,
    due_at INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    dispatched_at INTEGER,
    correlation TEXT,
    causation TEXT,
    version INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    hops INTEGER,
    deliveries INTEGER,
    state TEXT NOT NULL DEFAULT 'pending',
    domain TEXT NOT NULL,
    name TEXT NOT NULL,
    encoding TEXT NOT NULL,
    payload TEXT NOT NULL,
    keep REAL,
    scope TEXT,
    traceparent TEXT,
    error TEXT,
    CHECK (state IN ('pending', 'unknown', 'dispatched', 'dead')),
    CHECK ((dispatched_at IS NOT NULL) = (state = 'dispatched'))
) STRICT;

CREATE INDEX remit_event_pending ON remit_event (due_at, seq) WHERE state = 'pending';
CREATE INDEX remit_event_lane ON remit_event (lane, seq) WHERE lane IS NOT NULL AND state = 'pending';
CREATE INDEX remit_event_failed ON remit_event (lane, seq)
WHERE lane IS NOT NULL AND state <> 'dispatched' AND attempts > 0;
CREATE INDEX remit_event_unknown ON remit_event (lane, seq) WHERE state = 'unknown';
CREATE INDEX remit_event_dead ON remit_event (id) WHERE state = 'dead';
CREATE INDEX remit_event_dispatched ON remit_event (due_at) WHERE state = 'dispatched';
CREATE INDEX remit_event_log ON remit_event (name, seq);

CREATE TABLE remit_event_archive (
    id TEXT PRIMARY KEY,
    published_at INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    archived_at INTEGER NOT NULL,
    correlation TEXT,
    causation TEXT,
    version INTEGER NOT NULL,
    deliveries INTEGER,
    domain TEXT NOT NULL,
    name TEXT NOT NULL,
    encoding TEXT NOT NULL,
    payload TEXT NOT NULL,
    scope TEXT,
    traceparent TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX remit_event_archive_age ON remit_event_archive (archived_at);

CREATE TABLE remit_subscription (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    former TEXT NOT NULL DEFAULT '[]',
    line INTEGER NOT NULL,
    attempts INTEGER NOT NULL CHECK (attempts > 0),
    priority INTEGER NOT NULL,
    domain TEXT NOT NULL,
    queue TEXT NOT NULL,
    events TEXT NOT NULL,
    condition TEXT,
    ordered_by TEXT,
    on_dead TEXT NOT NULL CHECK (on_dead IN ('block', 'pass')),
    stale_after REAL NOT NULL,
    expires REAL,
    keep REAL,
    revision INTEGER NOT NULL DEFAULT 1,
    fingerprint TEXT NOT NULL,
    past TEXT NOT NULL DEFAULT '[]',
    created_at INTEGER NOT NULL,
    filling_since INTEGER,
    filling TEXT,
    retired_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE remit_event_type (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    former TEXT,
    PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE VIEW remit_hearing AS
SELECT DISTINCT called.event, subscription.id AS subscription
FROM remit_subscription AS subscription CROSS JOIN json_each(subscription.events) AS heard
JOIN (
    SELECT name AS event, name FROM remit_event_type
    UNION ALL
    SELECT event_type.name, former.value
    FROM remit_event_type AS event_type CROSS JOIN json_each(event_type.former) AS former
) AS called ON called.name = heard.value
WHERE subscription.retired_at IS NULL;

CREATE VIEW remit_outstanding AS
SELECT id, seq, lane, due_at, attempts, name, version FROM remit_event AS event
WHERE state = 'pending' AND (lane IS NULL OR NOT EXISTS (
    SELECT 1 FROM remit_event AS earlier
    WHERE earlier.lane = event.lane AND earlier.seq < event.seq AND earlier.state <> 'dispatched' AND earlier.attempts > 0
        AND (earlier.state = 'pending' OR earlier.name IN (
            SELECT hearing.event FROM remit_hearing AS hearing
            JOIN remit_subscription AS subscription ON subscription.id = hearing.subscription
            WHERE ordered_by IS NOT NULL AND on_dead = 'block'
        ))
) AND NOT EXISTS (
    SELECT 1 FROM remit_event AS earlier
    WHERE earlier.lane = event.lane AND earlier.seq < event.seq AND earlier.state = 'unknown'
));

CREATE TABLE remit_turn (
    subscription TEXT NOT NULL REFERENCES remit_subscription (id) ON DELETE CASCADE,
    lane INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    event TEXT NOT NULL,
    released INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (subscription, lane, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX remit_turn_released ON remit_turn (subscription, lane) WHERE released;

CREATE TABLE remit_delivery (
    event TEXT NOT NULL REFERENCES remit_event (id) ON DELETE CASCADE,
    subscription TEXT NOT NULL,
    state TEXT NOT NULL,
    finished_at INTEGER NOT NULL,
    PRIMARY KEY (event, subscription)
) STRICT, WITHOUT ROWID;

ALTER TABLE remit_job ADD COLUMN subscription TEXT;

CREATE TRIGGER remit_job_keep_delivery AFTER DELETE ON remit_job WHEN old.subscription IS NOT NULL
BEGIN
    INSERT OR REPLACE INTO remit_delivery (event, subscription, state, finished_at)
    SELECT id, old.subscription, CASE WHEN old.finished_at IS NULL THEN 'cancelled' ELSE old.state END,
        coalesce(old.finished_at, unixepoch() * 1000000)
    FROM remit_event WHERE id = old.event_id;
END;
