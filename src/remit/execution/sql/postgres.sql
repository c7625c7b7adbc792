-- The execution of jobs on PostgreSQL: statements that join jobs with workers, events and queues. States are literals, so
-- that the partial indexes are used. Rows are taken with SKIP LOCKED in a MATERIALIZED CTE: a plain sub-select may be run
-- again, and re-checks only the id after it waited for a lock.
--
-- What runs on a caller's handle (finish, probe, refuse) takes documents and ids as text: asyncpg encodes a parameter by
-- its type, and the caller may have set a codec of his own for json or uuid.

-- name: heads
-- The best ready priority of each line that is not held: one index probe a line, no lock. Without `suspects`
-- it goes past those.
SELECT line.line, head.priority
FROM json_to_recordset(:lines::json) AS line (line bigint, queue text)
CROSS JOIN LATERAL (
    SELECT priority FROM remit.job
    WHERE state = 'ready' AND job.line = line.line AND (suspect = 0 OR :suspects::boolean)
    ORDER BY priority
    LIMIT 1
) AS head
WHERE NOT EXISTS (SELECT FROM remit.queue WHERE name = line.queue AND paused_at IS NOT NULL);

-- name: claim
-- Takes the heads of each line that is not held, in order. A worker whose row is gone claims nothing: the sweeper that
-- deletes the row waits for this share lock, and finds what was claimed. What has expired ends here, without
-- a run.
--
-- Of all suspects it takes one at most, the first, where `suspects` allows it, and goes past the others. That one is
-- locked before it is known whether it lies within a quota. If it does not, another worker may have gone past it
-- meanwhile, so this statement rings.
WITH alive AS MATERIALIZED (
    SELECT id, remit.clock(:now::bigint) AS now FROM remit.worker WHERE id = :worker::uuid FOR KEY SHARE
),
line AS MATERIALIZED (
    SELECT line.* FROM alive, json_to_recordset(:lines::json) AS line (
        line bigint, queue text, quota integer, ceiling smallint
    )
    WHERE NOT EXISTS (SELECT FROM remit.queue WHERE name = line.queue AND paused_at IS NOT NULL)
),
suspect AS MATERIALIZED (
    SELECT job.id FROM line JOIN remit.job ON job.line = line.line AND job.priority <= line.ceiling
    WHERE :suspects::boolean AND job.state = 'ready' AND job.suspect > 0
    ORDER BY job.priority, job.lane, job.run_at, job.id
    LIMIT 1
    FOR UPDATE OF job SKIP LOCKED
),
head AS MATERIALIZED (
    SELECT ready.id FROM line CROSS JOIN LATERAL (
        SELECT id FROM remit.job
        WHERE state = 'ready' AND job.line = line.line AND priority <= line.ceiling
            AND (suspect = 0 OR id = (SELECT id FROM suspect))
        ORDER BY priority, lane, run_at, id
        LIMIT line.quota
        FOR UPDATE SKIP LOCKED
    ) AS ready
),
claimed AS (
    UPDATE remit.job
    SET state = CASE WHEN job.expires_at <= alive.now THEN 'cancelled' ELSE 'running' END,
        worker = CASE WHEN job.expires_at <= alive.now THEN NULL ELSE alive.id END,
        finished_at = CASE WHEN job.expires_at <= alive.now THEN alive.now END,
        reason = CASE WHEN job.expires_at <= alive.now THEN 'expired before its first run' END,
        token = :token::bigint,
        claimed_at = alive.now
    FROM alive
    WHERE job.id = ANY (ARRAY(SELECT id FROM head))  -- by the index, also where a join was planned on an empty table
    RETURNING job.*
)
SELECT
    claimed.id::text, claimed.state, claimed.line, claimed.failures, claimed.attempts, claimed.suspect, claimed.encoding,
    coalesce(claimed.payload, event.payload), claimed.backoff, coalesce(claimed.correlation, claimed.id)::text,
    claimed.name, claimed.traceparent,
    CASE WHEN event.id IS NOT NULL THEN json_build_array(
        event.id, event.name, event.version, event.domain, remit.micros(event.occurred_at),
        remit.micros(event.published_at), event.scope, event.correlation, event.causation, event.traceparent,
        claimed.subscription, event.lane
    )::text END,
    claimed.priority, claimed.lane, remit.micros(claimed.run_at), claimed.timeout, claimed.hops, (
        SELECT CASE WHEN NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
            THEN pg_notify(:channel::text, 'jobs') END IS NOT NULL
        FROM suspect WHERE id NOT IN (SELECT id FROM head)
    )
FROM claimed LEFT JOIN LATERAL (
    SELECT * FROM remit.event WHERE event.id = claimed.event_id OFFSET 0
) AS event ON true;

-- name: finish
-- Compare-and-set on the token alone: with the state in the predicate the planner goes through the index of running
-- rows, whose dead entries pile up. What waits again although its cancellation was asked for is cancelled instead. An
-- expiry bounds the start of the first run: what has run waits without one.
-- Messages of a run are sent if, and only if, its outcome landed. A death is an event (see catalog/builtin.py), except
-- that of a delivery of such an event.
WITH clock AS MATERIALIZED (SELECT remit.clock(:now::bigint) AS now),
outcome AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:outcomes::text::json) AS outcome (
        id uuid, token bigint, attempt integer, state text, failures integer, delay double precision, result text,
        reason text, began boolean, kind text, message text, traceback text
    )
),
landed AS (
    UPDATE remit.job
    SET state = CASE WHEN job.cancel_at IS NOT NULL AND outcome.delay IS NOT NULL THEN 'cancelled'
            ELSE outcome.state END,
        finished_at = CASE WHEN job.cancel_at IS NOT NULL OR outcome.delay IS NULL THEN clock.now END,
        reason = CASE WHEN job.cancel_at IS NOT NULL AND (outcome.delay IS NOT NULL OR outcome.state = 'cancelled')
            THEN coalesce(job.reason, outcome.reason) ELSE outcome.reason END,
        run_at = CASE WHEN outcome.state = 'scheduled' THEN clock.now + outcome.delay * interval '1 second'
            ELSE job.run_at END,
        expires_at = CASE WHEN outcome.state = 'scheduled' OR outcome.began THEN NULL ELSE job.expires_at END,
        failures = outcome.failures,
        result = outcome.result,
        suspect = CASE WHEN outcome.state = 'ready' THEN least(job.suspect, 1) ELSE 0 END,
        worker = NULL,
        token = :stamp::bigint
    FROM outcome, clock
    WHERE job.id = outcome.id AND job.token = outcome.token
    RETURNING
        job.id, job.state, outcome.token, outcome.attempt, outcome.kind, outcome.message, outcome.traceback, clock.now,
        job.name, job.domain, job.queue, job.attempts, job.failures, job.reason, job.event_id, job.correlation,
        job.hops, job.label, job.payload
),
failed AS (
    INSERT INTO remit.failure (job, token, attempt, failed_at, worker, kind, message, traceback)
    SELECT id, token, attempt, now, :worker::text::uuid, kind, message, traceback FROM landed WHERE kind IS NOT NULL
),
sent AS (
    INSERT INTO remit.job (
        id, line, lane, state, run_at, created_at, expires_at, version, priority, attempts, domain, queue, name,
        encoding, payload, backoff, timeout, keep, correlation, causation, hops, scope, traceparent, label,
        requested_by, attachment
    )
    SELECT
        job.id, line, coalesce(lane, 0), CASE WHEN due.at <= clock.now THEN 'ready' ELSE 'scheduled' END, due.at,
        clock.now,
        coalesce(
            'epoch'::timestamptz + expires_at * interval '1 microsecond',
            greatest(due.at, clock.now) + expires * interval '1 second'
        ),
        version, coalesce(priority, 0), attempts, domain, queue, name,
        encoding, payload, backoff, timeout, keep, correlation, causation, hops, scope, traceparent, label,
        requested_by, attachment
    FROM clock
    CROSS JOIN json_to_recordset(:jobs::text::json) AS job (
        id uuid, line bigint, lane bigint, run_at bigint, delay double precision, expires_at bigint,
        expires double precision, version integer, priority smallint, attempts integer, domain text, queue text,
        name text, encoding text, payload text, backoff text, timeout double precision, keep double precision,
        correlation uuid, causation uuid, hops smallint, scope text, traceparent text, label text, requested_by text,
        attachment text
    )
    CROSS JOIN LATERAL (
        SELECT coalesce(
            'epoch'::timestamptz + job.run_at * interval '1 microsecond',
            clock.now + coalesce(job.delay, 0) * interval '1 second'
        )
    ) AS due (at)
    WHERE (job.causation IN (SELECT id FROM landed)) IS TRUE  -- a hashed lookup: a join here would be a nested loop
    ON CONFLICT (id) DO NOTHING
),
turns AS MATERIALIZED (
    SELECT count(pg_advisory_xact_lock(lane.lane::bigint)) AS taken
    FROM json_array_elements_text(:lanes::text::json) AS lane (lane)
),
published AS (
    INSERT INTO remit.event (
        id, lane, due_at, published_at, occurred_at, correlation, causation, hops, version, domain, name, encoding,
        payload, keep, scope, traceparent
    )
    SELECT
        id, lane, clock.now, clock.now,
        coalesce('epoch'::timestamptz + occurred_at * interval '1 microsecond', clock.now),
        correlation, causation, hops, version, domain, name, encoding, payload, keep, scope, traceparent
    FROM clock
    CROSS JOIN turns
    CROSS JOIN json_to_recordset(:events::text::json) AS event (
        id uuid, lane bigint, occurred_at bigint, correlation uuid, causation uuid, hops smallint, version integer,
        domain text, name text, encoding text, payload text, keep double precision, scope text, traceparent text
    )
    WHERE turns.taken >= 0 AND (event.causation IN (SELECT id FROM landed)) IS TRUE
    ON CONFLICT (id) DO NOTHING
),
died AS (
    INSERT INTO remit.event (
        id, due_at, published_at, occurred_at, correlation, causation, hops, version, domain, name, encoding, payload
    )
    SELECT
        remit.new_id(now), now, now, now, correlation, landed.id, least(coalesce(hops, 0) + 1, 32000), 1, 'remit',
        'remit.job-died', 'json', json_build_object(
            'job', landed.id, 'name', name, 'domain', domain, 'queue', queue, 'attempts', attempts, 'failures', failures,
            'reason', coalesce(reason, ''), 'event', event_id, 'label', label, 'payload', payload
        )::text
    FROM landed
    WHERE state = 'dead' AND NOT EXISTS (
        SELECT FROM remit.event AS cause WHERE cause.id = landed.event_id AND cause.name = 'remit.job-died'
    )
)
SELECT id::text, state, (
    SELECT CASE WHEN :ring::boolean AND NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
        THEN pg_notify(:channel::text, '') END IS NOT NULL
)
FROM landed;

-- name: refuse
-- Aborts the caller's transaction in the server.
SELECT remit.lease_lost(:job::text::uuid);

-- name: probe
-- What became of a completion in a caller's transaction: its token; no token while the row is locked.
SELECT job.id::text, free.token
FROM remit.job
LEFT JOIN LATERAL (
    SELECT token FROM remit.job AS same WHERE same.id = job.id FOR NO KEY UPDATE SKIP LOCKED
) AS free ON true
WHERE job.id = :id::text::uuid;

-- name: start_suspect
-- Written before the handler of a suspect: only the crash of a started one is charged.
UPDATE remit.job SET suspect = 2 WHERE id = :id::uuid AND token = :token::bigint RETURNING id::text;

-- name: held
-- What the database says that a worker holds.
SELECT id::text, token, failures, cancel_at IS NOT NULL FROM remit.job WHERE state = 'running' AND worker = :worker::uuid;

-- name: rescue
-- Rows of workers that are registered no more. A first rescue charges nobody and makes suspects; the crash of a suspect
-- that had started is charged. A rescued job may have run, so it expires no more. A row that a caller's transaction pins is
-- left to the next sweep.
WITH clock AS MATERIALIZED (SELECT remit.clock(:now::bigint) AS now),
lost AS MATERIALIZED (
    SELECT id, token AS lost_token, worker AS lost_worker, suspect = 2 AS crashed, failures + (suspect = 2)::int AS charged
    FROM remit.job
    WHERE state = 'running' AND NOT EXISTS (SELECT FROM remit.worker WHERE worker.id = job.worker)
    ORDER BY id
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
),
rescued AS (
    UPDATE remit.job
    SET state = CASE WHEN cancel_at IS NOT NULL THEN 'cancelled' WHEN crashed AND charged >= attempts THEN 'dead'
            ELSE 'ready' END,
        finished_at = CASE WHEN cancel_at IS NOT NULL OR crashed AND charged >= attempts THEN clock.now END,
        reason = CASE WHEN cancel_at IS NULL AND crashed AND charged >= attempts
            THEN 'killed its worker in ' || charged || ' of ' || attempts || ' attempts' ELSE reason END,
        expires_at = NULL,
        failures = charged,
        suspect = 1,
        worker = NULL,
        token = :token::bigint
    FROM lost, clock
    WHERE job.id = lost.id
    RETURNING
        job.id, job.state, lost_token, lost_worker, crashed, charged, job.name, job.domain, job.queue, job.attempts,
        job.failures, job.reason, job.event_id, job.correlation, job.hops, job.label, job.payload
),
failed AS (
    INSERT INTO remit.failure (job, token, attempt, failed_at, worker, kind, message)
    SELECT id, lost_token, charged, clock.now, lost_worker, 'WorkerDied', 'the worker died while it ran this job'
    FROM rescued, clock WHERE crashed
),
died AS (
    INSERT INTO remit.event (
        id, due_at, published_at, occurred_at, correlation, causation, hops, version, domain, name, encoding, payload
    )
    SELECT
        remit.new_id(now), now, now, now, correlation, rescued.id, least(coalesce(hops, 0) + 1, 32000), 1, 'remit',
        'remit.job-died', 'json', json_build_object(
            'job', rescued.id, 'name', name, 'domain', domain, 'queue', queue, 'attempts', attempts, 'failures', failures,
            'reason', coalesce(reason, ''), 'event', event_id, 'label', label, 'payload', payload
        )::text
    FROM rescued, clock
    WHERE state = 'dead' AND NOT EXISTS (
        SELECT FROM remit.event AS cause WHERE cause.id = rescued.event_id AND cause.name = 'remit.job-died'
    )
)
SELECT id::text, state, crashed, name, lost_worker::text,
    (SELECT CASE WHEN NOT pg_try_advisory_xact_lock_shared(:gate::bigint) THEN pg_notify(:channel::text, '') END IS NOT NULL)
FROM rescued;
