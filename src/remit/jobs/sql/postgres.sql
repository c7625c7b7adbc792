-- Jobs on PostgreSQL. States are literals, so that the partial indexes are used. Rows are taken with SKIP LOCKED in a
-- MATERIALIZED CTE: a plain sub-select may be run again, and re-checks only the id after it waited for a lock.
--
-- What runs on a caller's handle (enqueue, finish, probe, refuse) takes documents and ids as text: asyncpg encodes a
-- parameter by its type, and the caller may have set a codec of his own for json or uuid.

-- name: store
SELECT store::text FROM remit.meta;

-- name: enqueue
-- Takes no lock that another enqueue can wait for. Workers are notified only while a worker sleeps (see db/postgres/wakeup.py):
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

-- name: log
INSERT INTO remit.log (job, attempt, logged_at, level, message)
SELECT line.job, line.attempt, 'epoch'::timestamptz + line.logged_at * interval '1 microsecond', line.level, line.message
FROM json_to_recordset(:lines::json) AS line (job uuid, attempt integer, logged_at bigint, level smallint, message text)
WHERE EXISTS (SELECT FROM remit.job WHERE job.id = line.job FOR KEY SHARE);

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
