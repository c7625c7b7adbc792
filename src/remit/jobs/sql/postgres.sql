-- Jobs on PostgreSQL. States are literals, so that the partial indexes are used. Rows are taken with SKIP LOCKED in a
-- MATERIALIZED CTE: a plain sub-select may be run again, and re-checks only the id after it waited for a lock.
--
-- What runs on a caller's handle (enqueue, finish, probe, refuse) takes documents and ids as text: asyncpg encodes a
-- parameter by its type, and the caller may have set a codec of his own for json or uuid.

-- name: store
SELECT store::text FROM remit.meta;

-- name: enqueue
-- Takes no lock that another enqueue can wait for. The bell is rung only while a worker sleeps (see db/postgres/bell.py):
-- NOTIFY takes one lock for the whole database at commit. No row comes back from a store that is not ours.
WITH here AS MATERIALIZED (
    SELECT remit.clock(:now::bigint) AS now FROM remit.meta WHERE store = :store::text::uuid
),
sent AS (
    INSERT INTO remit.job (
        id, line, lane, state, run_at, created_at, expires_at, version, priority, attempts, domain, queue, name,
        encoding, payload, backoff, timeout, keep, correlation, causation, hops, scope, traceparent, label,
        requested_by, attachment
    )
    SELECT
        id, line, coalesce(lane, 0), CASE WHEN due.at <= here.now THEN 'ready' ELSE 'scheduled' END, due.at, here.now,
        coalesce(
            'epoch'::timestamptz + expires_at * interval '1 microsecond',
            greatest(due.at, here.now) + expires * interval '1 second'
        ),
        version, coalesce(priority, 0), attempts, domain, queue, name,
        encoding, payload, backoff, timeout, keep, correlation, causation, hops, scope, traceparent, label,
        requested_by, attachment
    FROM here
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
            here.now + coalesce(job.delay, 0) * interval '1 second'
        )
    ) AS due (at)
    ON CONFLICT (id) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM sent), CASE WHEN :ring::boolean AND NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
    THEN pg_notify(:channel::text, 'jobs') END IS NOT NULL
FROM here;

-- name: enqueue_one
-- The same for one job, in plain parameters: no JSON, and hardly any planning. No row comes back where the id is there
-- already, either; `stored` tells the two apart.
WITH here AS MATERIALIZED (
    SELECT remit.clock(:now::bigint) AS now FROM remit.meta WHERE store = :store::text::uuid
)
INSERT INTO remit.job (
    id, line, lane, state, run_at, created_at, expires_at, version, priority, attempts, domain, queue, name,
    encoding, payload, backoff, timeout, keep, correlation, causation, hops, scope, traceparent, label, requested_by,
    attachment
)
SELECT
    :id::text::uuid, :line::bigint, coalesce(:lane::bigint, 0),
    CASE WHEN due.at <= here.now THEN 'ready' ELSE 'scheduled' END, due.at, here.now,
    coalesce(
        'epoch'::timestamptz + :expires_at::bigint * interval '1 microsecond',
        greatest(due.at, here.now) + :expires::double precision * interval '1 second'
    ),
    :version::integer, :priority::smallint, :attempts::integer, :domain::text, :queue::text, :name::text,
    :encoding::text, :payload::text, :backoff::text, :timeout::double precision, :keep::double precision,
    :correlation::text::uuid, :causation::text::uuid, :hops::smallint, :scope::text, :traceparent::text, :label::text,
    :requested_by::text, :attachment::text
FROM here
CROSS JOIN LATERAL (
    SELECT coalesce(
        'epoch'::timestamptz + :run_at::bigint * interval '1 microsecond',
        here.now + coalesce(:delay::double precision, 0) * interval '1 second'
    )
) AS due (at)
ON CONFLICT (id) DO NOTHING
RETURNING CASE WHEN :ring::boolean AND NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
    THEN pg_notify(:channel::text, 'jobs') END IS NOT NULL;

-- name: stored
-- The jobs that have some ids already. One row at the least, and none from a store that is not the one that is meant.
SELECT job.id::text, job.name, job.payload
FROM remit.meta
LEFT JOIN remit.job ON job.id = ANY (ARRAY(SELECT value::uuid FROM json_array_elements_text(:ids::text::json) AS id (value)))
WHERE store = coalesce(:store::text::uuid, store);

-- name: stored_events
-- The same of events.
SELECT event.id::text, event.name, event.payload
FROM remit.meta
LEFT JOIN remit.event
    ON event.id = ANY (ARRAY(SELECT value::uuid FROM json_array_elements_text(:ids::text::json) AS id (value)))
WHERE store = coalesce(:store::text::uuid, store);

-- name: heads
-- The best ready priority of each line that is not held: one index probe a line, no lock. Who may not take suspects
-- looks past them.
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

-- name: lines
-- Every line that has ready jobs: a skip scan, one probe a line.
WITH RECURSIVE ready (line) AS (
    (SELECT line FROM remit.job WHERE state = 'ready' ORDER BY line LIMIT 1)
    UNION ALL
    SELECT (SELECT job.line FROM remit.job WHERE state = 'ready' AND job.line > ready.line ORDER BY job.line LIMIT 1)
    FROM ready WHERE ready.line IS NOT NULL
)
SELECT ready.line, head.queue, head.name, head.version
FROM ready CROSS JOIN LATERAL (
    SELECT queue, name, version FROM remit.job
    WHERE state = 'ready' AND job.line = ready.line ORDER BY priority, lane, run_at, id LIMIT 1
) AS head
WHERE ready.line IS NOT NULL;

-- name: promote
-- Every worker's: a stalled leader must not delay retries. A promoted job gets a new position.
WITH clock AS MATERIALIZED (SELECT remit.clock(:now::bigint) AS now),
due AS MATERIALIZED (
    SELECT id FROM remit.job
    WHERE state = 'scheduled' AND run_at <= (SELECT now FROM clock)
    ORDER BY run_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
),
promoted AS (
    UPDATE remit.job SET state = 'ready', run_at = clock.now FROM due, clock WHERE job.id = due.id RETURNING job.id
)
SELECT
    (SELECT count(*) FROM promoted),
    (
        SELECT extract(epoch FROM min(run_at) - (SELECT now FROM clock))::double precision FROM remit.job
        WHERE state = 'scheduled' AND run_at > (SELECT now FROM clock)
    ),
    CASE WHEN EXISTS (SELECT FROM promoted) AND NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
        THEN pg_notify(:channel::text, 'jobs') END IS NOT NULL;

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

-- name: log
INSERT INTO remit.log (job, attempt, logged_at, level, message)
SELECT line.job, line.attempt, 'epoch'::timestamptz + line.logged_at * interval '1 microsecond', line.level, line.message
FROM json_to_recordset(:lines::json) AS line (job uuid, attempt integer, logged_at bigint, level smallint, message text)
WHERE EXISTS (SELECT FROM remit.job WHERE job.id = line.job FOR KEY SHARE);

-- name: get
SELECT
    id::text, state, domain, queue, name, version, priority, failures, attempts, suspect > 0, timeout,
    remit.micros(created_at), remit.micros(run_at), remit.micros(claimed_at), remit.micros(finished_at),
    remit.micros(expires_at), remit.micros(cancel_at), cancel_by, remit.micros(deleted_at), worker::text,
    encoding, coalesce(payload, (SELECT event.payload FROM remit.event WHERE event.id = job.event_id)), result, reason,
    label, requested_by, attachment, correlation::text, causation::text, event_id::text,
    CASE WHEN failures > 0 THEN (
        SELECT kind || ': ' || message FROM remit.failure WHERE failure.job = job.id
        ORDER BY failed_at DESC, attempt DESC LIMIT 1
    ) END
FROM remit.job WHERE id = :id::uuid;

-- name: list
-- Newest first, in two streams, each paged by its own key. Ids that remit makes hold their time: those jobs come by id,
-- from the primary key. Jobs under ids of the caller's own come by (created_at, id), from an index that holds them alone.
WITH job AS NOT MATERIALIZED (
    SELECT * FROM remit.job
    WHERE (:state::text IS NULL OR state = :state::text)
        AND (:domain::text IS NULL OR domain = :domain::text)
        AND (:queue::text IS NULL OR queue = :queue::text)
        AND (:names::text IS NULL OR name IN (SELECT json_array_elements_text(:names::json)))
        AND (:label::text IS NULL OR label = :label::text)
        AND (:reason::text IS NULL OR strpos(reason, :reason::text) > 0)
        AND (:requested_by::text IS NULL OR :requested_by::text IN (SELECT value FROM json_each_text(requested_by::json)))
        AND (:correlation::uuid IS NULL OR correlation = :correlation::uuid OR id = :correlation::uuid)
        AND (:scope::json IS NULL OR NOT EXISTS (
            SELECT FROM json_each(:scope::json) AS asked
            WHERE (scope::json -> asked.key)::text IS DISTINCT FROM asked.value::text
        ))
        AND (:since::bigint IS NULL OR created_at >= 'epoch'::timestamptz + :since::bigint * interval '1 microsecond')
        AND (:until::bigint IS NULL OR created_at < 'epoch'::timestamptz + :until::bigint * interval '1 microsecond')
        AND (:ended_before::bigint IS NULL
            OR finished_at <= 'epoch'::timestamptz + :ended_before::bigint * interval '1 microsecond')
        AND (NOT :failing::boolean OR failures > 0 AND finished_at IS NULL)
        AND (:deleted::boolean OR deleted_at IS NULL)
),
page AS (
    (
        SELECT * FROM job
        WHERE id >= '01800000-0000-0000-0000-000000000000' AND id < :after::uuid AND get_byte(uuid_send(id), 6) >> 4 = 7
        ORDER BY id DESC
        LIMIT :limit::integer
    )
    UNION ALL
    (
        SELECT * FROM job
        WHERE (
            id < '01800000-0000-0000-0000-000000000000' OR id >= '02000000-0000-0000-0000-000000000000'
            OR get_byte(uuid_send(id), 6) >> 4 <> 7
        )
            AND (created_at, id)
                < ('epoch'::timestamptz + :own_at::bigint * interval '1 microsecond', :own_after::uuid)
        ORDER BY created_at DESC, id DESC
        LIMIT :limit::integer
    )
)
SELECT
    id::text, state, domain, queue, name, version, priority, failures, attempts, suspect > 0, timeout,
    remit.micros(created_at), remit.micros(run_at), remit.micros(claimed_at), remit.micros(finished_at),
    remit.micros(expires_at), remit.micros(cancel_at), cancel_by, remit.micros(deleted_at), worker::text,
    encoding, coalesce(payload, (SELECT event.payload FROM remit.event WHERE event.id = job.event_id)), result, reason,
    label, requested_by, attachment, correlation::text, causation::text, event_id::text,
    CASE WHEN failures > 0 THEN (
        SELECT kind || ': ' || message FROM remit.failure WHERE failure.job = job.id
        ORDER BY failed_at DESC, attempt DESC LIMIT 1
    ) END
FROM page AS job;

-- name: matching
-- The ids of jobs that match a filter, a page at a time, in the order of the ids.
SELECT id::text FROM (
    SELECT id FROM remit.job
    WHERE (NOT :set_aside::boolean OR state IN ('skipped', 'cancelled', 'dead'))
        AND (:state::text IS NULL OR state = :state::text)
        AND (:domain::text IS NULL OR domain = :domain::text)
        AND (:queue::text IS NULL OR queue = :queue::text)
        AND (:names::text IS NULL OR name IN (SELECT json_array_elements_text(:names::json)))
        AND (:label::text IS NULL OR label = :label::text)
        AND (:reason::text IS NULL OR strpos(reason, :reason::text) > 0)
        AND (:requested_by::text IS NULL OR :requested_by::text IN (SELECT value FROM json_each_text(requested_by::json)))
        AND (:correlation::uuid IS NULL OR correlation = :correlation::uuid OR id = :correlation::uuid)
        AND (:scope::json IS NULL OR NOT EXISTS (
            SELECT FROM json_each(:scope::json) AS asked
            WHERE (scope::json -> asked.key)::text IS DISTINCT FROM asked.value::text
        ))
        AND (:since::bigint IS NULL OR created_at >= 'epoch'::timestamptz + :since::bigint * interval '1 microsecond')
        AND (:until::bigint IS NULL OR created_at < 'epoch'::timestamptz + :until::bigint * interval '1 microsecond')
        AND (:ended_before::bigint IS NULL
            OR finished_at <= 'epoch'::timestamptz + :ended_before::bigint * interval '1 microsecond')
        AND (NOT :failing::boolean OR failures > 0 AND finished_at IS NULL)
        AND (:deleted::boolean OR deleted_at IS NULL)
        AND (:after::uuid IS NULL OR id > :after::uuid)
    ORDER BY id
    LIMIT :limit::integer
) AS job;

-- name: between
-- Ids within a range: those that begin with some characters. Two are enough to know that there are several.
SELECT id::text FROM remit.job WHERE id >= :low::uuid AND id <= :high::uuid ORDER BY job.id LIMIT 2;

-- name: count
SELECT count(*) FROM (
    SELECT FROM remit.job
    WHERE (NOT :set_aside::boolean OR state IN ('skipped', 'cancelled', 'dead'))
        AND (:state::text IS NULL OR state = :state::text)
        AND (:domain::text IS NULL OR domain = :domain::text)
        AND (:queue::text IS NULL OR queue = :queue::text)
        AND (:names::text IS NULL OR name IN (SELECT json_array_elements_text(:names::json)))
        AND (:label::text IS NULL OR label = :label::text)
        AND (:reason::text IS NULL OR strpos(reason, :reason::text) > 0)
        AND (:requested_by::text IS NULL OR :requested_by::text IN (SELECT value FROM json_each_text(requested_by::json)))
        AND (:correlation::uuid IS NULL OR correlation = :correlation::uuid OR id = :correlation::uuid)
        AND (:scope::json IS NULL OR NOT EXISTS (
            SELECT FROM json_each(:scope::json) AS asked
            WHERE (scope::json -> asked.key)::text IS DISTINCT FROM asked.value::text
        ))
        AND (:since::bigint IS NULL OR created_at >= 'epoch'::timestamptz + :since::bigint * interval '1 microsecond')
        AND (:until::bigint IS NULL OR created_at < 'epoch'::timestamptz + :until::bigint * interval '1 microsecond')
        AND (:ended_before::bigint IS NULL
            OR finished_at <= 'epoch'::timestamptz + :ended_before::bigint * interval '1 microsecond')
        AND (NOT :failing::boolean OR failures > 0 AND finished_at IS NULL)
        AND (:deleted::boolean OR deleted_at IS NULL)
) AS job;

-- name: failures
SELECT attempt, remit.micros(failed_at), worker::text, kind, message, traceback
FROM remit.failure WHERE job = :id::uuid ORDER BY failed_at, attempt;

-- name: logs
SELECT attempt, remit.micros(logged_at), level, message FROM remit.log WHERE job = :id::uuid ORDER BY id;

-- name: cancel
-- A waiting job ends; a running one is asked. The row is locked before its state is read. What a CHECK ties together is
-- set together, here and below, from the locked row: PostgreSQL first tries an UPDATE on the version that its snapshot
-- holds, and that row must be possible too.
WITH job AS MATERIALIZED (SELECT id, state AS was, worker FROM remit.job WHERE id = :id::uuid FOR UPDATE),
done AS (
    UPDATE remit.job AS target
    SET state = CASE WHEN was = 'running' THEN 'running' ELSE 'cancelled' END,
        worker = CASE WHEN was = 'running' THEN job.worker END,
        finished_at = CASE WHEN was = 'running' THEN NULL ELSE remit.clock(:now::bigint) END,
        cancel_at = remit.clock(:now::bigint),
        cancel_by = :by::text,
        reason = :reason::text
    FROM job WHERE target.id = job.id AND was IN ('scheduled', 'ready', 'running')
)
SELECT was FROM job;

-- name: cancel_many
-- The same for many; one that somebody acts on is left to them.
WITH job AS MATERIALIZED (
    SELECT id, state AS was, worker FROM remit.job
    WHERE id = ANY (ARRAY(SELECT value::uuid FROM json_array_elements_text(:ids::json)))
    ORDER BY id
    FOR UPDATE SKIP LOCKED
)
UPDATE remit.job AS target
SET state = CASE WHEN was = 'running' THEN 'running' ELSE 'cancelled' END,
    worker = CASE WHEN was = 'running' THEN job.worker END,
    finished_at = CASE WHEN was = 'running' THEN NULL ELSE remit.clock(:now::bigint) END,
    cancel_at = remit.clock(:now::bigint),
    cancel_by = :by::text,
    reason = :reason::text
FROM job WHERE target.id = job.id AND was IN ('scheduled', 'ready', 'running')
RETURNING target.state;

-- name: retry
-- By hand: a new set of attempts, a new token, no memory of suspicion. A repeated call, after a commit whose reply was
-- lost, finds its own token. The log of the job keeps the person, and the reason that the job had.
WITH job AS MATERIALIZED (
    SELECT id, state AS was, reason AS why, failures AS failed, token = :token::bigint AS again
    FROM remit.job WHERE id = :id::uuid FOR UPDATE
),
done AS (
    UPDATE remit.job AS target
    SET state = 'ready', worker = NULL, run_at = remit.clock(:now::bigint), finished_at = NULL, expires_at = NULL,
        reason = NULL, cancel_at = NULL, cancel_by = NULL, deleted_at = NULL, failures = 0, suspect = 0,
        token = :token::bigint
    FROM job WHERE target.id = job.id AND was IN ('scheduled', 'dead', 'cancelled', 'skipped')
    RETURNING target.id, was, why, failed
),
logged AS (
    INSERT INTO remit.log (job, attempt, logged_at, level, message)
    SELECT id, failed, remit.clock(:now::bigint), 20,
        'retried' || coalesce(' by ' || :by::text, '') || ', was ' || was || coalesce(': ' || why, '')
    FROM done
)
SELECT was, again, CASE WHEN EXISTS (SELECT FROM done) AND NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
    THEN pg_notify(:channel::text, 'jobs') END IS NOT NULL
FROM job;

-- name: retry_many
-- The same for many, or for those of them alone that are dead letters, undeleted. A row that is locked, because somebody
-- acts on it, is left out.
WITH job AS MATERIALIZED (
    SELECT id, state AS was, reason AS why, failures AS failed FROM remit.job
    WHERE id = ANY (ARRAY(SELECT value::uuid FROM json_array_elements_text(:ids::json)))
        AND state IN ('scheduled', 'dead', 'cancelled', 'skipped')
        AND (NOT :dead_only::boolean OR state = 'dead' AND deleted_at IS NULL)
    ORDER BY id
    FOR UPDATE SKIP LOCKED
),
done AS (
    UPDATE remit.job AS target
    SET state = 'ready', worker = NULL, run_at = remit.clock(:now::bigint), finished_at = NULL, expires_at = NULL,
        reason = NULL, cancel_at = NULL, cancel_by = NULL, deleted_at = NULL, failures = 0, suspect = 0,
        token = :token::bigint
    FROM job WHERE target.id = job.id
    RETURNING target.id, was, why, failed
),
logged AS (
    INSERT INTO remit.log (job, attempt, logged_at, level, message)
    SELECT id, failed, remit.clock(:now::bigint), 20,
        'retried' || coalesce(' by ' || :by::text, '') || ', was ' || was || coalesce(': ' || why, '')
    FROM done
)
SELECT id::text, (SELECT CASE WHEN NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
    THEN pg_notify(:channel::text, 'jobs') END IS NOT NULL)
FROM done ORDER BY id;

-- name: delete
-- Hides an ended job, and ends a waiting one; the pruner removes it with the others of its age.
WITH job AS MATERIALIZED (SELECT id, state AS was, finished_at FROM remit.job WHERE id = :id::uuid FOR UPDATE),
done AS (
    UPDATE remit.job AS target
    SET state = CASE WHEN was IN ('scheduled', 'ready') THEN 'cancelled' ELSE was END,
        worker = NULL,
        finished_at = coalesce(job.finished_at, remit.clock(:now::bigint)),
        reason = CASE WHEN was IN ('scheduled', 'ready') THEN 'deleted' ELSE target.reason END,
        deleted_at = remit.clock(:now::bigint)
    FROM job WHERE target.id = job.id AND was <> 'running'
)
SELECT was FROM job;

-- name: delete_many
-- The same for many. A row that is locked, because somebody acts on it, is left out.
WITH job AS MATERIALIZED (
    SELECT id, state AS was, finished_at FROM remit.job
    WHERE id = ANY (ARRAY(SELECT value::uuid FROM json_array_elements_text(:ids::json))) AND state <> 'running'
        AND deleted_at IS NULL
    ORDER BY id
    FOR UPDATE SKIP LOCKED
)
UPDATE remit.job AS target
SET state = CASE WHEN was IN ('scheduled', 'ready') THEN 'cancelled' ELSE was END,
    worker = NULL,
    finished_at = coalesce(job.finished_at, remit.clock(:now::bigint)),
    reason = CASE WHEN was IN ('scheduled', 'ready') THEN 'deleted' ELSE target.reason END,
    deleted_at = remit.clock(:now::bigint)
FROM job WHERE target.id = job.id
RETURNING target.id::text;

-- name: purge
-- Removes a job that does not run, with its failures and logs.
WITH job AS MATERIALIZED (SELECT id, state AS was FROM remit.job WHERE id = :id::uuid FOR UPDATE),
done AS (DELETE FROM remit.job AS target USING job WHERE target.id = job.id AND was <> 'running')
SELECT was FROM job;

-- name: purge_many
-- The same for many. A row that is locked, because somebody acts on it, is left out.
WITH job AS MATERIALIZED (
    SELECT id FROM remit.job
    WHERE id = ANY (ARRAY(SELECT value::uuid FROM json_array_elements_text(:ids::json))) AND state <> 'running'
    ORDER BY id
    FOR UPDATE SKIP LOCKED
)
DELETE FROM remit.job AS target USING job WHERE target.id = job.id RETURNING target.id::text;

-- name: unfinished
-- Those of some jobs that have not ended, each by its id.
SELECT job.id::text
FROM (SELECT value::uuid AS id FROM jsonb_array_elements_text(:ids::jsonb)) AS asked
CROSS JOIN LATERAL (
    SELECT id FROM remit.job WHERE job.id = asked.id AND job.finished_at IS NULL OFFSET 0
) AS job
ORDER BY job.id;

-- name: final_queues
-- Every queue that has ended jobs: a skip scan.
WITH RECURSIVE ended (queue) AS (
    (SELECT queue FROM remit.job WHERE finished_at IS NOT NULL ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (
        SELECT job.queue FROM remit.job
        WHERE finished_at IS NOT NULL AND job.queue > ended.queue ORDER BY job.queue LIMIT 1
    )
    FROM ended WHERE ended.queue IS NOT NULL
)
SELECT queue FROM ended WHERE queue IS NOT NULL;

-- name: prune
-- One small batch of what is older than its time; state and age are checked again on the locked row. Dead letters have
-- a time of their own, whatever the call said. The clock is read once: no index helps against a volatile function.
WITH clock AS MATERIALIZED (SELECT remit.clock(:now::bigint) AS now),
old AS MATERIALIZED (
    SELECT id FROM remit.job
    WHERE queue = :queue::text AND (state = 'dead') = :dead::boolean AND (state = 'dead' OR keep IS NULL)
        AND finished_at < (SELECT now FROM clock) - :age::double precision * interval '1 second'
    ORDER BY finished_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
)
DELETE FROM remit.job USING old WHERE job.id = old.id RETURNING 1;

-- name: prune_beyond
-- One small batch of what exceeds the count that a queue keeps. A thousand jobs may have ended at one instant.
WITH edge AS MATERIALIZED (
    SELECT finished_at, id FROM remit.job
    WHERE queue = :queue::text AND finished_at IS NOT NULL AND keep IS NULL AND state <> 'dead'
    ORDER BY finished_at DESC, id DESC OFFSET :count::bigint LIMIT 1
),
old AS MATERIALIZED (
    SELECT id FROM remit.job
    WHERE queue = :queue::text AND keep IS NULL AND state <> 'dead' AND finished_at <= (SELECT finished_at FROM edge)
        AND (finished_at < (SELECT finished_at FROM edge) OR id <= (SELECT id FROM edge))
    ORDER BY finished_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
)
DELETE FROM remit.job USING old WHERE job.id = old.id RETURNING 1;

-- name: prune_kept
-- Jobs that were sent with a time of their own.
WITH clock AS MATERIALIZED (SELECT remit.clock(:now::bigint) AS now),
old AS MATERIALIZED (
    SELECT id FROM remit.job
    WHERE finished_at IS NOT NULL AND keep IS NOT NULL AND state <> 'dead'
        AND finished_at < (SELECT now FROM clock) - keep * interval '1 second'
    ORDER BY finished_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
)
DELETE FROM remit.job USING old WHERE job.id = old.id RETURNING 1;

-- name: pause
INSERT INTO remit.queue (name, paused_at, paused_by) VALUES (:queue::text, remit.clock(:now::bigint), :by::text)
ON CONFLICT (name) DO UPDATE SET paused_at = coalesce(queue.paused_at, excluded.paused_at), paused_by = excluded.paused_by
RETURNING name;

-- name: resume
WITH resumed AS (
    UPDATE remit.queue SET paused_at = NULL, paused_by = NULL WHERE name = :queue::text AND paused_at IS NOT NULL
    RETURNING name
)
SELECT name, CASE WHEN NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
    THEN pg_notify(:channel::text, 'jobs') END IS NOT NULL
FROM resumed;

-- name: paused
SELECT name, remit.micros(paused_at), paused_by FROM remit.queue WHERE paused_at IS NOT NULL ORDER BY name;

-- name: waiting
-- What has not ended, by queue and state: how many, of these after a failed attempt, and the age of the oldest in seconds.
SELECT queue, state, count(*), count(*) FILTER (WHERE failures > 0),
    extract(epoch FROM remit.clock(:now::bigint) - min(run_at))::double precision
FROM remit.job WHERE state = 'ready' GROUP BY queue, state
UNION ALL
SELECT queue, state, count(*), count(*) FILTER (WHERE failures > 0), NULL
FROM remit.job WHERE state = 'scheduled' GROUP BY queue, state
UNION ALL
SELECT queue, state, count(*), count(*) FILTER (WHERE failures > 0),
    extract(epoch FROM remit.clock(:now::bigint) - min(claimed_at))::double precision
FROM remit.job WHERE state = 'running' GROUP BY queue, state;

-- name: ended
-- What ended within the last so many seconds, by queue and state.
WITH RECURSIVE final (queue) AS (
    (SELECT queue FROM remit.job WHERE finished_at IS NOT NULL ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (
        SELECT job.queue FROM remit.job
        WHERE finished_at IS NOT NULL AND job.queue > final.queue ORDER BY job.queue LIMIT 1
    )
    FROM final WHERE final.queue IS NOT NULL
),
clock AS MATERIALIZED (SELECT remit.clock(:now::bigint) AS now)
SELECT final.queue, recent.state, recent.count
FROM final CROSS JOIN LATERAL (
    SELECT state, count(*) AS count FROM remit.job
    WHERE job.queue = final.queue
        AND finished_at > (SELECT now FROM clock) - :seconds::double precision * interval '1 second'
    GROUP BY state
) AS recent;

-- name: dead
-- Dead letters that wait for a person, by queue.
SELECT queue, count(*) FROM remit.job WHERE state = 'dead' AND deleted_at IS NULL GROUP BY queue;

-- name: failed_attempts
-- Attempts that failed within the last so many seconds, by queue.
SELECT job.queue, count(*)
FROM remit.failure CROSS JOIN LATERAL (
    SELECT queue FROM remit.job WHERE job.id = failure.job OFFSET 0
) AS job
WHERE failed_at > (SELECT remit.clock(:now::bigint)) - :seconds::double precision * interval '1 second'
GROUP BY job.queue;
