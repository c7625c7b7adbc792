-- Records of jobs on PostgreSQL, for people: a delivery is shown with the payload of its event.

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
