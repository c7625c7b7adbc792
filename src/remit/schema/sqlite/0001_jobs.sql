-- The foundation: jobs, their failures and logs, queues, workers, leadership. Times are microseconds since 1970.

CREATE TABLE remit_meta (
    singleton INTEGER PRIMARY KEY DEFAULT 1 CHECK (singleton = 1),
    store TEXT NOT NULL  -- an enqueue on a caller's transaction must find this very store
) STRICT;
INSERT INTO remit_meta (store) VALUES (
    lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8'
        || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))
);

CREATE TABLE remit_worker (
    id TEXT PRIMARY KEY,
    beat INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    about TEXT NOT NULL,
    health TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;

CREATE TABLE remit_leader (
    role TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    elected_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE remit_queue (
    name TEXT PRIMARY KEY,
    paused_at INTEGER,
    paused_by TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE remit_job (
    id TEXT NOT NULL UNIQUE,
    line INTEGER NOT NULL,
    lane INTEGER NOT NULL DEFAULT 0,
    run_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    token INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    claimed_at INTEGER,
    finished_at INTEGER,
    expires_at INTEGER,
    event_id TEXT,
    correlation TEXT,
    causation TEXT,
    version INTEGER NOT NULL,
    priority INTEGER NOT NULL DEFAULT 0,
    hops INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL CHECK (attempts > 0),
    suspect INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    domain TEXT NOT NULL,
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    encoding TEXT NOT NULL,
    payload TEXT,
    backoff TEXT,
    timeout REAL,
    keep REAL,
    key TEXT,
    scope TEXT,
    traceparent TEXT,
    label TEXT,
    requested_by TEXT,
    attachment TEXT,
    result TEXT,
    reason TEXT,
    cancel_at INTEGER,
    cancel_by TEXT,
    deleted_at INTEGER,
    CHECK (state IN ('scheduled', 'ready', 'running', 'completed', 'skipped', 'cancelled', 'dead')),
    CHECK ((finished_at IS NOT NULL) = (state IN ('completed', 'skipped', 'cancelled', 'dead'))),
    CHECK ((worker IS NOT NULL) = (state = 'running'))
) STRICT;

CREATE INDEX remit_job_ready ON remit_job (line, priority, lane, run_at, id) WHERE state = 'ready';
CREATE INDEX remit_job_suspect ON remit_job (line, priority) WHERE state = 'ready' AND suspect > 0;
CREATE INDEX remit_job_scheduled ON remit_job (run_at) WHERE state = 'scheduled';
CREATE INDEX remit_job_running ON remit_job (worker) WHERE state = 'running';
CREATE INDEX remit_job_final ON remit_job (queue, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX remit_job_set_aside ON remit_job (id) WHERE state IN ('skipped', 'cancelled', 'dead');
-- Jobs under ids of the caller's own, which hold no time; lists show them by the time of their sending.
CREATE INDEX remit_job_own_id ON remit_job (created_at, id)
WHERE id < '01800000' OR id >= '02000000' OR substr(id, 15, 1) <> '7';
CREATE INDEX remit_job_kept ON remit_job (finished_at) WHERE finished_at IS NOT NULL AND keep IS NOT NULL;

CREATE TABLE remit_failure (
    job TEXT NOT NULL REFERENCES remit_job (id) ON DELETE CASCADE,
    token INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    failed_at INTEGER NOT NULL,
    worker TEXT,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    traceback TEXT,
    PRIMARY KEY (job, token)
) STRICT, WITHOUT ROWID;
CREATE INDEX remit_failure_failed_at ON remit_failure (failed_at);

CREATE TABLE remit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL REFERENCES remit_job (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    logged_at INTEGER NOT NULL,
    level INTEGER NOT NULL,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX remit_log_job ON remit_log (job, id);

-- A lost lease is refused in the server: the caller's transaction is rolled back, whatever the caller catches.
CREATE TABLE remit_lease_lost (job TEXT NOT NULL) STRICT;
CREATE TRIGGER remit_lease_lost_refuse BEFORE INSERT ON remit_lease_lost
BEGIN
    SELECT RAISE(ROLLBACK, 'remit: lease lost');
END;
