-- Events on PostgreSQL: the outbox, the relay's fan-out, subscriptions, the log. States are literals, so that the partial
-- indexes are used; rows are taken with SKIP LOCKED in a MATERIALIZED CTE (see jobs/sql/postgres.sql).
--
-- What runs on a caller's handle (publish) takes documents and ids as text.

-- name: publish
-- Ordered events take the lock of their lane until the commit, in one order: so their numbers commit in order. Workers
-- are notified only while one sleeps. No row comes back from a store that is not ours.
WITH here AS MATERIALIZED (
    SELECT remit.clock(:now::bigint) AS now
    FROM remit.meta, (
        SELECT count(pg_advisory_xact_lock(lane.lane::bigint)) AS taken
        FROM json_array_elements_text(:lanes::text::json) AS lane (lane)
    ) AS turns
    WHERE store = :store::text::uuid AND turns.taken >= 0
),
sent AS (
    INSERT INTO remit.event (
        id, lane, due_at, published_at, occurred_at, correlation, causation, hops, version, domain, name, encoding,
        payload, keep, scope, traceparent
    )
    SELECT
        id, lane, here.now, here.now,
        coalesce('epoch'::timestamptz + occurred_at * interval '1 microsecond', here.now),
        correlation, causation, hops, version, domain, name, encoding, payload, keep, scope, traceparent
    FROM here
    CROSS JOIN json_to_recordset(:events::text::json) AS event (
        id uuid, lane bigint, occurred_at bigint, correlation uuid, causation uuid, hops smallint, version integer,
        domain text, name text, encoding text, payload text, keep double precision, scope text, traceparent text
    )
    ON CONFLICT (id) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM sent), CASE WHEN NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
    THEN pg_notify(:channel::text, 'events') END IS NOT NULL
FROM here;

-- name: publish_one
-- The same for one event, in plain parameters: a caller's transaction pays for no JSON and for no planning, as long as
-- nothing here makes the general plan look dearer than one for these very parameters. No row comes back where the id is
-- there already, either; `stored` tells the two apart. Without a lane the lock is not called: it is strict.
WITH here AS MATERIALIZED (
    SELECT remit.clock(:now::bigint) AS now
    FROM remit.meta, (SELECT pg_advisory_xact_lock(:lane::bigint) IS NULL OFFSET 0) AS turn (taken)
    WHERE store = :store::text::uuid AND turn.taken IS NOT NULL
)
INSERT INTO remit.event (
    id, lane, due_at, published_at, occurred_at, correlation, causation, hops, version, domain, name, encoding,
    payload, keep, scope, traceparent
)
SELECT
    :id::text::uuid, :lane::bigint, here.now, here.now,
    coalesce('epoch'::timestamptz + :occurred_at::bigint * interval '1 microsecond', here.now),
    :correlation::text::uuid, :causation::text::uuid, :hops::smallint, :version::integer, :domain::text, :name::text,
    :encoding::text, :payload::text, :keep::double precision, :scope::text, :traceparent::text
FROM here
ON CONFLICT (id) DO NOTHING
RETURNING CASE WHEN NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
    THEN pg_notify(:channel::text, 'events') END IS NOT NULL;

-- name: stored
-- The events that have some ids already. One row at the least, and none from a store that is not the one that is meant.
SELECT event.id::text, event.name, event.payload
FROM remit.meta
LEFT JOIN remit.event
    ON event.id = ANY (ARRAY(SELECT value::uuid FROM json_array_elements_text(:ids::text::json) AS id (value)))
WHERE store = coalesce(:store::text::uuid, store);

-- name: dispatch
-- Takes a batch of events, or some of them by name, and makes the deliveries of each: a job for every subscription that
-- wants it, or a turn where the subscription is ordered. An event that nobody has declared here is set aside: those who
-- listen to it may not have been here yet. What stands behind a failed or an unknown one of its lane is not outstanding,
-- and an ordered event waits while an earlier one of its lane is in other hands. The lock lets a back-fill and a pruner
-- pass, which only want the event to stay. Events are found by their ids in ways that the planner cannot turn round: in
-- a session that made its plan while the log was empty, a join would go through all of it.
WITH clock AS MATERIALIZED (SELECT remit.clock(:now::bigint) AS now),
due AS MATERIALIZED (
    SELECT id, seq, lane, EXISTS (
        SELECT FROM remit.event_type AS type WHERE type.name = outstanding.name AND type.version = outstanding.version
    ) AS known
    FROM remit.outstanding
    WHERE (attempts = 0 OR due_at <= (SELECT now FROM clock))  -- a clock that steps back delays nothing that is new
        AND (:only::text IS NULL OR id IN (SELECT value::uuid FROM json_array_elements_text(:only::json) AS one (value)))
    ORDER BY due_at, seq
    LIMIT :limit::integer
    FOR NO KEY UPDATE SKIP LOCKED
),
taken AS MATERIALIZED (
    SELECT id FROM due WHERE lane IS NULL AND known
    UNION ALL
    SELECT id FROM (
        SELECT event.id,
            bool_and(event.id IN (SELECT id FROM due WHERE known))
                OVER (PARTITION BY event.lane ORDER BY event.seq) AS free
        FROM (SELECT lane, max(seq) AS last FROM due WHERE lane IS NOT NULL GROUP BY lane) AS due_lane
        JOIN remit.event ON event.lane = due_lane.lane AND event.seq <= due_lane.last AND event.state = 'pending'
    ) AS standing
    WHERE free
),
listener AS MATERIALIZED (
    SELECT subscription.*, hearing.event AS event_name
    FROM remit.hearing JOIN remit.subscription ON subscription.id = hearing.subscription
),
chosen AS MATERIALIZED (
    SELECT
        event.id, seq, lane, hops, version, encoding, scope, traceparent,
        coalesce(correlation, event.id) AS correlation, heard.listeners
    FROM taken
    CROSS JOIN LATERAL (SELECT * FROM remit.event WHERE event.id = taken.id OFFSET 0) AS event
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(listener.id), '{}') AS listeners FROM listener
        WHERE listener.event_name = event.name
            AND (listener.condition IS NULL OR remit.meets(event.payload, listener.condition, event.version))
            AND NOT EXISTS (  -- a back-fill was faster, and the pruner too
                SELECT FROM remit.delivery WHERE delivery.event = event.id AND delivery.subscription = listener.id
            )
    ) AS heard
),
wanted AS MATERIALIZED (
    SELECT
        chosen.id AS event_id, chosen.seq, chosen.lane, chosen.hops, chosen.version, chosen.encoding, chosen.scope,
        chosen.traceparent, chosen.correlation, listener.id AS subscription, listener.name, listener.line,
        listener.attempts, listener.priority, listener.domain, listener.queue, listener.expires, listener.keep,
        listener.ordered_by IS NOT NULL AND chosen.lane IS NOT NULL AS ordered
    FROM chosen CROSS JOIN LATERAL unnest(listeners) AS one (id) JOIN listener ON listener.id = one.id
),
sent AS (
    INSERT INTO remit.job (
        id, line, state, run_at, created_at, expires_at, event_id, subscription, correlation, causation, hops, version,
        priority, attempts, domain, queue, name, encoding, keep, scope, traceparent
    )
    SELECT
        remit.derived_id(event_id, subscription), line | version, 'ready', clock.now, clock.now,
        clock.now + expires * interval '1 second', event_id, subscription, correlation, event_id, hops, version,
        priority, attempts, domain, queue, name, encoding, keep, scope, traceparent
    FROM wanted, clock
    WHERE NOT ordered
    ORDER BY seq, subscription  -- as a back-fill does, since each waits for what the other inserts
    ON CONFLICT (id) DO NOTHING
    RETURNING 1
),
queued AS (
    INSERT INTO remit.turn (subscription, lane, seq, event)
    SELECT subscription, lane, seq, event_id FROM wanted WHERE ordered ORDER BY seq, subscription
    ON CONFLICT DO NOTHING
),
set_aside AS (
    UPDATE remit.event SET state = 'unknown'
    WHERE event.id = ANY (ARRAY(SELECT id FROM due WHERE NOT known))
    RETURNING 1
),
marked AS (
    UPDATE remit.event
    SET state = 'dispatched', dispatched_at = clock.now, error = NULL,
        due_at = clock.now + coalesce(event.keep, :keep::double precision) * interval '1 second',
        deliveries = ((SELECT jsonb_object_agg(id, cardinality(listeners)) FROM chosen) ->> event.id::text)::integer
    FROM clock
    WHERE event.id = ANY (ARRAY(SELECT id FROM taken))
    RETURNING 1
)
SELECT
    (SELECT count(*) FROM due), (SELECT count(*) FROM marked), (SELECT count(*) FROM sent),
    (
        SELECT json_agg(json_build_array(subscription, lane::text))::text
        FROM (SELECT DISTINCT subscription, lane FROM wanted WHERE ordered) AS touched
    ),
    (SELECT count(*) FROM set_aside),
    CASE WHEN EXISTS (SELECT FROM sent) AND NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
        THEN pg_notify(:channel::text, 'jobs') END IS NOT NULL;

-- name: release
-- Moves lanes on: where the delivery that was released has ended, its turn goes, and the next one becomes a job. One row
-- of each lane is locked, in order, and waited for: who asks has seen a reason that the holder may not have seen. A job
-- that is not there may be one that our snapshot does not show yet; that it ended is told by what is left of it, or by its
-- event, which was purged. A turn that came to a subscription while it was retired just goes.
WITH clock AS MATERIALIZED (SELECT remit.clock(:now::bigint) AS now),
asked AS MATERIALIZED (
    SELECT (pair ->> 0)::uuid AS subscription, (pair ->> 1)::bigint AS lane
    FROM json_array_elements(:lanes::json) AS asked (pair)
    ORDER BY 1, 2
),
head AS MATERIALIZED (
    SELECT first.* FROM asked CROSS JOIN LATERAL (
        SELECT turn.subscription, turn.lane, turn.seq, turn.event, turn.released FROM remit.turn
        WHERE turn.subscription = asked.subscription AND turn.lane = asked.lane AND turn.seq = coalesce(
            (
                SELECT seq FROM remit.turn AS one
                WHERE one.subscription = asked.subscription AND one.lane = asked.lane AND one.released
            ),
            (SELECT min(seq) FROM remit.turn AS one WHERE one.subscription = asked.subscription AND one.lane = asked.lane)
        )
        FOR UPDATE
    ) AS first
),
ended AS MATERIALIZED (
    SELECT head.* FROM head JOIN remit.subscription ON subscription.id = head.subscription
    WHERE NOT head.released AND subscription.retired_at IS NOT NULL OR head.released AND (
        EXISTS (
            SELECT FROM remit.job
            WHERE job.id = remit.derived_id(head.event, head.subscription) AND job.finished_at IS NOT NULL
                AND (job.state <> 'dead' OR job.deleted_at IS NOT NULL OR subscription.on_dead = 'pass')
        )
        OR EXISTS (
            SELECT FROM remit.delivery WHERE delivery.event = head.event AND delivery.subscription = head.subscription
        )
        OR NOT EXISTS (SELECT FROM remit.event WHERE event.id = head.event)
    )
),
next AS MATERIALIZED (
    SELECT head.* FROM head WHERE NOT head.released
    UNION ALL
    SELECT following.* FROM ended CROSS JOIN LATERAL (
        SELECT turn.subscription, turn.lane, turn.seq, turn.event, turn.released FROM remit.turn
        WHERE turn.subscription = ended.subscription AND turn.lane = ended.lane AND turn.seq <> ended.seq
        ORDER BY turn.seq LIMIT 1
    ) AS following
),
gone AS (
    DELETE FROM remit.turn USING ended
    WHERE turn.subscription = ended.subscription AND turn.lane = ended.lane AND turn.seq = ended.seq
    RETURNING 1
),
free AS MATERIALIZED (
    SELECT next.seq AS turn_seq, next.lane AS turn_lane, next.event, subscription.* FROM next
    JOIN remit.subscription
        ON subscription.id = next.subscription AND filling_since IS NULL AND retired_at IS NULL
),
sent AS (
    INSERT INTO remit.job (
        id, line, state, run_at, created_at, expires_at, event_id, subscription, correlation, causation, hops, version,
        priority, attempts, domain, queue, name, encoding, keep, scope, traceparent
    )
    SELECT
        remit.derived_id(event.id, free.id), free.line | event.version, 'ready', clock.now, clock.now,
        clock.now + free.expires * interval '1 second', event.id, free.id,
        coalesce(event.correlation, event.id), event.id, event.hops, event.version, free.priority, free.attempts,
        free.domain, free.queue, free.name, event.encoding, free.keep, event.scope, event.traceparent
    FROM free JOIN remit.event ON event.id = free.event CROSS JOIN clock
    ON CONFLICT (id) DO NOTHING
    RETURNING id
),
marked AS (
    UPDATE remit.turn SET released = true FROM free
    WHERE turn.subscription = free.id AND turn.lane = free.turn_lane AND turn.seq = free.turn_seq
        AND (SELECT count(*) FROM gone) >= 0  -- after it: one of a lane is released
)
SELECT (SELECT count(*) FROM sent), (SELECT count(*) FROM ended), CASE
    WHEN EXISTS (SELECT FROM sent) AND NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
        THEN pg_notify(:channel::text, 'jobs') END IS NOT NULL;

-- name: lanes
-- Lanes after the given one, in order, by a skip scan; and whether one can move on, as far as this snapshot shows.
WITH RECURSIVE waiting (subscription, lane, place) AS (
    (
        SELECT turn.subscription, turn.lane, 1 FROM remit.turn
        WHERE (turn.subscription, turn.lane) > (:subscription::uuid, :lane::bigint)
        ORDER BY turn.subscription, turn.lane LIMIT 1
    )
    UNION ALL
    SELECT following.subscription, following.lane, waiting.place + 1
    FROM waiting CROSS JOIN LATERAL (
        SELECT turn.subscription, turn.lane FROM remit.turn
        WHERE (turn.subscription, turn.lane) > (waiting.subscription, waiting.lane)
        ORDER BY turn.subscription, turn.lane LIMIT 1
    ) AS following
    WHERE waiting.place < :limit::integer
)
SELECT
    waiting.subscription::text, waiting.lane, CASE
        WHEN released.event IS NULL THEN subscription.filling_since IS NULL
        WHEN job.id IS NULL THEN EXISTS (
            SELECT FROM remit.delivery
            WHERE delivery.event = released.event AND delivery.subscription = waiting.subscription
        ) OR NOT EXISTS (SELECT FROM remit.event WHERE event.id = released.event)
        ELSE job.finished_at IS NOT NULL
            AND (job.state <> 'dead' OR job.deleted_at IS NOT NULL OR subscription.on_dead = 'pass')
    END
FROM waiting
JOIN remit.subscription ON subscription.id = waiting.subscription
LEFT JOIN remit.turn AS released
    ON released.subscription = waiting.subscription AND released.lane = waiting.lane AND released.released
LEFT JOIN remit.job ON job.id = remit.derived_id(released.event, waiting.subscription)
ORDER BY waiting.place;

-- name: pending
-- The events that a dispatch would take, and the seconds until the next is due.
SELECT id::text, least(
    extract(epoch FROM due_at - remit.clock(:now::bigint)), CASE WHEN attempts = 0 THEN 0 END
)::double precision
FROM remit.outstanding ORDER BY due_at, seq LIMIT :limit::integer;

-- name: fail
-- A fan-out that failed: noted in a transaction of its own, dead after so many.
WITH event AS MATERIALIZED (SELECT id, state AS was FROM remit.event WHERE id = :id::uuid FOR NO KEY UPDATE)
UPDATE remit.event AS target
SET attempts = attempts + 1, error = :error::text,
    state = CASE WHEN attempts + 1 >= :most::integer THEN 'dead' ELSE 'pending' END,
    due_at = remit.clock(:now::bigint) + :delay::double precision * interval '1 second'
FROM event WHERE target.id = event.id AND was = 'pending'
RETURNING state, attempts, name;

-- name: recognise
-- Gives the relay what it had set aside and what somebody has declared since, in its old place.
WITH known AS MATERIALIZED (
    SELECT id FROM remit.event
    WHERE state = 'unknown' AND EXISTS (
        SELECT FROM remit.event_type AS type WHERE type.name = event.name AND type.version = event.version
    )
    ORDER BY lane, seq
    LIMIT :limit::integer
    FOR NO KEY UPDATE SKIP LOCKED
),
done AS (UPDATE remit.event SET state = 'pending' FROM known WHERE event.id = known.id RETURNING 1)
SELECT (SELECT count(*) FROM done), CASE WHEN EXISTS (SELECT FROM done)
    AND NOT pg_try_advisory_xact_lock_shared(:gate::bigint) THEN pg_notify(:channel::text, 'events') END IS NOT NULL;

-- name: unknown
-- What waits for somebody who declares it.
SELECT name, version, count(*) FROM remit.event WHERE state = 'unknown' GROUP BY name, version ORDER BY name, version;

-- name: lock_subscriptions
-- Two that declare at once come one after the other, so that each sees what the other entered. Reads go on.
SELECT pg_advisory_xact_lock(:gate::bigint + 1);

-- name: declare_events
-- Makes events known to the relay: in the transaction that enters the subscriptions which hear them.
INSERT INTO remit.event_type (name, version, former)
SELECT name, version, former::text
FROM json_to_recordset(:events::json) AS declared (name text, version integer, former json)
ON CONFLICT (name, version) DO UPDATE SET former = excluded.former
WHERE excluded.former IS NOT NULL AND event_type.former IS DISTINCT FROM excluded.former;

-- name: declare
-- Enters what is missing. A row whose declaration was never seen before goes forward to it; one that it had before, or
-- one by a name that it had before, is an old worker's, which changes nothing, unless a person asks for it. Who declares
-- the row's present name too has given the old one to another subscription.
WITH declared AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:subscriptions::json) AS declared (
        id uuid, name text, aliases json, line bigint, attempts integer, priority smallint, domain text, queue text,
        events text, condition text, ordered_by text, on_dead text, stale_after double precision,
        expires double precision, keep double precision, fingerprint text
    )
),
known AS MATERIALIZED (
    SELECT DISTINCT ON (declared.name) declared.name AS declared_name, subscription.id, subscription.name
    FROM declared JOIN remit.subscription
        ON subscription.name = declared.name
        OR subscription.name IN (SELECT json_array_elements_text(declared.aliases))
        OR declared.name IN (SELECT json_array_elements_text(subscription.former::json))
            AND subscription.name NOT IN (SELECT name FROM declared)
    ORDER BY declared.name, subscription.name = declared.name DESC
),
entered AS (
    INSERT INTO remit.subscription (
        id, name, former, line, attempts, priority, domain, queue, events, condition, ordered_by, on_dead, stale_after,
        expires, keep, fingerprint, created_at
    )
    SELECT
        id, name, aliases::text, line, attempts, priority, domain, queue, events, condition, ordered_by, on_dead,
        stale_after, expires, keep, fingerprint, remit.clock(:now::bigint)
    FROM declared WHERE name NOT IN (SELECT declared_name FROM known)
    ON CONFLICT DO NOTHING
    RETURNING name
),
changed AS (
    UPDATE remit.subscription
    SET name = declared.name,
        former = CASE WHEN subscription.name = declared.name THEN subscription.former
            ELSE (subscription.former::jsonb || to_jsonb(subscription.name))::text END,
        line = declared.line, attempts = declared.attempts, priority = declared.priority, domain = declared.domain,
        queue = declared.queue, events = declared.events, condition = declared.condition,
        ordered_by = declared.ordered_by, on_dead = declared.on_dead, stale_after = declared.stale_after,
        expires = declared.expires, keep = declared.keep, fingerprint = declared.fingerprint,
        past = (subscription.past::jsonb - declared.fingerprint || to_jsonb(subscription.fingerprint))::text,
        revision = subscription.revision + 1, retired_at = NULL
    FROM declared JOIN known ON known.declared_name = declared.name
    WHERE subscription.id = known.id
        AND (subscription.fingerprint <> declared.fingerprint OR subscription.retired_at IS NOT NULL)
        AND (:force::boolean OR subscription.retired_at IS NULL
            AND NOT subscription.past::jsonb ? declared.fingerprint
            AND (subscription.name = declared.name
                OR subscription.name IN (SELECT json_array_elements_text(declared.aliases))))
    RETURNING subscription.name
)
SELECT name, 'entered' FROM entered UNION ALL SELECT name, 'changed' FROM changed;

-- name: subscriptions
SELECT
    id::text, name, former, domain, queue, events, condition, ordered_by, on_dead, stale_after, attempts, priority,
    expires, keep, revision, fingerprint, remit.micros(created_at), remit.micros(filling_since),
    remit.micros(retired_at)
FROM remit.subscription ORDER BY name;

-- name: called
-- A subscription that has this name, or had it.
SELECT name, former FROM remit.subscription
WHERE name = :name::text OR former::jsonb ? :name::text
ORDER BY name <> :name::text
LIMIT 1;

-- name: declarations
-- Which declaration holds, of each subscription that is not retired.
SELECT name, former, fingerprint, past, revision FROM remit.subscription WHERE retired_at IS NULL ORDER BY name;

-- name: deliveries_by_state
-- What is under way or dead, by subscription and state: how many, the age of the oldest in seconds, how many are stale.
SELECT
    subscription.name, waiting.state, count(*),
    max(extract(epoch FROM clock.now - waiting.since))::double precision,
    count(*) FILTER (WHERE clock.now - waiting.since > subscription.stale_after * interval '1 second')
FROM (
    SELECT subscription, state, created_at AS since FROM remit.job WHERE state = 'ready' AND subscription IS NOT NULL
    UNION ALL
    SELECT subscription, state, created_at FROM remit.job WHERE state = 'scheduled' AND subscription IS NOT NULL
    UNION ALL
    SELECT subscription, state, created_at FROM remit.job WHERE state = 'running' AND subscription IS NOT NULL
    UNION ALL
    SELECT subscription, state, created_at FROM remit.job
    WHERE state = 'dead' AND subscription IS NOT NULL AND deleted_at IS NULL
    UNION ALL
    SELECT turn.subscription, 'waiting', event.published_at
    FROM remit.turn JOIN remit.event ON event.id = turn.event
    WHERE NOT turn.released
) AS waiting
JOIN remit.subscription ON subscription.id = waiting.subscription
CROSS JOIN (SELECT remit.clock(:now::bigint) AS now) AS clock
GROUP BY subscription.name, waiting.state;

-- name: retire
-- Delivers nothing more. What is under way ends; turns that were not released go.
WITH retired AS (
    UPDATE remit.subscription SET retired_at = coalesce(retired_at, remit.clock(:now::bigint))
    WHERE name = :name::text RETURNING id
),
gone AS (
    DELETE FROM remit.turn USING retired WHERE turn.subscription = retired.id AND NOT turn.released
    RETURNING 1
)
SELECT id::text, (SELECT count(*) FROM gone) FROM retired;

-- name: delivering
-- Who reads subscriptions and writes jobs, told by the locks on the tables: taken before the snapshot, held to the end.
-- A table is found by the type of its rows, since its name stands in no literal.
SELECT reading.virtualtransaction
FROM pg_locks AS reading JOIN pg_locks AS writing ON writing.virtualtransaction = reading.virtualtransaction
WHERE reading.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND reading.relation = (SELECT typrelid FROM pg_type WHERE oid = pg_typeof(NULL::remit.subscription)::oid)
    AND writing.relation = (SELECT typrelid FROM pg_type WHERE oid = pg_typeof(NULL::remit.job)::oid)
    AND writing.mode = 'RowExclusiveLock';

-- name: cancellable
-- Deliveries of a retired subscription that wait, or run and were not asked to stop, in one look. Ready ones stand in
-- lines of its names: by a skip scan, each line is known by the name of its first job. The others are gone through.
WITH RECURSIVE retired AS MATERIALIZED (
    SELECT id, former::jsonb || to_jsonb(name) AS names FROM remit.subscription
    WHERE id = :subscription::uuid AND retired_at IS NOT NULL
),
ready (line) AS (
    (SELECT line FROM remit.job WHERE state = 'ready' ORDER BY line LIMIT 1)
    UNION ALL
    SELECT (SELECT job.line FROM remit.job WHERE state = 'ready' AND job.line > ready.line ORDER BY job.line LIMIT 1)
    FROM ready WHERE ready.line IS NOT NULL
),
own AS MATERIALIZED (
    SELECT ready.line FROM ready CROSS JOIN retired CROSS JOIN LATERAL (
        SELECT name FROM remit.job
        WHERE state = 'ready' AND job.line = ready.line ORDER BY priority, lane, run_at, id LIMIT 1
    ) AS head
    WHERE retired.names ? head.name
)
SELECT id::text FROM (
    SELECT waiting.id FROM own CROSS JOIN LATERAL (
        SELECT id FROM remit.job
        WHERE state = 'ready' AND job.line = own.line AND subscription = :subscription::uuid
        OFFSET 0
    ) AS waiting
    UNION ALL
    SELECT id FROM remit.job WHERE state = 'scheduled' AND subscription = (SELECT id FROM retired)
    UNION ALL
    SELECT id FROM remit.job WHERE state = 'running' AND subscription = (SELECT id FROM retired) AND cancel_at IS NULL
) AS open
LIMIT :limit::integer;

-- name: outbox
-- How many events wait for the relay, the age of the oldest in seconds, how many are dead, how many are unknown.
SELECT
    (SELECT count(*) FROM remit.event WHERE state = 'pending'),
    (
        SELECT extract(epoch FROM remit.clock(:now::bigint) - min(published_at))::double precision
        FROM remit.event WHERE state = 'pending'
    ),
    (SELECT count(*) FROM remit.event WHERE state = 'dead'),
    (SELECT count(*) FROM remit.event WHERE state = 'unknown');

-- name: get_event
SELECT
    id::text, name, version, domain, state, remit.micros(occurred_at), remit.micros(published_at),
    remit.micros(dispatched_at), encoding, payload, scope, correlation::text, causation::text, traceparent, deliveries,
    attempts, error
FROM remit.event WHERE id = :id::uuid;

-- name: list_events
-- Newest first, paged by key.
SELECT
    id::text, name, version, domain, state, remit.micros(occurred_at), remit.micros(published_at),
    remit.micros(dispatched_at), encoding, payload, scope, correlation::text, causation::text, traceparent, deliveries,
    attempts, error
FROM remit.event
WHERE (:state::text IS NULL OR state = :state::text)
    AND (:domain::text IS NULL OR domain = :domain::text)
    AND (:names::text IS NULL OR name IN (SELECT json_array_elements_text(:names::json)))
    AND (:after::uuid IS NULL OR id < :after::uuid)
ORDER BY event.id DESC
LIMIT :limit::integer;

-- name: event_deliveries
-- The state of every delivery of an event: of its job, of what is left of it, or of its turn.
SELECT
    subscription.name, coalesce(job.state, delivery.state, CASE WHEN turn.event IS NOT NULL THEN 'waiting' END),
    job.id::text, job.failures, remit.micros(coalesce(job.finished_at, delivery.finished_at)), job.reason
FROM remit.event
CROSS JOIN remit.subscription
LEFT JOIN remit.job ON job.id = remit.derived_id(event.id, subscription.id)
LEFT JOIN remit.delivery ON delivery.event = event.id AND delivery.subscription = subscription.id
LEFT JOIN remit.turn
    ON turn.subscription = subscription.id AND turn.lane = event.lane AND turn.seq = event.seq AND NOT turn.released
WHERE event.id = :id::uuid AND (job.id IS NOT NULL OR delivery.event IS NOT NULL OR turn.event IS NOT NULL)
ORDER BY subscription.name;

-- name: retry_event
-- A dead event, or one that waits after a failure, goes to the relay again, in its old place: before what stands behind
-- it. Whoever repeats this finds it pending.
WITH event AS MATERIALIZED (SELECT id, state AS was FROM remit.event WHERE id = :id::uuid FOR UPDATE),
done AS (
    UPDATE remit.event AS target SET state = 'pending', attempts = 0, due_at = published_at
    FROM event WHERE target.id = event.id AND was IN ('pending', 'dead')
    RETURNING 1
)
SELECT was, CASE WHEN EXISTS (SELECT FROM done) AND NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
    THEN pg_notify(:channel::text, 'events') END IS NOT NULL
FROM event;

-- name: begin_filling
-- Of several at once the one that began last lets go what was held.
UPDATE remit.subscription SET filling_since = remit.clock(:now::bigint), filling = :filling::text
WHERE name = :name::text AND retired_at IS NULL
RETURNING id::text, name, (
    SELECT json_agg(name)::text FROM (
        SELECT json_array_elements_text(events::json)
        UNION
        SELECT event FROM remit.hearing WHERE hearing.subscription = subscription.id
    ) AS heard (name)
), remit.micros(filling_since), filling;

-- name: fillings
-- The back-fills that go on, or that nobody has ended.
SELECT id::text, name, (
    SELECT json_agg(name)::text FROM (
        SELECT json_array_elements_text(events::json)
        UNION
        SELECT event FROM remit.hearing WHERE hearing.subscription = subscription.id
    ) AS heard (name)
), remit.micros(filling_since), filling
FROM remit.subscription WHERE filling_since IS NOT NULL AND retired_at IS NULL ORDER BY name;

-- name: note_filling
-- How far a back-fill has come. It changes with each note, so that whoever watches sees that it goes on.
UPDATE remit.subscription SET filling = :filling::text
WHERE id = :subscription::uuid AND remit.micros(filling_since) = :begun::bigint
RETURNING id::text;

-- name: end_filling
UPDATE remit.subscription SET filling_since = NULL, filling = NULL
WHERE id = :subscription::uuid AND remit.micros(filling_since) = :begun::bigint
RETURNING id::text;

-- name: count_log
SELECT count(*) FROM remit.event
WHERE name IN (SELECT json_array_elements_text(:names::json))
    AND (:since::bigint IS NULL OR published_at >= 'epoch'::timestamptz + :since::bigint * interval '1 microsecond')
    AND (:until::bigint IS NULL OR published_at < 'epoch'::timestamptz + :until::bigint * interval '1 microsecond');

-- name: next_to_fill
SELECT log.id::text, log.name, log.seq FROM json_array_elements_text(:names::json) AS heard (name) CROSS JOIN LATERAL (
    SELECT id, event.name, seq FROM remit.event
    WHERE event.name = heard.name AND seq > :after::bigint
        AND (:since::bigint IS NULL OR published_at >= 'epoch'::timestamptz + :since::bigint * interval '1 microsecond')
        AND (:until::bigint IS NULL OR published_at < 'epoch'::timestamptz + :until::bigint * interval '1 microsecond')
    ORDER BY seq
    LIMIT 1
) AS log
ORDER BY log.seq
LIMIT 1;

-- name: fill
-- One batch of a back-fill: the events of the log that come next, dispatched or not. The relay alone dispatches what is
-- unknown, and for an ordered subscription what is not dispatched yet: earlier ones of its lane may be among it. What
-- was delivered before, or is under way, stays as it is; what died and was pruned is delivered again, and what was left
-- of it goes, since a lane would take it for the end of the new delivery. The lock keeps the event pruner from an event that
-- gets a delivery here. OFFSET 0 keeps the planner from reading all deliveries there are.
WITH clock AS MATERIALIZED (SELECT remit.clock(:now::bigint) AS now),
listener AS MATERIALIZED (SELECT * FROM remit.subscription WHERE id = :subscription::uuid AND retired_at IS NULL),
page AS MATERIALIZED (
    SELECT log.* FROM json_array_elements_text(:names::json) AS heard (name) CROSS JOIN LATERAL (
        SELECT * FROM remit.event
        WHERE event.name = heard.name AND seq > :after::bigint
            AND (:since::bigint IS NULL OR published_at >= 'epoch'::timestamptz + :since::bigint * interval '1 microsecond')
            AND (:until::bigint IS NULL OR published_at < 'epoch'::timestamptz + :until::bigint * interval '1 microsecond')
        ORDER BY seq
        LIMIT :limit::integer
        FOR KEY SHARE
    ) AS log
    ORDER BY log.seq
    LIMIT :limit::integer
),
wanted AS MATERIALIZED (
    SELECT page.*, listener.ordered_by IS NOT NULL AND page.lane IS NOT NULL AS ordered FROM page, listener
    WHERE (page.state = 'dispatched'
            OR page.state <> 'unknown' AND (listener.ordered_by IS NULL OR page.lane IS NULL))
        AND (listener.condition IS NULL OR remit.meets(page.payload, listener.condition, page.version))
        AND NOT EXISTS (
            SELECT FROM remit.delivery
            WHERE delivery.event = page.id AND delivery.subscription = listener.id
                AND delivery.state IN ('completed', 'skipped')
            OFFSET 0
        )
        AND NOT EXISTS (SELECT FROM remit.job WHERE job.id = remit.derived_id(page.id, listener.id) OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM remit.turn
            WHERE turn.subscription = listener.id AND turn.lane = page.lane AND turn.seq = page.seq
            OFFSET 0
        )
),
forgotten AS (
    DELETE FROM remit.delivery USING wanted, listener
    WHERE delivery.event = wanted.id AND delivery.subscription = listener.id
),
sent AS (
    INSERT INTO remit.job (
        id, line, state, run_at, created_at, expires_at, event_id, subscription, correlation, causation, hops, version,
        priority, attempts, domain, queue, name, encoding, keep, scope, traceparent
    )
    SELECT
        remit.derived_id(wanted.id, listener.id), listener.line | wanted.version, 'ready', clock.now, clock.now,
        clock.now + listener.expires * interval '1 second', wanted.id, listener.id,
        coalesce(wanted.correlation, wanted.id), wanted.id, wanted.hops, wanted.version, listener.priority,
        listener.attempts,
        listener.domain, listener.queue, listener.name, wanted.encoding, listener.keep, wanted.scope, wanted.traceparent
    FROM wanted, listener, clock
    WHERE NOT wanted.ordered
    ORDER BY wanted.seq
    ON CONFLICT (id) DO NOTHING
    RETURNING 1
),
queued AS (
    INSERT INTO remit.turn (subscription, lane, seq, event)
    SELECT listener.id, wanted.lane, wanted.seq, wanted.id FROM wanted, listener WHERE wanted.ordered ORDER BY wanted.seq
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT
    (SELECT count(*) FROM page), (SELECT max(seq) FROM page),
    (SELECT count(*) FROM sent) + (SELECT count(*) FROM queued),
    CASE WHEN EXISTS (SELECT FROM sent) AND NOT pg_try_advisory_xact_lock_shared(:gate::bigint)
        THEN pg_notify(:channel::text, 'jobs') END IS NOT NULL;

-- name: purge_events
-- One small batch of events whose time may be over. It is when the last delivery has ended and the keep has passed since;
-- then any other is looked at again. A dead delivery still needs its event. Waits for nobody: a pruner waits for it.
WITH clock AS MATERIALIZED (SELECT remit.clock(:now::bigint) AS now),
due AS MATERIALIZED (
    SELECT id, seq, lane, dispatched_at, keep FROM remit.event
    WHERE state = 'dispatched' AND due_at <= (SELECT now FROM clock)
    ORDER BY due_at
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
),
judged AS MATERIALIZED (
    SELECT
        due.id, coalesce(due.keep, :keep::double precision) * interval '1 second' AS keep,
        greatest(due.dispatched_at, max(job.finished_at), max(delivery.finished_at)) AS completed_at,
        coalesce(bool_or(
            job.id IS NOT NULL AND job.finished_at IS NULL OR job.state = 'dead' OR turn.event IS NOT NULL
        ), false) AS open
    FROM due
    LEFT JOIN remit.subscription ON true
    LEFT JOIN remit.job ON job.id = remit.derived_id(due.id, subscription.id)
    LEFT JOIN remit.delivery ON delivery.event = due.id AND delivery.subscription = subscription.id
    LEFT JOIN remit.turn
        ON turn.subscription = subscription.id AND turn.lane = due.lane AND turn.seq = due.seq AND NOT turn.released
    GROUP BY due.id, due.keep, due.dispatched_at
),
gone AS (
    DELETE FROM remit.event USING judged, clock
    WHERE event.id = judged.id AND NOT judged.open AND judged.completed_at + judged.keep <= clock.now
        AND NOT remit.is_needed(event.id)  -- now that it is locked: a back-fill may have been here since our snapshot
    RETURNING event.*, clock.now
),
archived AS (
    INSERT INTO remit.event_archive
    SELECT id, published_at, occurred_at, now, correlation, causation, version, deliveries, domain, name, encoding,
        payload, scope, traceparent
    FROM gone WHERE :archive::boolean
    ON CONFLICT DO NOTHING
),
postponed AS (
    UPDATE remit.event
    SET due_at = greatest(
        judged.completed_at + judged.keep,
        CASE WHEN judged.open THEN clock.now + :again::double precision * interval '1 second' END
    )
    FROM judged, clock
    WHERE event.id = judged.id AND (judged.open OR judged.completed_at + judged.keep > clock.now)
)
SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM gone);

-- name: purge_archive
WITH clock AS MATERIALIZED (SELECT remit.clock(:now::bigint) AS now),
old AS MATERIALIZED (
    SELECT id FROM remit.event_archive
    WHERE archived_at < (SELECT now FROM clock) - :age::double precision * interval '1 second'
    ORDER BY archived_at LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
)
DELETE FROM remit.event_archive USING old WHERE event_archive.id = old.id RETURNING 1;
