-- Workers and leadership on SQLite.

-- name: register
-- Repeated where nobody knew whether it was committed.
INSERT INTO remit_worker (id, started_at, seen_at, host, pid, about) VALUES (:worker, :now, :now, :host, :pid, :about)
ON CONFLICT (id) DO NOTHING;

-- name: deregister
DELETE FROM remit_worker WHERE id = :worker RETURNING id;

-- name: beat
UPDATE remit_worker SET beat = beat + 1, seen_at = :now, health = coalesce(:health, health)
WHERE id = :worker
RETURNING beat;

-- name: beats
SELECT id, beat FROM remit_worker;

-- name: declare_dead
DELETE FROM remit_worker WHERE id = :worker AND :beat IS NOT NULL RETURNING id;

-- name: workers
SELECT id, started_at, seen_at, host, pid, about, health, (
    SELECT count(*) FROM remit_job WHERE state = 'running' AND worker = remit_worker.id
), max(0, (:now - seen_at) / 1000000.0)
FROM remit_worker ORDER BY started_at, id;

-- name: elect
-- A term is (holder, elected_at), issued by the database. Wins when there is no leader, or its term has run out.
INSERT INTO remit_leader (role, holder, elected_at, expires_at)
SELECT :role, :worker, :now, CAST(:now + :term * 1000000 AS INTEGER)
WHERE EXISTS (SELECT 1 FROM remit_worker WHERE id = :worker)
ON CONFLICT (role) DO UPDATE
SET holder = excluded.holder, elected_at = excluded.elected_at, expires_at = excluded.expires_at
WHERE remit_leader.expires_at <= excluded.elected_at
RETURNING elected_at;

-- name: renew
-- Names the exact term, which must not have run out.
UPDATE remit_leader SET expires_at = CAST(:now + :term * 1000000 AS INTEGER)
WHERE role = :role AND holder = :worker AND elected_at = :elected AND expires_at > :now
RETURNING role;

-- name: resign
DELETE FROM remit_leader WHERE role = :role AND holder = :worker AND elected_at = :elected RETURNING role;

-- name: leaders
SELECT role, holder, elected_at, expires_at FROM remit_leader ORDER BY role;

-- name: left
-- Whether anything is left that a worker could do now: an event to fan out, a job of its lines, a job that it holds or
-- that became due, a lane of an ordered subscription that can move on.
SELECT CASE
    WHEN EXISTS (SELECT 1 FROM remit_outstanding WHERE attempts = 0 OR due_at <= :now) THEN 1
    WHEN EXISTS (SELECT 1 FROM remit_job WHERE state = 'running' AND worker = :worker) THEN 1
    WHEN EXISTS (SELECT 1 FROM remit_job WHERE state = 'scheduled' AND run_at <= :now) THEN 1
    WHEN EXISTS (
        SELECT 1 FROM json_each(:lines) AS line
        WHERE EXISTS (SELECT 1 FROM remit_job AS job WHERE state = 'ready' AND job.line = (line.value ->> 'line'))
            AND NOT EXISTS (
                SELECT 1 FROM remit_queue WHERE name = (line.value ->> 'queue') AND paused_at IS NOT NULL
            )
    ) THEN 1
    ELSE EXISTS (
        SELECT 1 FROM remit_turn AS turn
        JOIN remit_subscription AS subscription ON subscription.id = turn.subscription
        LEFT JOIN remit_job AS job ON job.id = remit_derived_id(turn.event, turn.subscription)
        WHERE CASE
            WHEN NOT turn.released THEN subscription.filling_since IS NULL AND NOT EXISTS (
                SELECT 1 FROM remit_turn AS one
                WHERE one.subscription = turn.subscription AND one.lane = turn.lane AND one.released
            )
            WHEN job.id IS NULL THEN EXISTS (
                SELECT 1 FROM remit_delivery AS delivery
                WHERE delivery.event = turn.event AND delivery.subscription = turn.subscription
            )
            ELSE job.finished_at IS NOT NULL
                AND (job.state <> 'dead' OR job.deleted_at IS NOT NULL OR subscription.on_dead = 'pass')
        END
    )
END;
