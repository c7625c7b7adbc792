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

-- name: stored_events
-- The same of events.
SELECT event.id, event.name, event.payload
FROM remit_meta LEFT JOIN remit_event AS event ON event.id IN (SELECT value FROM json_each(:ids))
WHERE store = coalesce(:store, store);

-- name: heads
-- The best ready priority of each line that is not held: one index probe a line, no lock. Who may not take suspects
-- looks past them.
SELECT head.line, head.priority
FROM json_each(:lines) AS known
JOIN remit_job AS head ON head.rowid = (
    SELECT rowid FROM remit_job
    WHERE state = 'ready' AND line = (known.value ->> 'line') AND (suspect = 0 OR :suspects)
    ORDER BY priority, lane, run_at, id LIMIT 1
)
WHERE NOT EXISTS (
    SELECT 1 FROM remit_queue WHERE name = (known.value ->> 'queue') AND paused_at IS NOT NULL
);

-- name: claim
-- Takes the best of one line after the other, in order. A worker whose row is gone claims nothing. What has expired ends
-- here, without a run. A delivery has its payload from its event. Of all suspects it takes one at most, the first, where
-- `suspects` allows it, and goes past the others.
WITH line AS MATERIALIZED (
    SELECT
        value ->> 'line' AS line, value ->> 'queue' AS queue, value ->> 'quota' AS quota,
        value ->> 'ceiling' AS ceiling
    FROM json_each(:lines)
    WHERE EXISTS (SELECT 1 FROM remit_worker WHERE id = :worker)
        AND NOT EXISTS (
            SELECT 1 FROM remit_queue WHERE name = (value ->> 'queue') AND paused_at IS NOT NULL
        )
),
suspect AS MATERIALIZED (
    SELECT job.rowid AS row FROM line CROSS JOIN remit_job AS job INDEXED BY remit_job_suspect
    WHERE :suspects AND job.state = 'ready' AND job.suspect > 0 AND job.line = line.line AND job.priority <= line.ceiling
    ORDER BY job.priority, job.lane, job.run_at, job.id
    LIMIT 1
),
head AS MATERIALIZED (
    SELECT ready.rowid AS row, line.quota,
        row_number() OVER (PARTITION BY line.line ORDER BY priority, lane, run_at, id) AS place
    FROM line CROSS JOIN remit_job AS ready ON ready.rowid IN (
        SELECT rowid FROM remit_job
        WHERE state = 'ready' AND remit_job.line = line.line AND priority <= line.ceiling
            AND (suspect = 0 OR rowid = (SELECT row FROM suspect))
        ORDER BY priority, lane, run_at, id
        LIMIT (SELECT max(value ->> 'quota') FROM json_each(:lines))
    )
)
UPDATE remit_job
SET state = CASE WHEN expires_at <= :now THEN 'cancelled' ELSE 'running' END,
    worker = CASE WHEN expires_at <= :now THEN NULL ELSE :worker END,
    finished_at = CASE WHEN expires_at <= :now THEN :now END,
    reason = CASE WHEN expires_at <= :now THEN 'expired before its first run' END,
    token = :token,
    claimed_at = :now
WHERE rowid IN (SELECT row FROM head WHERE place <= quota)
RETURNING
    id, state, line, failures, attempts, suspect, encoding,
    coalesce(payload, (SELECT payload FROM remit_event WHERE remit_event.id = remit_job.event_id)), backoff,
    coalesce(correlation, id), name, traceparent,
    CASE WHEN event_id IS NOT NULL THEN (
        SELECT json_array(
            event.id, event.name, event.version, event.domain, event.occurred_at, event.published_at, event.scope,
            event.correlation, event.causation, event.traceparent, remit_job.subscription, event.lane
        )
        FROM remit_event AS event WHERE event.id = remit_job.event_id
    ) END,
    priority, lane, run_at, timeout, hops;

-- name: finish
-- Compare-and-set on the token. What waits again although its cancellation was asked for is cancelled instead. An expiry
-- bounds the start of the first run: what has run waits without one. Messages of a run are sent if, and only if, its
-- outcome landed: then its row bears this statement's stamp. A death is an event (see catalog/builtin.py), except that of
-- a delivery of such an event.
UPDATE remit_job
SET state = CASE WHEN cancel_at IS NOT NULL AND outcome.delay IS NOT NULL THEN 'cancelled' ELSE outcome.state END,
    finished_at = CASE WHEN cancel_at IS NOT NULL OR outcome.delay IS NULL THEN :now END,
    reason = CASE WHEN cancel_at IS NOT NULL AND (outcome.delay IS NOT NULL OR outcome.state = 'cancelled')
        THEN coalesce(remit_job.reason, outcome.reason) ELSE outcome.reason END,
    run_at = CASE WHEN outcome.state = 'scheduled' THEN CAST(:now + outcome.delay * 1000000 AS INTEGER)
        ELSE remit_job.run_at END,
    expires_at = CASE WHEN outcome.state = 'scheduled' OR outcome.began THEN NULL ELSE expires_at END,
    failures = outcome.failures,
    result = outcome.result,
    suspect = CASE WHEN outcome.state = 'ready' THEN min(suspect, 1) ELSE 0 END,
    worker = NULL,
    token = :stamp
FROM (
    SELECT
        value ->> 'id' AS id, value ->> 'token' AS token, value ->> 'state' AS state, value ->> 'failures' AS failures,
        value ->> 'delay' AS delay, value ->> 'result' AS result, value ->> 'reason' AS reason,
        value ->> 'began' AS began
    FROM json_each(:outcomes)
) AS outcome
WHERE remit_job.id = outcome.id AND remit_job.token = outcome.token
RETURNING remit_job.id, remit_job.state, :ring;
INSERT INTO remit_failure (job, token, attempt, failed_at, worker, kind, message, traceback)
SELECT
    value ->> 'id', value ->> 'token', value ->> 'attempt', :now, :worker, value ->> 'kind', value ->> 'message',
    value ->> 'traceback'
FROM json_each(:outcomes) JOIN remit_job ON remit_job.id = (value ->> 'id') AND remit_job.token = :stamp
WHERE value ->> 'kind' IS NOT NULL;
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
FROM json_each(:jobs) AS j
JOIN remit_job AS parent ON parent.id = (j.value ->> 'causation') AND parent.token = :stamp
WHERE true
ON CONFLICT (id) DO NOTHING;
INSERT INTO remit_event (
    id, lane, due_at, published_at, occurred_at, correlation, causation, hops, version, domain, name, encoding,
    payload, keep, scope, traceparent
)
SELECT
    e.value ->> 'id', e.value ->> 'lane', :now, :now, coalesce(e.value ->> 'occurred_at', :now),
    e.value ->> 'correlation', e.value ->> 'causation', e.value ->> 'hops', e.value ->> 'version',
    e.value ->> 'domain', e.value ->> 'name',
    e.value ->> 'encoding', e.value ->> 'payload', e.value ->> 'keep', e.value ->> 'scope', e.value ->> 'traceparent'
FROM json_each(:events) AS e
JOIN remit_job AS parent ON parent.id = (e.value ->> 'causation') AND parent.token = :stamp
WHERE :lanes IS NOT NULL  -- for stores where writers do not exclude each other
ON CONFLICT (id) DO NOTHING;
INSERT INTO remit_event (
    id, due_at, published_at, occurred_at, correlation, causation, hops, version, domain, name, encoding, payload
)
SELECT
    printf(
        '%s-%s-7%s-8%s-%s', substr(printf('%012x', :now / 1000), 1, 8), substr(printf('%012x', :now / 1000), 9),
        substr(lower(hex(randomblob(2))), 2), substr(lower(hex(randomblob(2))), 2), lower(hex(randomblob(6)))
    ),
    :now, :now, :now, job.correlation, job.id, min(coalesce(job.hops, 0) + 1, 32000), 1, 'remit', 'remit.job-died',
    'json', json_object(
        'job', job.id, 'name', job.name, 'domain', job.domain, 'queue', job.queue, 'attempts', job.attempts,
        'failures', job.failures, 'reason', coalesce(job.reason, ''), 'event', job.event_id, 'label', job.label,
        'payload', job.payload
    )
FROM json_each(:outcomes) AS outcome
JOIN remit_job AS job ON job.id = (outcome.value ->> 'id') AND job.token = :stamp AND job.state = 'dead'
WHERE NOT EXISTS (
    SELECT 1 FROM remit_event AS cause WHERE cause.id = job.event_id AND cause.name = 'remit.job-died'
);

-- name: refuse
-- Rolls the caller's transaction back, by a trigger.
INSERT INTO remit_lease_lost (job) VALUES (:job);

-- name: probe
-- What became of a completion in a caller's transaction. Only one transaction writes, so a row is never locked.
SELECT id, token FROM remit_job WHERE id = :id;

-- name: start_suspect
-- Written before the handler of a suspect: only the crash of a started one is charged.
UPDATE remit_job SET suspect = 2 WHERE id = :id AND token = :token RETURNING id;

-- name: held
-- What the database says that a worker holds.
SELECT id, token, failures, cancel_at IS NOT NULL FROM remit_job WHERE state = 'running' AND worker = :worker;

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

-- name: rescue
-- Rows of workers that are registered no more. A first rescue charges nobody and makes suspects; the crash of a suspect
-- that had started is charged. A rescued job may have run, so it expires no more. The index is named, or SQLite would go
-- through all jobs for the sake of the order.
SELECT
    id,
    CASE WHEN cancel_at IS NOT NULL THEN 'cancelled' WHEN suspect = 2 AND failures + 1 >= attempts THEN 'dead'
        ELSE 'ready' END,
    suspect = 2,
    name,
    worker
FROM remit_job INDEXED BY remit_job_running
WHERE state = 'running' AND NOT EXISTS (SELECT 1 FROM remit_worker WHERE remit_worker.id = remit_job.worker)
ORDER BY id
LIMIT :limit;
INSERT INTO remit_failure (job, token, attempt, failed_at, worker, kind, message)
SELECT id, token, failures + 1, :now, worker, 'WorkerDied', 'the worker died while it ran this job'
FROM remit_job
WHERE rowid IN (
        SELECT rowid FROM remit_job INDEXED BY remit_job_running
        WHERE state = 'running' AND NOT EXISTS (SELECT 1 FROM remit_worker WHERE remit_worker.id = remit_job.worker)
        ORDER BY id
        LIMIT :limit
    )
    AND suspect = 2;
INSERT INTO remit_event (
    id, due_at, published_at, occurred_at, correlation, causation, hops, version, domain, name, encoding, payload
)
SELECT
    printf(
        '%s-%s-7%s-8%s-%s', substr(printf('%012x', :now / 1000), 1, 8), substr(printf('%012x', :now / 1000), 9),
        substr(lower(hex(randomblob(2))), 2), substr(lower(hex(randomblob(2))), 2), lower(hex(randomblob(6)))
    ),
    :now, :now, :now, job.correlation, job.id, min(coalesce(job.hops, 0) + 1, 32000), 1, 'remit', 'remit.job-died',
    'json', json_object(
        'job', job.id, 'name', job.name, 'domain', job.domain, 'queue', job.queue, 'attempts', job.attempts,
        'failures', job.failures + 1, 'event', job.event_id, 'label', job.label, 'payload', job.payload,
        'reason', 'killed its worker in ' || (job.failures + 1) || ' of ' || job.attempts || ' attempts'
    )
FROM remit_job AS job
WHERE rowid IN (
        SELECT rowid FROM remit_job INDEXED BY remit_job_running
        WHERE state = 'running' AND NOT EXISTS (SELECT 1 FROM remit_worker WHERE remit_worker.id = remit_job.worker)
        ORDER BY id
        LIMIT :limit
    )
    AND suspect = 2 AND cancel_at IS NULL AND failures + 1 >= attempts
    AND NOT EXISTS (
        SELECT 1 FROM remit_event AS cause WHERE cause.id = job.event_id AND cause.name = 'remit.job-died'
    );
UPDATE remit_job
SET state = CASE WHEN cancel_at IS NOT NULL THEN 'cancelled'
        WHEN suspect = 2 AND failures + 1 >= attempts THEN 'dead' ELSE 'ready' END,
    finished_at = CASE WHEN cancel_at IS NOT NULL OR suspect = 2 AND failures + 1 >= attempts THEN :now END,
    reason = CASE WHEN cancel_at IS NULL AND suspect = 2 AND failures + 1 >= attempts
        THEN 'killed its worker in ' || (failures + 1) || ' of ' || attempts || ' attempts' ELSE reason END,
    expires_at = NULL,
    failures = failures + (suspect = 2),
    suspect = 1,
    worker = NULL,
    token = :token
FROM (
    SELECT id AS lost_id FROM remit_job INDEXED BY remit_job_running
    WHERE state = 'running' AND NOT EXISTS (SELECT 1 FROM remit_worker WHERE remit_worker.id = remit_job.worker)
    ORDER BY id
    LIMIT :limit
) AS lost
WHERE remit_job.id = lost.lost_id;

-- name: log
INSERT INTO remit_log (job, attempt, logged_at, level, message)
SELECT value ->> 'job', value ->> 'attempt', value ->> 'logged_at', value ->> 'level', value ->> 'message'
FROM json_each(:lines)
WHERE EXISTS (SELECT 1 FROM remit_job WHERE id = (value ->> 'job'));

-- name: get
SELECT
    id, state, domain, queue, name, version, priority, failures, attempts, suspect > 0, timeout, created_at, run_at,
    claimed_at, finished_at, expires_at, cancel_at, cancel_by, deleted_at, worker, encoding,
    coalesce(payload, (SELECT event.payload FROM remit_event AS event WHERE event.id = job.event_id)), result,
    reason, label, requested_by, attachment, correlation, causation, event_id,
    CASE WHEN failures > 0 THEN (
        SELECT kind || ': ' || message FROM remit_failure AS failure WHERE failure.job = job.id
        ORDER BY failed_at DESC, attempt DESC LIMIT 1
    ) END
FROM remit_job AS job WHERE id = :id;

-- name: list
-- Newest first, in two streams, each paged by its own key. Ids that remit makes hold their time: those jobs come by id,
-- from the primary key. Jobs under ids of the caller's own come by (created_at, id), from an index that holds them alone.
WITH job AS NOT MATERIALIZED (
    SELECT * FROM remit_job
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
)
SELECT
    id, state, domain, queue, name, version, priority, failures, attempts, suspect > 0, timeout, created_at, run_at,
    claimed_at, finished_at, expires_at, cancel_at, cancel_by, deleted_at, worker, encoding,
    coalesce(payload, (SELECT event.payload FROM remit_event AS event WHERE event.id = job.event_id)), result,
    reason, label, requested_by, attachment, correlation, causation, event_id,
    CASE WHEN failures > 0 THEN (
        SELECT kind || ': ' || message FROM remit_failure AS failure WHERE failure.job = job.id
        ORDER BY failed_at DESC, attempt DESC LIMIT 1
    ) END
FROM (
    SELECT * FROM (
        SELECT * FROM job
        WHERE id >= '01800000' AND id < :after AND substr(id, 15, 1) = '7'
        ORDER BY id DESC
        LIMIT :limit
    )
    UNION ALL
    SELECT * FROM (
        SELECT * FROM job
        WHERE (id < '01800000' OR id >= '02000000' OR substr(id, 15, 1) <> '7')
            AND (created_at, id) < (:own_at, :own_after)
        ORDER BY created_at DESC, id DESC
        LIMIT :limit
    )
) AS job;

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
