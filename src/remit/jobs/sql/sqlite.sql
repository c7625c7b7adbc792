-- Jobs on SQLite: one writer at a time, so the immediate transaction is the lock. A name may hold a short script, run in
-- one transaction with the same parameters; the first of its statements that returns rows gives the result.

-- name: store
SELECT store FROM remit_meta;

-- name: enqueue
-- No row comes back from a store that is not ours.
INSERT INTO remit_job (
    id, line, lane, state, run_at, created_at, expires_at, version, priority, attempts, domain, queue, name, encoding,
    payload, backoff, timeout, keep, correlation, causation, hops, scope, traceparent, label, requested_by, attachment
)
SELECT
    j.value ->> 'id', j.value ->> 'line', coalesce(j.value ->> 'lane', 0),
    CASE WHEN coalesce(j.value ->> 'run_at', :now + coalesce(j.value ->> 'delay', 0) * 1000000) <= :now THEN 'ready'
        ELSE 'scheduled' END,
    CAST(coalesce(j.value ->> 'run_at', :now + coalesce(j.value ->> 'delay', 0) * 1000000) AS INTEGER), :now,
    CAST(coalesce(
        j.value ->> 'expires_at',
        max(coalesce(j.value ->> 'run_at', :now + coalesce(j.value ->> 'delay', 0) * 1000000), :now)
            + (j.value ->> 'expires') * 1000000
    ) AS INTEGER),
    j.value ->> 'version', coalesce(j.value ->> 'priority', 0), j.value ->> 'attempts', j.value ->> 'domain',
    j.value ->> 'queue', j.value ->> 'name', j.value ->> 'encoding', j.value ->> 'payload', j.value ->> 'backoff',
    j.value ->> 'timeout', j.value ->> 'keep', j.value ->> 'correlation', j.value ->> 'causation', j.value ->> 'hops',
    j.value ->> 'scope',
    j.value ->> 'traceparent', j.value ->> 'label', j.value ->> 'requested_by', j.value ->> 'attachment'
FROM remit_meta CROSS JOIN json_each(:jobs) AS j
WHERE store = :store
ON CONFLICT (id) DO NOTHING;
SELECT changes(), :ring FROM remit_meta WHERE store = :store;

-- name: enqueue_one
-- The same for one job, in plain parameters. No row comes back where the id is there already, either; `stored` tells
-- the two apart.
INSERT INTO remit_job (
    id, line, lane, state, run_at, created_at, expires_at, version, priority, attempts, domain, queue, name, encoding,
    payload, backoff, timeout, keep, correlation, causation, hops, scope, traceparent, label, requested_by, attachment
)
SELECT
    :id, :line, coalesce(:lane, 0), CASE WHEN due.at <= :now THEN 'ready' ELSE 'scheduled' END, due.at, :now,
    CAST(coalesce(:expires_at, max(due.at, :now) + :expires * 1000000) AS INTEGER), :version, :priority, :attempts,
    :domain, :queue, :name, :encoding, :payload, :backoff, :timeout, :keep, :correlation, :causation, :hops, :scope,
    :traceparent, :label, :requested_by, :attachment
FROM remit_meta CROSS JOIN (
    SELECT CAST(coalesce(:run_at, :now + coalesce(:delay, 0) * 1000000) AS INTEGER) AS at
) AS due
WHERE store = :store
ON CONFLICT (id) DO NOTHING
RETURNING :ring;

-- name: stored
-- The jobs that have some ids already. One row at the least, and none from a store that is not the one that is meant.
SELECT job.id, job.name, job.payload
FROM remit_meta LEFT JOIN remit_job AS job ON job.id IN (SELECT value FROM json_each(:ids))
WHERE store = coalesce(:store, store);

-- name: lines
-- Every line that has ready jobs: a skip scan, one probe a line.
WITH RECURSIVE ready (line) AS (
    SELECT min(line) FROM remit_job WHERE state = 'ready'
    UNION ALL
    SELECT (SELECT min(remit_job.line) FROM remit_job WHERE state = 'ready' AND remit_job.line > ready.line)
    FROM ready WHERE ready.line IS NOT NULL
)
SELECT ready.line, head.queue, head.name, head.version
FROM ready JOIN remit_job AS head ON head.rowid = (
    SELECT rowid FROM remit_job WHERE state = 'ready' AND remit_job.line = ready.line
    ORDER BY priority, lane, run_at, id LIMIT 1
);

-- name: promote
-- Every worker's: a stalled leader must not delay retries. A promoted job gets a new position.
UPDATE remit_job SET state = 'ready', run_at = :now
WHERE rowid IN (
    SELECT rowid FROM remit_job WHERE state = 'scheduled' AND run_at <= :now ORDER BY run_at LIMIT :limit
);
SELECT changes(), (
    SELECT (min(run_at) - :now) / 1000000.0 FROM remit_job WHERE state = 'scheduled' AND run_at > :now
);

-- name: log
INSERT INTO remit_log (job, attempt, logged_at, level, message)
SELECT value ->> 'job', value ->> 'attempt', value ->> 'logged_at', value ->> 'level', value ->> 'message'
FROM json_each(:lines)
WHERE EXISTS (SELECT 1 FROM remit_job WHERE id = (value ->> 'job'));

-- name: matching
-- The ids of jobs that match a filter, a page at a time, in the order of the ids. The condition of the partial index of
-- jobs that were set aside is repeated word for word; otherwise SQLite does not use it.
SELECT id FROM (
    SELECT * FROM remit_job WHERE state IN ('skipped', 'cancelled', 'dead') AND state = :state AND :set_aside
    UNION ALL
    SELECT * FROM remit_job WHERE NOT :set_aside
)
WHERE (:state IS NULL OR state = :state)
    AND (:domain IS NULL OR domain = :domain)
    AND (:queue IS NULL OR queue = :queue)
    AND (:names IS NULL OR name IN (SELECT value FROM json_each(:names)))
    AND (:label IS NULL OR label = :label)
    AND (:reason IS NULL OR instr(reason, :reason) > 0)
    AND (:requested_by IS NULL OR :requested_by IN (SELECT value FROM json_each(requested_by)))
    AND (:correlation IS NULL OR correlation = :correlation OR id = :correlation)
    AND (:scope IS NULL OR NOT EXISTS (
        SELECT 1 FROM json_each(:scope) AS asked
        WHERE NOT EXISTS (
            SELECT 1 FROM json_each(scope) AS own
            WHERE own.key = asked.key AND own.type = asked.type AND own.value IS asked.value
        )
    ))
    AND (:since IS NULL OR created_at >= :since)
    AND (:until IS NULL OR created_at < :until)
    AND (:ended_before IS NULL OR finished_at <= :ended_before)
    AND (NOT :failing OR failures > 0 AND finished_at IS NULL)
    AND (:deleted OR deleted_at IS NULL)
    AND id > coalesce(:after, '')
ORDER BY id
LIMIT :limit;

-- name: between
-- Ids within a range: those that begin with some characters. Two are enough to know that there are several.
SELECT id FROM remit_job WHERE id >= :low AND id <= :high ORDER BY id LIMIT 2;

-- name: count
SELECT count(*) FROM (
    SELECT * FROM remit_job WHERE state IN ('skipped', 'cancelled', 'dead') AND state = :state AND :set_aside
    UNION ALL
    SELECT * FROM remit_job WHERE NOT :set_aside
)
WHERE (:state IS NULL OR state = :state)
    AND (:domain IS NULL OR domain = :domain)
    AND (:queue IS NULL OR queue = :queue)
    AND (:names IS NULL OR name IN (SELECT value FROM json_each(:names)))
    AND (:label IS NULL OR label = :label)
    AND (:reason IS NULL OR instr(reason, :reason) > 0)
    AND (:requested_by IS NULL OR :requested_by IN (SELECT value FROM json_each(requested_by)))
    AND (:correlation IS NULL OR correlation = :correlation OR id = :correlation)
    AND (:scope IS NULL OR NOT EXISTS (
        SELECT 1 FROM json_each(:scope) AS asked
        WHERE NOT EXISTS (
            SELECT 1 FROM json_each(scope) AS own
            WHERE own.key = asked.key AND own.type = asked.type AND own.value IS asked.value
        )
    ))
    AND (:since IS NULL OR created_at >= :since)
    AND (:until IS NULL OR created_at < :until)
    AND (:ended_before IS NULL OR finished_at <= :ended_before)
    AND (NOT :failing OR failures > 0 AND finished_at IS NULL)
    AND (:deleted OR deleted_at IS NULL);

-- name: failures
SELECT attempt, failed_at, worker, kind, message, traceback
FROM remit_failure WHERE job = :id ORDER BY failed_at, attempt;

-- name: logs
SELECT attempt, logged_at, level, message FROM remit_log WHERE job = :id ORDER BY id;

-- name: cancel
-- A waiting job ends; a running one is asked.
SELECT state FROM remit_job WHERE id = :id;
UPDATE remit_job
SET state = CASE WHEN state = 'running' THEN 'running' ELSE 'cancelled' END,
    finished_at = CASE WHEN state = 'running' THEN NULL ELSE :now END,
    cancel_at = :now,
    cancel_by = :by,
    reason = :reason
WHERE id = :id AND state IN ('scheduled', 'ready', 'running');

-- name: cancel_many
-- The same for many.
UPDATE remit_job
SET state = CASE WHEN state = 'running' THEN 'running' ELSE 'cancelled' END,
    finished_at = CASE WHEN state = 'running' THEN NULL ELSE :now END,
    cancel_at = :now,
    cancel_by = :by,
    reason = :reason
WHERE id IN (SELECT value FROM json_each(:ids)) AND state IN ('scheduled', 'ready', 'running')
RETURNING state;

-- name: retry
-- By hand: a new set of attempts, a new token, no memory of suspicion. A repeated call, after a commit whose reply was
-- lost, finds its own token. The log of the job keeps the person, and the reason that the job had.
SELECT state, token = :token FROM remit_job WHERE id = :id;
INSERT INTO remit_log (job, attempt, logged_at, level, message)
SELECT id, failures, :now, 20,
    'retried' || coalesce(' by ' || :by, '') || ', was ' || state || coalesce(': ' || reason, '')
FROM remit_job WHERE id = :id AND state IN ('scheduled', 'dead', 'cancelled', 'skipped');
UPDATE remit_job
SET state = 'ready', run_at = :now, finished_at = NULL, expires_at = NULL, reason = NULL, cancel_at = NULL,
    cancel_by = NULL, deleted_at = NULL, failures = 0, suspect = 0, token = :token
WHERE id = :id AND state IN ('scheduled', 'dead', 'cancelled', 'skipped');

-- name: retry_many
-- The same for many, or for those of them alone that are dead letters, undeleted.
SELECT id FROM remit_job
WHERE id IN (SELECT value FROM json_each(:ids)) AND state IN ('scheduled', 'dead', 'cancelled', 'skipped')
    AND (NOT :dead_only OR state = 'dead' AND deleted_at IS NULL)
ORDER BY id;
INSERT INTO remit_log (job, attempt, logged_at, level, message)
SELECT id, failures, :now, 20,
    'retried' || coalesce(' by ' || :by, '') || ', was ' || state || coalesce(': ' || reason, '')
FROM remit_job WHERE id IN (SELECT value FROM json_each(:ids))
    AND state IN ('scheduled', 'dead', 'cancelled', 'skipped')
    AND (NOT :dead_only OR state = 'dead' AND deleted_at IS NULL);
UPDATE remit_job
SET state = 'ready', run_at = :now, finished_at = NULL, expires_at = NULL, reason = NULL, cancel_at = NULL,
    cancel_by = NULL, deleted_at = NULL, failures = 0, suspect = 0, token = :token
WHERE id IN (SELECT value FROM json_each(:ids)) AND state IN ('scheduled', 'dead', 'cancelled', 'skipped')
    AND (NOT :dead_only OR state = 'dead' AND deleted_at IS NULL);

-- name: delete
-- Hides an ended job, and ends a waiting one; the pruner removes it with the others of its age.
SELECT state FROM remit_job WHERE id = :id;
UPDATE remit_job
SET state = CASE WHEN state IN ('scheduled', 'ready') THEN 'cancelled' ELSE state END,
    finished_at = coalesce(finished_at, :now),
    reason = CASE WHEN state IN ('scheduled', 'ready') THEN 'deleted' ELSE reason END,
    deleted_at = :now
WHERE id = :id AND state <> 'running';

-- name: delete_many
-- The same for many.
UPDATE remit_job
SET state = CASE WHEN state IN ('scheduled', 'ready') THEN 'cancelled' ELSE state END,
    finished_at = coalesce(finished_at, :now),
    reason = CASE WHEN state IN ('scheduled', 'ready') THEN 'deleted' ELSE reason END,
    deleted_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND state <> 'running' AND deleted_at IS NULL
RETURNING id;

-- name: purge
-- Removes a job that does not run, with its failures and logs.
SELECT state FROM remit_job WHERE id = :id;
DELETE FROM remit_job WHERE id = :id AND state <> 'running';

-- name: purge_many
-- The same for many.
DELETE FROM remit_job WHERE id IN (SELECT value FROM json_each(:ids)) AND state <> 'running' RETURNING id;

-- name: unfinished
-- Those of some jobs that have not ended.
SELECT id FROM remit_job WHERE id IN (SELECT value FROM json_each(:ids)) AND finished_at IS NULL ORDER BY id;

-- name: final_queues
-- Every queue that has ended jobs: a skip scan.
WITH RECURSIVE ended (queue) AS (
    SELECT min(queue) FROM remit_job WHERE finished_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(remit_job.queue) FROM remit_job WHERE finished_at IS NOT NULL AND remit_job.queue > ended.queue)
    FROM ended WHERE ended.queue IS NOT NULL
)
SELECT queue FROM ended WHERE queue IS NOT NULL;

-- name: prune
-- One small batch of what is older than its time. Dead letters have a time of their own, whatever the call said.
DELETE FROM remit_job
WHERE rowid IN (
    SELECT rowid FROM remit_job
    WHERE queue = :queue AND (state = 'dead') = :dead AND (state = 'dead' OR keep IS NULL)
        AND finished_at < :now - :age * 1000000
    ORDER BY finished_at
    LIMIT :limit
)
RETURNING 1;

-- name: prune_beyond
-- One small batch of what exceeds the count that a queue keeps. A thousand jobs may have ended at one instant.
DELETE FROM remit_job
WHERE rowid IN (
    SELECT rowid FROM remit_job
    WHERE queue = :queue AND finished_at IS NOT NULL AND keep IS NULL AND state <> 'dead'
        AND (finished_at, id) <= (
            SELECT finished_at, id FROM remit_job
            WHERE queue = :queue AND finished_at IS NOT NULL AND keep IS NULL AND state <> 'dead'
            ORDER BY finished_at DESC, id DESC LIMIT 1 OFFSET :count
        )
    ORDER BY finished_at
    LIMIT :limit
)
RETURNING 1;

-- name: prune_kept
-- Jobs that were sent with a time of their own.
DELETE FROM remit_job
WHERE rowid IN (
    SELECT rowid FROM remit_job
    WHERE finished_at IS NOT NULL AND keep IS NOT NULL AND state <> 'dead' AND finished_at < :now - keep * 1000000
    ORDER BY finished_at
    LIMIT :limit
)
RETURNING 1;

-- name: pause
INSERT INTO remit_queue (name, paused_at, paused_by) VALUES (:queue, :now, :by)
ON CONFLICT (name) DO UPDATE SET paused_at = coalesce(paused_at, excluded.paused_at), paused_by = excluded.paused_by
RETURNING name;

-- name: resume
UPDATE remit_queue SET paused_at = NULL, paused_by = NULL WHERE name = :queue AND paused_at IS NOT NULL RETURNING name;

-- name: paused
SELECT name, paused_at, paused_by FROM remit_queue WHERE paused_at IS NOT NULL ORDER BY name;

-- name: waiting
-- What has not ended, by queue and state: how many, of these after a failed attempt, and the age of the oldest in seconds.
SELECT queue, state, count(*), sum(failures > 0), (:now - min(run_at)) / 1000000.0
FROM remit_job WHERE state = 'ready' GROUP BY queue
UNION ALL
SELECT queue, state, count(*), sum(failures > 0), NULL FROM remit_job WHERE state = 'scheduled' GROUP BY queue
UNION ALL
SELECT queue, state, count(*), sum(failures > 0), (:now - min(claimed_at)) / 1000000.0
FROM remit_job WHERE state = 'running'
GROUP BY queue;

-- name: ended
-- What ended within the last so many seconds, by queue and state.
WITH RECURSIVE final (queue) AS (
    SELECT min(queue) FROM remit_job WHERE finished_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(remit_job.queue) FROM remit_job WHERE finished_at IS NOT NULL AND remit_job.queue > final.queue)
    FROM final WHERE final.queue IS NOT NULL
)
SELECT final.queue, recent.state, count(*)
FROM final CROSS JOIN remit_job AS recent
WHERE recent.queue = final.queue AND recent.finished_at > :now - :seconds * 1000000
GROUP BY final.queue, recent.state;

-- name: dead
-- Dead letters that wait for a person, by queue.
SELECT queue, count(*) FROM remit_job
WHERE state = 'dead' AND state IN ('skipped', 'cancelled', 'dead') AND deleted_at IS NULL
GROUP BY queue;

-- name: failed_attempts
-- Attempts that failed within the last so many seconds, by queue.
SELECT job.queue, count(*)
FROM remit_failure AS failure CROSS JOIN remit_job AS job
WHERE failure.failed_at > :now - :seconds * 1000000 AND job.id = failure.job
GROUP BY job.queue;
