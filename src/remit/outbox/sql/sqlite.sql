-- Events on SQLite: one writer at a time, so the immediate transaction is the lock. A name may hold a short script, run in
-- one transaction with the same parameters; the first of its statements that returns rows gives the result. The function
-- remit_derived_id is registered on remit's own connections; publish, which runs on a caller's, does without. Temporary
-- tables hold what several statements of a script look at; they are in memory. CROSS JOIN keeps the order of a join: from
-- them to the log, never the other way.

-- name: publish
-- No row comes back from a store that is not ours. :lanes is for stores where writers do not exclude each other.
INSERT INTO remit_event (
    id, lane, due_at, published_at, occurred_at, correlation, causation, hops, version, domain, name, encoding,
    payload, keep, scope, traceparent
)
SELECT
    e.value ->> 'id', e.value ->> 'lane', :now, :now, coalesce(e.value ->> 'occurred_at', :now),
    e.value ->> 'correlation', e.value ->> 'causation', e.value ->> 'hops', e.value ->> 'version',
    e.value ->> 'domain', e.value ->> 'name',
    e.value ->> 'encoding', e.value ->> 'payload', e.value ->> 'keep', e.value ->> 'scope', e.value ->> 'traceparent'
FROM remit_meta CROSS JOIN json_each(:events) AS e
WHERE store = :store AND :lanes IS NOT NULL
ON CONFLICT (id) DO NOTHING;
SELECT changes(), 1 FROM remit_meta WHERE store = :store;

-- name: publish_one
-- The same for one event, in plain parameters. No row comes back where the id is there already, either; `stored`
-- tells the two apart.
INSERT INTO remit_event (
    id, lane, due_at, published_at, occurred_at, correlation, causation, hops, version, domain, name, encoding,
    payload, keep, scope, traceparent
)
SELECT
    :id, :lane, :now, :now, coalesce(:occurred_at, :now), :correlation, :causation, :hops, :version, :domain, :name,
    :encoding, :payload, :keep, :scope, :traceparent
FROM remit_meta
WHERE store = :store
ON CONFLICT (id) DO NOTHING
RETURNING 1;

-- name: stored
-- The events that have some ids already. One row at the least, and none from a store that is not the one that is meant.
SELECT event.id, event.name, event.payload
FROM remit_meta LEFT JOIN remit_event AS event ON event.id IN (SELECT value FROM json_each(:ids))
WHERE store = coalesce(:store, store);

-- name: dispatch
-- Takes a batch of events, or some of them by name, and makes the deliveries of each: a job for every subscription that
-- wants it, or a turn where the subscription is ordered. An event that nobody has declared here is set aside: those who
-- listen to it may not have been here yet. What stands behind a failed or an unknown one of its lane is not outstanding,
-- and an ordered event waits while an earlier one of its lane is not in the batch.
CREATE TEMP TABLE IF NOT EXISTS remit_due (seq INTEGER PRIMARY KEY, lane INTEGER, known INTEGER);
CREATE TEMP TABLE IF NOT EXISTS remit_taken (seq INTEGER PRIMARY KEY);
CREATE TEMP TABLE IF NOT EXISTS remit_listener (
    name TEXT, subscription TEXT, PRIMARY KEY (name, subscription)
) WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS remit_wanted (
    seq INTEGER, subscription TEXT, ordered INTEGER, PRIMARY KEY (seq, subscription)
) WITHOUT ROWID;
DELETE FROM temp.remit_due;
INSERT INTO temp.remit_due (seq, lane, known)
SELECT seq, lane, EXISTS (
    SELECT 1 FROM remit_event_type AS type
    WHERE type.name = remit_outstanding.name AND type.version = remit_outstanding.version
)
FROM remit_outstanding
WHERE (attempts = 0 OR due_at <= :now)  -- a clock that steps back delays nothing that is new
    AND (:only IS NULL OR id IN (SELECT value FROM json_each(:only)))
ORDER BY due_at, seq
LIMIT :limit;
DELETE FROM temp.remit_taken;
INSERT INTO temp.remit_taken (seq)
SELECT seq FROM temp.remit_due WHERE lane IS NULL AND known
UNION ALL
SELECT seq FROM (
    SELECT event.seq,
        min(event.seq IN (SELECT seq FROM temp.remit_due WHERE known))
            OVER (PARTITION BY event.lane ORDER BY event.seq) AS free
    FROM (SELECT lane, max(seq) AS last FROM temp.remit_due WHERE lane IS NOT NULL GROUP BY lane) AS due_lane
    CROSS JOIN remit_event AS event
        ON event.lane = due_lane.lane AND event.seq <= due_lane.last AND event.state = 'pending'
) AS standing
WHERE free;
DELETE FROM temp.remit_listener;
INSERT INTO temp.remit_listener (name, subscription)
SELECT event, subscription FROM remit_hearing
WHERE event IN (
    SELECT event.name FROM temp.remit_taken AS taken CROSS JOIN remit_event AS event ON event.seq = taken.seq
);
DELETE FROM temp.remit_wanted;
INSERT INTO temp.remit_wanted (seq, subscription, ordered)
SELECT event.seq, subscription.id, subscription.ordered_by IS NOT NULL AND event.lane IS NOT NULL
FROM temp.remit_taken AS taken
CROSS JOIN remit_event AS event ON event.seq = taken.seq
CROSS JOIN temp.remit_listener AS listener ON listener.name = event.name
CROSS JOIN remit_subscription AS subscription ON subscription.id = listener.subscription
WHERE (subscription.condition IS NULL OR NOT EXISTS (
        SELECT 1 FROM json_each(subscription.condition, '$."' || event.version || '"') AS field
        WHERE NOT EXISTS (
            SELECT 1 FROM json_each(field.value) AS allowed
            WHERE allowed.value = coalesce(event.payload -> ('$."' || field.key || '"'), '')
        )
    ))
    AND NOT EXISTS (  -- a back-fill was faster, and the pruner too
        SELECT 1 FROM remit_delivery AS delivery
        WHERE delivery.event = event.id AND delivery.subscription = subscription.id
    );
INSERT INTO remit_job (
    id, line, state, run_at, created_at, expires_at, event_id, subscription, correlation, causation, hops, version,
    priority, attempts, domain, queue, name, encoding, keep, scope, traceparent
)
SELECT
    remit_derived_id(event.id, subscription.id), subscription.line | event.version, 'ready', :now, :now,
    CAST(:now + subscription.expires * 1000000 AS INTEGER), event.id, subscription.id,
    coalesce(event.correlation, event.id), event.id, event.hops, event.version, subscription.priority,
    subscription.attempts,
    subscription.domain, subscription.queue, subscription.name, event.encoding, subscription.keep, event.scope,
    event.traceparent
FROM temp.remit_wanted AS wanted
CROSS JOIN remit_event AS event ON event.seq = wanted.seq
CROSS JOIN remit_subscription AS subscription ON subscription.id = wanted.subscription
WHERE NOT wanted.ordered
ON CONFLICT (id) DO NOTHING;
INSERT INTO remit_turn (subscription, lane, seq, event)
SELECT wanted.subscription, event.lane, event.seq, event.id
FROM temp.remit_wanted AS wanted CROSS JOIN remit_event AS event ON event.seq = wanted.seq
WHERE wanted.ordered
ON CONFLICT DO NOTHING;
UPDATE remit_event
SET state = 'dispatched', dispatched_at = :now, error = NULL,
    due_at = CAST(:now + coalesce(keep, :keep) * 1000000 AS INTEGER),
    deliveries = (SELECT count(*) FROM temp.remit_wanted AS wanted WHERE wanted.seq = remit_event.seq)
WHERE seq IN (SELECT seq FROM temp.remit_taken);
UPDATE remit_event SET state = 'unknown' WHERE seq IN (SELECT seq FROM temp.remit_due WHERE NOT known);
SELECT
    (SELECT count(*) FROM temp.remit_due), (SELECT count(*) FROM temp.remit_taken),
    (SELECT count(*) FROM temp.remit_wanted WHERE NOT ordered),
    (
        SELECT nullif(json_group_array(json_array(subscription, CAST(lane AS TEXT))), '[]') FROM (
            SELECT DISTINCT wanted.subscription, event.lane
            FROM temp.remit_wanted AS wanted CROSS JOIN remit_event AS event ON event.seq = wanted.seq
            WHERE wanted.ordered
        )
    ),
    (SELECT count(*) FROM temp.remit_due WHERE NOT known), 0;

-- name: release
-- Moves lanes on: where the delivery that was released has ended, its turn goes, and the next one becomes a job. That of
-- an event that was purged has ended; a turn that is left to a retired subscription just goes.
CREATE TEMP TABLE IF NOT EXISTS remit_ended (subscription TEXT, lane INTEGER, seq INTEGER);
CREATE TEMP TABLE IF NOT EXISTS remit_next (subscription TEXT, lane INTEGER, seq INTEGER, event TEXT);
DELETE FROM temp.remit_ended;
INSERT INTO temp.remit_ended (subscription, lane, seq)
SELECT turn.subscription, turn.lane, turn.seq
FROM json_each(:lanes) AS asked
CROSS JOIN remit_subscription AS subscription ON subscription.id = (asked.value ->> 0)
CROSS JOIN remit_turn AS turn
    ON turn.subscription = subscription.id AND turn.lane = CAST(asked.value ->> 1 AS INTEGER) AND turn.seq = coalesce(
        (
            SELECT seq FROM remit_turn AS one
            WHERE one.subscription = subscription.id AND one.lane = CAST(asked.value ->> 1 AS INTEGER) AND one.released
        ),
        (
            SELECT min(seq) FROM remit_turn AS one
            WHERE one.subscription = subscription.id AND one.lane = CAST(asked.value ->> 1 AS INTEGER)
        )
    )
WHERE NOT turn.released AND subscription.retired_at IS NOT NULL OR turn.released AND (
    EXISTS (
        SELECT 1 FROM remit_job AS job
        WHERE job.id = remit_derived_id(turn.event, turn.subscription) AND job.finished_at IS NOT NULL
            AND (job.state <> 'dead' OR job.deleted_at IS NOT NULL OR subscription.on_dead = 'pass')
    )
    OR EXISTS (
        SELECT 1 FROM remit_delivery AS delivery
        WHERE delivery.event = turn.event AND delivery.subscription = turn.subscription
    )
    OR NOT EXISTS (SELECT 1 FROM remit_event AS event WHERE event.id = turn.event)
);
DELETE FROM remit_turn
WHERE (subscription, lane, seq) IN (SELECT subscription, lane, seq FROM temp.remit_ended);
DELETE FROM temp.remit_next;
INSERT INTO temp.remit_next (subscription, lane, seq, event)
SELECT turn.subscription, turn.lane, turn.seq, turn.event
FROM json_each(:lanes) AS asked
CROSS JOIN remit_subscription AS subscription
    ON subscription.id = (asked.value ->> 0) AND filling_since IS NULL AND retired_at IS NULL
CROSS JOIN remit_turn AS turn
    ON turn.subscription = subscription.id AND turn.lane = CAST(asked.value ->> 1 AS INTEGER)
    AND turn.seq = (
        SELECT min(one.seq) FROM remit_turn AS one
        WHERE one.subscription = subscription.id AND one.lane = CAST(asked.value ->> 1 AS INTEGER)
    )
WHERE NOT EXISTS (
    SELECT 1 FROM remit_turn AS one WHERE one.subscription = turn.subscription AND one.lane = turn.lane AND one.released
);
INSERT INTO remit_job (
    id, line, state, run_at, created_at, expires_at, event_id, subscription, correlation, causation, hops, version,
    priority, attempts, domain, queue, name, encoding, keep, scope, traceparent
)
SELECT
    remit_derived_id(event.id, subscription.id), subscription.line | event.version, 'ready', :now, :now,
    CAST(:now + subscription.expires * 1000000 AS INTEGER), event.id, subscription.id,
    coalesce(event.correlation, event.id), event.id, event.hops, event.version, subscription.priority,
    subscription.attempts,
    subscription.domain, subscription.queue, subscription.name, event.encoding, subscription.keep, event.scope,
    event.traceparent
FROM temp.remit_next AS next
CROSS JOIN remit_event AS event ON event.id = next.event
CROSS JOIN remit_subscription AS subscription ON subscription.id = next.subscription
WHERE true
ON CONFLICT (id) DO NOTHING;
UPDATE remit_turn SET released = 1
WHERE (subscription, lane, seq) IN (SELECT subscription, lane, seq FROM temp.remit_next);
SELECT (SELECT count(*) FROM temp.remit_next), (SELECT count(*) FROM temp.remit_ended), 0;

-- name: lanes
-- Lanes after the given one, in order, by a skip scan; and whether one can move on.
WITH RECURSIVE waiting (subscription, lane, place) AS (
    SELECT subscription, lane, 1 FROM (
        SELECT subscription, lane FROM remit_turn WHERE (subscription, lane) > (:subscription, :lane)
        ORDER BY subscription, lane LIMIT 1
    )
    UNION ALL
    SELECT following.subscription, following.lane, waiting.place + 1
    FROM waiting JOIN remit_turn AS following
    WHERE waiting.place < :limit AND (following.subscription, following.lane, following.seq) = (
        SELECT turn.subscription, turn.lane, turn.seq FROM remit_turn AS turn
        WHERE (turn.subscription, turn.lane) > (waiting.subscription, waiting.lane)
        ORDER BY turn.subscription, turn.lane, turn.seq LIMIT 1
    )
)
SELECT
    waiting.subscription, waiting.lane, CASE
        WHEN released.event IS NULL THEN subscription.filling_since IS NULL
        WHEN job.id IS NULL THEN EXISTS (
            SELECT 1 FROM remit_delivery AS delivery
            WHERE delivery.event = released.event AND delivery.subscription = waiting.subscription
        ) OR NOT EXISTS (SELECT 1 FROM remit_event AS event WHERE event.id = released.event)
        ELSE job.finished_at IS NOT NULL
            AND (job.state <> 'dead' OR job.deleted_at IS NOT NULL OR subscription.on_dead = 'pass')
    END
FROM waiting
JOIN remit_subscription AS subscription ON subscription.id = waiting.subscription
LEFT JOIN remit_turn AS released
    ON released.subscription = waiting.subscription AND released.lane = waiting.lane AND released.released
LEFT JOIN remit_job AS job ON job.id = remit_derived_id(released.event, waiting.subscription)
ORDER BY waiting.place;

-- name: pending
-- The events that a dispatch would take, and the seconds until each is due.
SELECT id, CASE WHEN attempts = 0 THEN min(0.0, (due_at - :now) / 1000000.0) ELSE (due_at - :now) / 1000000.0 END
FROM remit_outstanding ORDER BY due_at, seq LIMIT :limit;

-- name: fail
-- A fan-out that failed: noted in a transaction of its own, dead after so many.
UPDATE remit_event
SET attempts = attempts + 1, error = :error,
    state = CASE WHEN attempts + 1 >= :most THEN 'dead' ELSE 'pending' END,
    due_at = CAST(:now + :delay * 1000000 AS INTEGER)
WHERE id = :id AND state = 'pending'
RETURNING state, attempts, name;

-- name: recognise
-- Gives the relay what it had set aside and what somebody has declared since, in its old place.
UPDATE remit_event SET state = 'pending'
WHERE seq IN (
    SELECT seq FROM remit_event AS event
    WHERE state = 'unknown' AND EXISTS (
        SELECT 1 FROM remit_event_type AS type WHERE type.name = event.name AND type.version = event.version
    )
    ORDER BY lane, seq
    LIMIT :limit
);
SELECT changes(), 0;

-- name: unknown
-- What waits for somebody who declares it.
SELECT name, version, count(*) FROM remit_event WHERE state = 'unknown' GROUP BY name, version ORDER BY name, version;

-- name: lock_subscriptions
-- There is one writer at a time.
SELECT 1;

-- name: declare_events
-- Makes events known to the relay: in the transaction that enters the subscriptions which hear them.
INSERT INTO remit_event_type (name, version, former)
SELECT value ->> 'name', value ->> 'version', value ->> 'former' FROM json_each(:events) WHERE true
ON CONFLICT (name, version) DO UPDATE SET former = excluded.former
WHERE excluded.former IS NOT NULL AND remit_event_type.former IS NOT excluded.former;

-- name: declare
-- Enters what is missing. A row whose declaration was never seen before goes forward to it; one that it had before, or
-- one by a name that it had before, is an old worker's, which changes nothing, unless a person asks for it. Who declares
-- the row's present name too has given the old one to another subscription.
CREATE TEMP TABLE IF NOT EXISTS remit_known (name TEXT, declared TEXT, subscription TEXT);
CREATE TEMP TABLE IF NOT EXISTS remit_changed (subscription TEXT, declared TEXT);
DELETE FROM temp.remit_known;
INSERT INTO temp.remit_known (name, declared) SELECT value ->> 'name', value FROM json_each(:subscriptions);
UPDATE temp.remit_known SET subscription = coalesce(
    (SELECT subscription.id FROM remit_subscription AS subscription WHERE subscription.name = remit_known.name),
    (
        SELECT subscription.id FROM remit_subscription AS subscription
        WHERE subscription.name IN (SELECT value FROM json_each(remit_known.declared, '$.aliases'))
            OR remit_known.name IN (SELECT value FROM json_each(subscription.former))
                AND subscription.name NOT IN (SELECT value ->> 'name' FROM json_each(:subscriptions))
        LIMIT 1
    )
);
DELETE FROM temp.remit_changed;
INSERT INTO temp.remit_changed (subscription, declared)
SELECT subscription.id, known.declared
FROM temp.remit_known AS known
JOIN remit_subscription AS subscription ON subscription.id = known.subscription
WHERE (subscription.fingerprint <> (known.declared ->> 'fingerprint') OR subscription.retired_at IS NOT NULL)
    AND (:force OR subscription.retired_at IS NULL
        AND (known.declared ->> 'fingerprint') NOT IN (SELECT value FROM json_each(subscription.past))
        AND (subscription.name = known.name
            OR subscription.name IN (SELECT value FROM json_each(known.declared, '$.aliases'))));
INSERT INTO remit_subscription (
    id, name, former, line, attempts, priority, domain, queue, events, condition, ordered_by, on_dead, stale_after,
    expires, keep, fingerprint, created_at
)
SELECT
    declared ->> 'id', declared ->> 'name', declared -> 'aliases', declared ->> 'line', declared ->> 'attempts',
    declared ->> 'priority', declared ->> 'domain', declared ->> 'queue', declared ->> 'events', declared ->> 'condition',
    declared ->> 'ordered_by', declared ->> 'on_dead', declared ->> 'stale_after', declared ->> 'expires',
    declared ->> 'keep', declared ->> 'fingerprint', :now
FROM temp.remit_known WHERE subscription IS NULL
ON CONFLICT DO NOTHING;
UPDATE remit_subscription
SET name = declared.value ->> 'name',
    former = CASE WHEN remit_subscription.name = (declared.value ->> 'name') THEN former
        ELSE json_insert(former, '$[#]', remit_subscription.name) END,
    line = declared.value ->> 'line', attempts = declared.value ->> 'attempts',
    priority = declared.value ->> 'priority', domain = declared.value ->> 'domain', queue = declared.value ->> 'queue',
    events = declared.value ->> 'events', condition = declared.value ->> 'condition',
    ordered_by = declared.value ->> 'ordered_by', on_dead = declared.value ->> 'on_dead',
    stale_after = declared.value ->> 'stale_after', expires = declared.value ->> 'expires',
    keep = declared.value ->> 'keep',
    past = (
        SELECT json_group_array(value) FROM (
            SELECT value FROM json_each(past) WHERE value <> (declared.value ->> 'fingerprint')
            UNION
            SELECT fingerprint
        )
    ),
    fingerprint = declared.value ->> 'fingerprint', revision = revision + 1, retired_at = NULL
FROM (SELECT subscription, declared AS value FROM temp.remit_changed) AS declared
WHERE remit_subscription.id = declared.subscription;
SELECT name, 'entered' FROM temp.remit_known WHERE subscription IS NULL
UNION ALL
SELECT declared ->> 'name', 'changed' FROM temp.remit_changed;

-- name: subscriptions
SELECT
    id, name, former, domain, queue, events, condition, ordered_by, on_dead, stale_after, attempts, priority, expires,
    keep, revision, fingerprint, created_at, filling_since, retired_at
FROM remit_subscription ORDER BY name;

-- name: called
-- A subscription that has this name, or had it.
SELECT name, former FROM remit_subscription
WHERE name = :name OR :name IN (SELECT value FROM json_each(former))
ORDER BY name <> :name
LIMIT 1;

-- name: declarations
-- Which declaration holds, of each subscription that is not retired.
SELECT name, former, fingerprint, past, revision FROM remit_subscription WHERE retired_at IS NULL ORDER BY name;

-- name: deliveries_by_state
-- What is under way or dead, by subscription and state: how many, the age of the oldest in seconds, how many are stale.
SELECT
    subscription.name, waiting.state, count(*), max(:now - waiting.since) / 1000000.0,
    count(*) FILTER (WHERE :now - waiting.since > subscription.stale_after * 1000000)
FROM (
    SELECT subscription, state, created_at AS since FROM remit_job WHERE state = 'ready' AND subscription IS NOT NULL
    UNION ALL
    SELECT subscription, state, created_at FROM remit_job WHERE state = 'scheduled' AND subscription IS NOT NULL
    UNION ALL
    SELECT subscription, state, created_at FROM remit_job WHERE state = 'running' AND subscription IS NOT NULL
    UNION ALL
    SELECT subscription, state, created_at FROM remit_job
    WHERE state IN ('skipped', 'cancelled', 'dead') AND state = 'dead' AND subscription IS NOT NULL AND deleted_at IS NULL
    UNION ALL
    SELECT turn.subscription, 'waiting', event.published_at
    FROM remit_turn AS turn JOIN remit_event AS event ON event.id = turn.event
    WHERE NOT turn.released
) AS waiting
JOIN remit_subscription AS subscription ON subscription.id = waiting.subscription
GROUP BY subscription.name, waiting.state;

-- name: retire
-- Delivers nothing more. What is under way ends; turns that were not released go.
SELECT subscription.id, (
    SELECT count(*) FROM remit_turn AS turn WHERE turn.subscription = subscription.id AND NOT turn.released
)
FROM remit_subscription AS subscription WHERE subscription.name = :name;
DELETE FROM remit_turn
WHERE NOT released AND subscription = (SELECT id FROM remit_subscription WHERE name = :name);
UPDATE remit_subscription SET retired_at = coalesce(retired_at, :now) WHERE name = :name;

-- name: delivering
-- There is one writer at a time, and it sees what the one before did.
SELECT NULL WHERE false;

-- name: cancellable
-- Deliveries of a retired subscription that wait, or run and were not asked to stop, in one look. Ready ones stand in
-- lines of its names: by a skip scan, each line is known by the name of its first job. The others are gone through.
WITH RECURSIVE retired AS MATERIALIZED (
    SELECT id, json_insert(former, '$[#]', name) AS names FROM remit_subscription
    WHERE id = :subscription AND retired_at IS NOT NULL
),
ready (line) AS (
    SELECT min(line) FROM remit_job WHERE state = 'ready'
    UNION ALL
    SELECT (SELECT min(remit_job.line) FROM remit_job WHERE state = 'ready' AND remit_job.line > ready.line)
    FROM ready WHERE ready.line IS NOT NULL
),
own AS MATERIALIZED (
    SELECT ready.line FROM ready CROSS JOIN remit_job AS head ON head.rowid = (
        SELECT rowid FROM remit_job WHERE state = 'ready' AND remit_job.line = ready.line
        ORDER BY priority, lane, run_at, id LIMIT 1
    )
    WHERE head.name IN (SELECT value FROM retired CROSS JOIN json_each(retired.names))
)
SELECT id FROM (
    SELECT job.id FROM own
    CROSS JOIN remit_job AS job ON job.line = own.line AND state = 'ready' AND subscription = :subscription
    UNION ALL
    SELECT id FROM remit_job WHERE state = 'scheduled' AND subscription = (SELECT id FROM retired)
    UNION ALL
    SELECT id FROM remit_job WHERE state = 'running' AND subscription = (SELECT id FROM retired) AND cancel_at IS NULL
)
LIMIT :limit;

-- name: outbox
-- How many events wait for the relay, the age of the oldest in seconds, how many are dead, how many are unknown.
SELECT
    (SELECT count(*) FROM remit_event WHERE state = 'pending'),
    (SELECT (:now - min(published_at)) / 1000000.0 FROM remit_event WHERE state = 'pending'),
    (SELECT count(*) FROM remit_event WHERE state = 'dead'),
    (SELECT count(*) FROM remit_event WHERE state = 'unknown');

-- name: get_event
SELECT
    id, name, version, domain, state, occurred_at, published_at, dispatched_at, encoding, payload, scope, correlation,
    causation, traceparent, deliveries, attempts, error
FROM remit_event WHERE id = :id;

-- name: list_events
-- Newest first, paged by key.
SELECT
    id, name, version, domain, state, occurred_at, published_at, dispatched_at, encoding, payload, scope, correlation,
    causation, traceparent, deliveries, attempts, error
FROM remit_event
WHERE (:state IS NULL OR state = :state)
    AND (:domain IS NULL OR domain = :domain)
    AND (:names IS NULL OR name IN (SELECT value FROM json_each(:names)))
    AND id < coalesce(:after, 'z')
ORDER BY id DESC
LIMIT :limit;

-- name: event_deliveries
-- The state of every delivery of an event: of its job, of what is left of it, or of its turn.
SELECT
    subscription.name, coalesce(job.state, delivery.state, CASE WHEN turn.event IS NOT NULL THEN 'waiting' END), job.id,
    job.failures, coalesce(job.finished_at, delivery.finished_at), job.reason
FROM remit_event AS event
CROSS JOIN remit_subscription AS subscription
LEFT JOIN remit_job AS job ON job.id = remit_derived_id(event.id, subscription.id)
LEFT JOIN remit_delivery AS delivery ON delivery.event = event.id AND delivery.subscription = subscription.id
LEFT JOIN remit_turn AS turn
    ON turn.subscription = subscription.id AND turn.lane = event.lane AND turn.seq = event.seq AND NOT turn.released
WHERE event.id = :id AND (job.id IS NOT NULL OR delivery.event IS NOT NULL OR turn.event IS NOT NULL)
ORDER BY subscription.name;

-- name: retry_event
-- A dead event, or one that waits after a failure, goes to the relay again, in its old place: before what stands behind
-- it. Whoever repeats this finds it pending.
SELECT state, 1 FROM remit_event WHERE id = :id;
UPDATE remit_event SET state = 'pending', attempts = 0, due_at = published_at
WHERE id = :id AND state IN ('pending', 'dead');

-- name: begin_filling
-- Of several at once the one that began last lets go what was held.
UPDATE remit_subscription SET filling_since = :now, filling = :filling WHERE name = :name AND retired_at IS NULL
RETURNING id, name, (
    SELECT json_group_array(name) FROM (
        SELECT value AS name FROM json_each(events)
        UNION
        SELECT event FROM remit_hearing WHERE remit_hearing.subscription = remit_subscription.id
    )
), filling_since, filling;

-- name: fillings
-- The back-fills that go on, or that nobody has ended.
SELECT id, name, (
    SELECT json_group_array(name) FROM (
        SELECT value AS name FROM json_each(events)
        UNION
        SELECT event FROM remit_hearing WHERE remit_hearing.subscription = remit_subscription.id
    )
), filling_since, filling
FROM remit_subscription WHERE filling_since IS NOT NULL AND retired_at IS NULL ORDER BY name;

-- name: note_filling
-- How far a back-fill has come. It changes with each note, so that whoever watches sees that it goes on.
UPDATE remit_subscription SET filling = :filling WHERE id = :subscription AND filling_since = :begun RETURNING id;

-- name: end_filling
UPDATE remit_subscription SET filling_since = NULL, filling = NULL
WHERE id = :subscription AND filling_since = :begun
RETURNING id;

-- name: count_log
SELECT count(*) FROM remit_event
WHERE name IN (SELECT value FROM json_each(:names))
    AND (:since IS NULL OR published_at >= :since) AND (:until IS NULL OR published_at < :until);

-- name: next_to_fill
SELECT id, name, seq FROM remit_event
WHERE seq > :after AND name IN (SELECT value FROM json_each(:names))
    AND (:since IS NULL OR published_at >= :since) AND (:until IS NULL OR published_at < :until)
ORDER BY seq LIMIT 1;

-- name: fill
-- One batch of a back-fill: the events of the log that come next, dispatched or not. The relay alone dispatches what is
-- unknown, and for an ordered subscription what is not dispatched yet: earlier ones of its lane may be among it. What
-- was delivered before, or is under way, stays as it is; what died and was pruned is delivered again, and what was left
-- of it goes, since a lane would take it for the end of the new delivery.
CREATE TEMP TABLE IF NOT EXISTS remit_page (seq INTEGER PRIMARY KEY);
CREATE TEMP TABLE IF NOT EXISTS remit_wanted (
    seq INTEGER, subscription TEXT, ordered INTEGER, PRIMARY KEY (seq, subscription)
) WITHOUT ROWID;
DELETE FROM temp.remit_page;
INSERT INTO temp.remit_page (seq)
SELECT seq FROM remit_event
WHERE seq > :after AND name IN (SELECT value FROM json_each(:names))
    AND (:since IS NULL OR published_at >= :since) AND (:until IS NULL OR published_at < :until)
ORDER BY seq LIMIT :limit;
DELETE FROM temp.remit_wanted;
INSERT INTO temp.remit_wanted (seq, subscription, ordered)
SELECT event.seq, subscription.id, subscription.ordered_by IS NOT NULL AND event.lane IS NOT NULL
FROM temp.remit_page AS page
CROSS JOIN remit_event AS event ON event.seq = page.seq
JOIN remit_subscription AS subscription ON subscription.id = :subscription AND subscription.retired_at IS NULL
WHERE (event.state = 'dispatched'
        OR event.state <> 'unknown' AND (subscription.ordered_by IS NULL OR event.lane IS NULL))
    AND (subscription.condition IS NULL OR NOT EXISTS (
        SELECT 1 FROM json_each(subscription.condition, '$."' || event.version || '"') AS field
        WHERE NOT EXISTS (
            SELECT 1 FROM json_each(field.value) AS allowed
            WHERE allowed.value = coalesce(event.payload -> ('$."' || field.key || '"'), '')
        )
    ))
    AND NOT EXISTS (
        SELECT 1 FROM remit_delivery AS delivery
        WHERE delivery.event = event.id AND delivery.subscription = subscription.id
            AND delivery.state IN ('completed', 'skipped')
    )
    AND NOT EXISTS (SELECT 1 FROM remit_job AS job WHERE job.id = remit_derived_id(event.id, subscription.id))
    AND NOT EXISTS (
        SELECT 1 FROM remit_turn AS turn
        WHERE turn.subscription = subscription.id AND turn.lane = event.lane AND turn.seq = event.seq
    );
DELETE FROM remit_delivery
WHERE subscription = :subscription AND event IN (
    SELECT id FROM temp.remit_wanted AS wanted CROSS JOIN remit_event AS event ON event.seq = wanted.seq
);
INSERT INTO remit_job (
    id, line, state, run_at, created_at, expires_at, event_id, subscription, correlation, causation, hops, version,
    priority, attempts, domain, queue, name, encoding, keep, scope, traceparent
)
SELECT
    remit_derived_id(event.id, subscription.id), subscription.line | event.version, 'ready', :now, :now,
    CAST(:now + subscription.expires * 1000000 AS INTEGER), event.id, subscription.id,
    coalesce(event.correlation, event.id), event.id, event.hops, event.version, subscription.priority,
    subscription.attempts,
    subscription.domain, subscription.queue, subscription.name, event.encoding, subscription.keep, event.scope,
    event.traceparent
FROM temp.remit_wanted AS wanted
CROSS JOIN remit_event AS event ON event.seq = wanted.seq
CROSS JOIN remit_subscription AS subscription ON subscription.id = wanted.subscription
WHERE NOT wanted.ordered
ON CONFLICT (id) DO NOTHING;
INSERT INTO remit_turn (subscription, lane, seq, event)
SELECT wanted.subscription, event.lane, event.seq, event.id
FROM temp.remit_wanted AS wanted CROSS JOIN remit_event AS event ON event.seq = wanted.seq
WHERE wanted.ordered
ON CONFLICT DO NOTHING;
SELECT
    (SELECT count(*) FROM temp.remit_page), (SELECT max(seq) FROM temp.remit_page),
    (SELECT count(*) FROM temp.remit_wanted), 0;

-- name: purge_events
-- One small batch of events whose time may be over. It is when the last delivery has ended and the keep has passed since;
-- then any other is looked at again. A dead delivery still needs its event.
CREATE TEMP TABLE IF NOT EXISTS remit_judged (id TEXT PRIMARY KEY, over_at INTEGER, open INTEGER) WITHOUT ROWID;
DELETE FROM temp.remit_judged;
INSERT INTO temp.remit_judged (id, over_at, open)
SELECT
    due.id,
    CAST(max(due.dispatched_at, coalesce(max(job.finished_at), 0), coalesce(max(delivery.finished_at), 0))
        + coalesce(due.keep, :keep) * 1000000 AS INTEGER),
    coalesce(max(job.id IS NOT NULL AND job.finished_at IS NULL OR coalesce(job.state, '') = 'dead'
        OR turn.event IS NOT NULL), 0)
FROM (
    SELECT id, seq, lane, dispatched_at, keep FROM remit_event
    WHERE state = 'dispatched' AND due_at <= :now ORDER BY due_at LIMIT :limit
) AS due
LEFT JOIN remit_subscription AS subscription ON true
LEFT JOIN remit_job AS job ON job.id = remit_derived_id(due.id, subscription.id)
LEFT JOIN remit_delivery AS delivery ON delivery.event = due.id AND delivery.subscription = subscription.id
LEFT JOIN remit_turn AS turn
    ON turn.subscription = subscription.id AND turn.lane = due.lane AND turn.seq = due.seq AND NOT turn.released
GROUP BY due.id, due.keep, due.dispatched_at;
INSERT INTO remit_event_archive
SELECT event.id, published_at, occurred_at, :now, correlation, causation, version, deliveries, domain, name, encoding,
    payload, scope, traceparent
FROM temp.remit_judged AS judged CROSS JOIN remit_event AS event ON event.id = judged.id
WHERE :archive AND NOT judged.open AND judged.over_at <= :now
ON CONFLICT DO NOTHING;
DELETE FROM remit_event
WHERE id IN (SELECT id FROM temp.remit_judged WHERE NOT open AND over_at <= :now);
UPDATE remit_event
SET due_at = max(judged.over_at, CASE WHEN judged.open THEN CAST(:now + :again * 1000000 AS INTEGER) ELSE 0 END)
FROM temp.remit_judged AS judged
WHERE remit_event.id = judged.id AND (judged.open OR judged.over_at > :now);
SELECT
    (SELECT count(*) FROM temp.remit_judged),
    (SELECT count(*) FROM temp.remit_judged WHERE NOT open AND over_at <= :now);

-- name: purge_archive
DELETE FROM remit_event_archive
WHERE id IN (
    SELECT id FROM remit_event_archive WHERE archived_at < :now - :age * 1000000 ORDER BY archived_at LIMIT :limit
)
RETURNING 1;
