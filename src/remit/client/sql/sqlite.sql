-- Records of jobs on SQLite, for people: a delivery is shown with the payload of its event.

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
