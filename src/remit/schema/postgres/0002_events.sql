-- The outbox, which is also the log of events; subscriptions; what is left of a delivery when its job is pruned.

CREATE TABLE remit.event (
    id uuid PRIMARY KEY,                -- UUIDv7, made by the client: the same from here to every subscriber
    seq bigint GENERATED ALWAYS AS IDENTITY,  -- the order of one lane; never a cursor: numbers commit out of order
    lane bigint,                        -- hash of the key of an ordered event
    due_at timestamptz NOT NULL,        -- when the relay may take it; dispatched, when it may be purged
    published_at timestamptz NOT NULL,
    occurred_at timestamptz NOT NULL,
    dispatched_at timestamptz,
    correlation uuid,
    causation uuid,
    version integer NOT NULL,
    attempts smallint NOT NULL DEFAULT 0,  -- failures of the relay
    hops smallint,                      -- events before it in the chain of its causes; NULL: none
    deliveries integer,                 -- to how many subscriptions it went
    state text NOT NULL DEFAULT 'pending',
    domain text NOT NULL,
    name text NOT NULL,
    encoding text NOT NULL,
    payload text NOT NULL,
    keep double precision,              -- seconds to keep it when its last delivery has ended; NULL: the relay's rule
    scope text,
    traceparent text,
    error text,
    CHECK (state IN ('pending', 'unknown', 'dispatched', 'dead')),
    CHECK ((dispatched_at IS NOT NULL) = (state = 'dispatched'))
) WITH (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0.2,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off
);

CREATE INDEX event_pending ON remit.event (due_at, seq) WHERE state = 'pending';
CREATE INDEX event_lane ON remit.event (lane, seq) WHERE lane IS NOT NULL AND state = 'pending';
CREATE INDEX event_failed ON remit.event (lane, seq) WHERE lane IS NOT NULL AND state <> 'dispatched' AND attempts > 0;
CREATE INDEX event_unknown ON remit.event (lane, seq) WHERE state = 'unknown';
CREATE INDEX event_dead ON remit.event (id) WHERE state = 'dead';
CREATE INDEX event_dispatched ON remit.event (due_at) WHERE state = 'dispatched';
CREATE INDEX event_log ON remit.event (name, seq);

-- What `then="archive"` keeps of events when their time is over.
CREATE TABLE remit.event_archive (
    id uuid PRIMARY KEY,
    published_at timestamptz NOT NULL,
    occurred_at timestamptz NOT NULL,
    archived_at timestamptz NOT NULL,
    correlation uuid,
    causation uuid,
    version integer NOT NULL,
    deliveries integer,
    domain text NOT NULL,
    name text NOT NULL,
    encoding text NOT NULL,
    payload text NOT NULL,
    scope text,
    traceparent text
);
CREATE INDEX event_archive_age ON remit.event_archive (archived_at);

CREATE TABLE remit.subscription (
    id uuid PRIMARY KEY,                -- the identity: it survives a rename, and deliveries are unique by it
    name text NOT NULL UNIQUE,
    former text NOT NULL DEFAULT '[]',  -- JSON: the names that it had, so that an old worker does not bring one back
    line bigint NOT NULL,               -- of its deliveries, the version of the event in the lowest 15 bits
    attempts integer NOT NULL CHECK (attempts > 0),
    priority smallint NOT NULL,
    domain text NOT NULL,
    queue text NOT NULL,
    events text NOT NULL,               -- JSON: the name of the event, and its aliases
    condition text,                     -- JSON, by version: fields, and the texts that each may have; '': it may be missing
    ordered_by text,
    on_dead text NOT NULL CHECK (on_dead IN ('block', 'pass')),
    stale_after double precision NOT NULL,
    expires double precision,
    keep double precision,
    revision integer NOT NULL DEFAULT 1,
    fingerprint text NOT NULL,          -- of the declaration that holds
    past text NOT NULL DEFAULT '[]',    -- JSON: fingerprints that it had; a worker that comes with one is an old one
    created_at timestamptz NOT NULL,
    filling_since timestamptz,          -- a back-fill goes on: an ordered subscription holds what is live
    filling text,                       -- JSON: what it was asked for, and how far it has come; a worker goes on with it
    retired_at timestamptz
);

-- What applications have declared here, with their subscriptions. The relay dispatches no other event: during a rolling
-- deploy those who listen to a new name, or to a new version, may not have been here yet.
CREATE TABLE remit.event_type (
    name text NOT NULL,
    version integer NOT NULL,
    former text,                        -- JSON: the names that the event had; NULL: this is one of those
    PRIMARY KEY (name, version)
);

-- Which subscriptions hear an event, by its present name or one that it had.
CREATE VIEW remit.hearing AS
SELECT DISTINCT called.event, subscription.id AS subscription
FROM remit.subscription CROSS JOIN LATERAL json_array_elements_text(events::json) AS heard (name)
JOIN (
    SELECT name AS event, name FROM remit.event_type
    UNION ALL
    SELECT event_type.name, former.name
    FROM remit.event_type CROSS JOIN LATERAL json_array_elements_text(former::json) AS former (name)
) AS called ON called.name = heard.name
WHERE retired_at IS NULL;

-- What the relay may take: pending events, but for those of a lane that stand behind an unknown one or a failed one. The
-- failed one is tried alone; when it is dead, the others pass, unless a subscription blocks. However many wait so, they are
-- not in the way of other events.
CREATE VIEW remit.outstanding AS
SELECT id, seq, lane, due_at, attempts, name, version FROM remit.event
WHERE state = 'pending' AND (lane IS NULL OR NOT EXISTS (
    SELECT FROM remit.event AS earlier
    WHERE earlier.lane = event.lane AND earlier.seq < event.seq AND earlier.state <> 'dispatched' AND earlier.attempts > 0
        AND (earlier.state = 'pending' OR earlier.name IN (
            SELECT event FROM remit.hearing JOIN remit.subscription ON subscription.id = hearing.subscription
            WHERE ordered_by IS NOT NULL AND on_dead = 'block'
        ))
) AND NOT EXISTS (
    SELECT FROM remit.event AS earlier
    WHERE earlier.lane = event.lane AND earlier.seq < event.seq AND earlier.state = 'unknown'
));

-- Deliveries of ordered subscriptions, in the order of their lanes. The first of a lane is released: its job exists.
CREATE TABLE remit.turn (
    subscription uuid NOT NULL REFERENCES remit.subscription ON DELETE CASCADE,
    lane bigint NOT NULL,
    seq bigint NOT NULL,
    event uuid NOT NULL,
    released boolean NOT NULL DEFAULT false,
    PRIMARY KEY (subscription, lane, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE UNIQUE INDEX turn_released ON remit.turn (subscription, lane) WHERE released;

-- What is left of a delivery when its job is pruned, for as long as the event is kept.
CREATE TABLE remit.delivery (
    event uuid NOT NULL REFERENCES remit.event ON DELETE CASCADE,
    subscription uuid NOT NULL,
    state text NOT NULL,
    finished_at timestamptz NOT NULL,
    PRIMARY KEY (event, subscription)
);

ALTER TABLE remit.job ADD COLUMN subscription uuid;  -- of a delivery

CREATE FUNCTION remit.keep_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO remit.delivery (event, subscription, state, finished_at)
    SELECT event.id, old.subscription, CASE WHEN old.finished_at IS NULL THEN 'cancelled' ELSE old.state END,
        coalesce(old.finished_at, clock_timestamp())
    FROM remit.event WHERE event.id = old.event_id
    FOR KEY SHARE  -- it may be purged just now; the event pruner waits for nobody, so this wait is short
    ON CONFLICT (event, subscription) DO UPDATE SET state = excluded.state, finished_at = excluded.finished_at;
    RETURN NULL;
END
$$;
CREATE TRIGGER job_keep_delivery AFTER DELETE ON remit.job
    FOR EACH ROW WHEN (old.subscription IS NOT NULL) EXECUTE FUNCTION remit.keep_delivery();

-- Whether something is still to be done about an event. VOLATILE, so it looks with eyes of its own: it sees what a
-- back-fill has committed between the snapshot of the statement that asks and its lock on the event. OFFSET 0 keeps the
-- planner from reading all jobs.
CREATE FUNCTION remit.is_needed(needed uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM remit.subscription CROSS JOIN LATERAL (
            SELECT finished_at, state FROM remit.job WHERE job.id = remit.derived_id(needed, subscription.id) OFFSET 0
        ) AS delivery
        WHERE delivery.finished_at IS NULL OR delivery.state = 'dead'
    ) OR EXISTS (
        SELECT FROM remit.event CROSS JOIN remit.subscription CROSS JOIN LATERAL (
            SELECT released FROM remit.turn
            WHERE turn.subscription = subscription.id AND turn.lane = event.lane AND turn.seq = event.seq
            OFFSET 0
        ) AS turn
        WHERE event.id = needed AND NOT turn.released
    );
END
$$;

-- A UUID made of another and a name: its time is the other's, so that the newest stand together in an index, and the rest
-- a hash of both. The job that delivers an event to a subscription has the one that is derived from the two.
CREATE FUNCTION remit.derived_id(id uuid, name uuid) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (left(id::text, 19) || '8' || substr(md5(id::text || name::text), 1, 3) || '-'
    || substr(md5(id::text || name::text), 4, 12))::uuid;

-- A UUIDv7 of that moment, for what the server writes by itself: the time, and the rest of a random one.
CREATE FUNCTION remit.new_id(moment timestamptz) RETURNS uuid LANGUAGE sql VOLATILE
RETURN (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '7'
    || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid;

-- Whether a payload meets the condition for its version: JSON text against JSON text, field by field; what is missing has
-- the text ''. JSON may hold \u0000 where a text of PostgreSQL may not; nobody writes \ufffd, since it needs no escape.
CREATE FUNCTION remit.meets(payload text, condition text, version integer) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN NOT EXISTS (
    SELECT FROM json_each(condition::json -> version::text) AS wanted
    WHERE NOT EXISTS (
        SELECT FROM json_array_elements_text(wanted.value) AS allowed
        WHERE replace(allowed, E'\\u0000', E'\\ufffd')
            = coalesce((replace(payload, E'\\u0000', E'\\ufffd')::json -> wanted.key)::text, '')
    )
);
