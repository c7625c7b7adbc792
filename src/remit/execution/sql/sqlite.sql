-- The execution of jobs on SQLite: statements that join jobs with workers, events and queues. One writer at a time, so
-- the immediate transaction is the lock. A name may hold a short script, run in one transaction with the same parameters;
-- the first of its statements that returns rows gives the result.

-- name: heads
-- The best ready priority of each line that is not held: one index probe a line, no lock. Without `suspects`
-- it goes past those.
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
