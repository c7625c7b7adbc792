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

-- name: bury
DELETE FROM remit_worker WHERE id = :worker AND :beat IS NOT NULL RETURNING id;

-- name: workers
SELECT id, started_at, seen_at, host, pid, about, health, (
    SELECT count(*) FROM remit_job WHERE state = 'running' AND worker = remit_worker.id
)
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
