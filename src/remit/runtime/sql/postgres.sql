-- Workers and leadership on PostgreSQL.

-- name: register
-- Repeated where nobody knew whether it was committed.
INSERT INTO remit.worker (id, started_at, seen_at, host, pid, about)
VALUES (
    :worker::uuid, remit.clock(:now::bigint), remit.clock(:now::bigint), :host::text, :pid::integer, :about::text
)
ON CONFLICT (id) DO NOTHING;

-- name: deregister
DELETE FROM remit.worker WHERE id = :worker::uuid RETURNING id::text;

-- name: beat
-- The worker's own row alone: a beat must wait for nobody's transaction.
UPDATE remit.worker SET beat = beat + 1, seen_at = remit.clock(:now::bigint), health = coalesce(:health::text, health)
WHERE id = :worker::uuid
RETURNING beat;

-- name: beats
SELECT id::text, beat FROM remit.worker;

-- name: declare_dead
-- Waits for a claim in flight, which shares the row, and looks at the counter again.
DELETE FROM remit.worker WHERE id = :worker::uuid AND beat = :beat::bigint RETURNING id::text;

-- name: workers
SELECT id::text, remit.micros(started_at), remit.micros(seen_at), host, pid, about, health, (
    SELECT count(*) FROM remit.job WHERE state = 'running' AND worker = worker.id
), greatest(0, extract(epoch FROM remit.clock(:now::bigint) - seen_at))::double precision
FROM remit.worker ORDER BY started_at, id;

-- name: elect
-- A term is (holder, elected_at), issued by the database. Wins when there is no leader, or its term has run out.
INSERT INTO remit.leader AS leader (role, holder, elected_at, expires_at)
SELECT :role::text, :worker::uuid, clock.now, clock.now + :term::double precision * interval '1 second'
FROM remit.clock(:now::bigint) AS clock (now)
WHERE EXISTS (SELECT FROM remit.worker WHERE id = :worker::uuid)
ON CONFLICT (role) DO UPDATE
SET holder = excluded.holder, elected_at = excluded.elected_at, expires_at = excluded.expires_at
WHERE leader.expires_at <= excluded.elected_at
RETURNING remit.micros(elected_at);

-- name: renew
-- Names the exact term, which must not have run out.
UPDATE remit.leader SET expires_at = clock.now + :term::double precision * interval '1 second'
FROM remit.clock(:now::bigint) AS clock (now)
WHERE role = :role::text AND holder = :worker::uuid AND remit.micros(elected_at) = :elected::bigint
    AND expires_at > clock.now
RETURNING role;

-- name: resign
DELETE FROM remit.leader
WHERE role = :role::text AND holder = :worker::uuid AND remit.micros(elected_at) = :elected::bigint
RETURNING role;

-- name: leaders
SELECT role, holder::text, remit.micros(elected_at), remit.micros(expires_at) FROM remit.leader ORDER BY role;

-- name: left
-- Whether anything is left that a worker could do now: an event to fan out, a job of its lines, a job that it holds or
-- that became due, a lane of an ordered subscription that can move on.
SELECT CASE
    WHEN EXISTS (SELECT FROM remit.outstanding WHERE attempts = 0 OR due_at <= remit.clock(:now::bigint)) THEN true
    WHEN EXISTS (SELECT FROM remit.job WHERE state = 'running' AND worker = :worker::uuid) THEN true
    WHEN EXISTS (SELECT FROM remit.job WHERE state = 'scheduled' AND run_at <= remit.clock(:now::bigint)) THEN true
    WHEN EXISTS (
        SELECT FROM json_to_recordset(:lines::json) AS line (line bigint, queue text)
        WHERE EXISTS (SELECT FROM remit.job WHERE state = 'ready' AND job.line = line.line)
            AND NOT EXISTS (SELECT FROM remit.queue WHERE name = line.queue AND paused_at IS NOT NULL)
    ) THEN true
    ELSE EXISTS (
        SELECT FROM remit.turn
        JOIN remit.subscription ON subscription.id = turn.subscription
        LEFT JOIN remit.job ON job.id = remit.derived_id(turn.event, turn.subscription)
        WHERE CASE
            WHEN NOT turn.released THEN subscription.filling_since IS NULL AND NOT EXISTS (
                SELECT FROM remit.turn AS one
                WHERE one.subscription = turn.subscription AND one.lane = turn.lane AND one.released
            )
            WHEN job.id IS NULL THEN EXISTS (
                SELECT FROM remit.delivery
                WHERE delivery.event = turn.event AND delivery.subscription = turn.subscription
            )
            ELSE job.finished_at IS NOT NULL
                AND (job.state <> 'dead' OR job.deleted_at IS NOT NULL OR subscription.on_dead = 'pass')
        END
    )
END;
