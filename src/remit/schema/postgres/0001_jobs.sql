-- The foundation: jobs, their failures and logs, queues, workers, leadership.

CREATE TABLE remit.meta (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    store uuid NOT NULL DEFAULT gen_random_uuid()  -- an enqueue on a caller's transaction must find this very store
);
INSERT INTO remit.meta DEFAULT VALUES;

-- The database's clock; tests pass microseconds of a virtual one. now() stands still inside a transaction.
CREATE FUNCTION remit.clock(micros bigint) RETURNS timestamptz LANGUAGE sql VOLATILE
RETURN coalesce('epoch'::timestamptz + micros * interval '1 microsecond', clock_timestamp());

CREATE FUNCTION remit.micros(moment timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE
RETURN (extract(epoch FROM moment) * 1000000)::bigint;

-- Fails in the server, so that a caller who swallows the error still cannot commit what a lost lease had no right to.
-- Inside a savepoint an error is not enough: rolled back to it, the transaction lives on. A row written here bears the
-- id of the subtransaction then, and the session is ended.
CREATE TABLE remit.lost_lease (job uuid NOT NULL);
CREATE FUNCTION remit.lease_lost(job uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    written xid;
BEGIN
    INSERT INTO remit.lost_lease VALUES (lease_lost.job) RETURNING xmin INTO written;
    IF written <> pg_current_xact_id()::xid THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RAISE EXCEPTION 'remit: lease lost on job %', job USING ERRCODE = 'RM001';
END
$$;

CREATE TABLE remit.worker (
    id uuid PRIMARY KEY,
    beat bigint NOT NULL DEFAULT 0,     -- a counter: observers judge by its moving, on their own clock
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,       -- for people only
    host text NOT NULL,
    pid integer NOT NULL,
    about text NOT NULL,                -- JSON: version, queues, slots, what it knows
    health text NOT NULL DEFAULT '{}'   -- JSON: what it says about itself
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE remit.leader (
    role text PRIMARY KEY,
    holder uuid NOT NULL,
    elected_at timestamptz NOT NULL,    -- with the holder, the term
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE remit.queue (
    name text PRIMARY KEY,
    paused_at timestamptz,
    paused_by text
);

CREATE TABLE remit.job (
    id uuid PRIMARY KEY,                -- UUIDv7, made by the client
    line bigint NOT NULL,               -- hash of (queue, name, version): what may hold the job back
    lane bigint NOT NULL DEFAULT 0,     -- hash of its keys within the line
    run_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    token bigint NOT NULL DEFAULT 0,    -- proof of a claim: moved whenever a job is given to a worker or taken from it
    worker uuid,                        -- no foreign key: a beat and a claim must not wait for each other
    claimed_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz,
    event_id uuid,                      -- a delivery refers to its event and holds no payload
    correlation uuid,
    causation uuid,
    version integer NOT NULL,
    priority smallint NOT NULL DEFAULT 0,
    hops smallint,                      -- events in the chain of its causes; NULL: none
    failures integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL CHECK (attempts > 0),
    suspect smallint NOT NULL DEFAULT 0,  -- 1: was running when its worker died; 2: as such, it has started again
    state text NOT NULL,
    domain text NOT NULL,
    queue text NOT NULL,
    name text NOT NULL,
    encoding text NOT NULL,
    payload text,
    backoff text,
    timeout double precision,           -- seconds that a run may take; NULL: what the code that runs says
    keep double precision,              -- seconds to keep it when it has ended; NULL: the queue's policy
    key text,
    scope text,
    traceparent text,
    label text,
    requested_by text,
    attachment text,
    result text,
    reason text,
    cancel_at timestamptz,              -- a running job was asked to stop
    cancel_by text,
    deleted_at timestamptz,
    CHECK (state IN ('scheduled', 'ready', 'running', 'completed', 'skipped', 'cancelled', 'dead')),
    CHECK ((finished_at IS NOT NULL) = (state IN ('completed', 'skipped', 'cancelled', 'dead'))),
    CHECK ((worker IS NOT NULL) = (state = 'running'))
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off
);

CREATE INDEX job_ready ON remit.job (line, priority, lane, run_at, id) WHERE state = 'ready';
CREATE INDEX job_suspect ON remit.job (line, priority) WHERE state = 'ready' AND suspect > 0;
CREATE INDEX job_scheduled ON remit.job (run_at) WHERE state = 'scheduled';
CREATE INDEX job_running ON remit.job (worker) WHERE state = 'running';
CREATE INDEX job_final ON remit.job (queue, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX job_set_aside ON remit.job (id) WHERE state IN ('skipped', 'cancelled', 'dead');
-- Jobs under ids of the caller's own, which hold no time; lists show them by the time of their sending.
CREATE INDEX job_own_id ON remit.job (created_at, id) WHERE
    id < '01800000-0000-0000-0000-000000000000' OR id >= '02000000-0000-0000-0000-000000000000'
    OR get_byte(uuid_send(id), 6) >> 4 <> 7;
CREATE INDEX job_kept ON remit.job (finished_at) WHERE finished_at IS NOT NULL AND keep IS NOT NULL;

CREATE TABLE remit.failure (
    job uuid NOT NULL REFERENCES remit.job ON DELETE CASCADE,
    token bigint NOT NULL,              -- of the run that failed
    attempt integer NOT NULL,
    failed_at timestamptz NOT NULL,
    worker uuid,
    kind text NOT NULL,
    message text NOT NULL,
    traceback text,
    PRIMARY KEY (job, token)
);
CREATE INDEX failure_failed_at ON remit.failure (failed_at);

CREATE TABLE remit.log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job uuid NOT NULL REFERENCES remit.job ON DELETE CASCADE,
    attempt integer NOT NULL,
    logged_at timestamptz NOT NULL,
    level smallint NOT NULL,
    message text NOT NULL
);
CREATE INDEX log_job ON remit.log (job, id);
