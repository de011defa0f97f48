-- Statements on PostgreSQL. Those that read over all partitions take one index range per partition (LATERAL, from the
-- table of partitions: a distributed database pushes that down and nothing else) and sort what few rows come of it. Rows of a batch come as one array per column, in binary: twice as quick as composites.

-- == The log ===========================================================================================================

-- name: create_settings
INSERT INTO settings (id, salt, partitions) VALUES (1, %(salt)s, %(partitions)s) ON CONFLICT DO NOTHING;

-- name: stored_partitions
SELECT partitions FROM settings;

-- name: salt
SELECT salt FROM settings;

-- name: create_partition
INSERT INTO partitions (partition, head_hash)
SELECT * FROM unnest(%b::smallint[], %b::bytea[])
ON CONFLICT DO NOTHING;

-- Raises RT001 when a partition is lost, or its head is not what the writer believes.
-- name: fence
SELECT fence(%b::smallint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bytea[]);

-- FOR UPDATE waits for a transaction in doubt to end: a commit that is still under way counts, however it ends.
-- name: head
SELECT partition, epoch, head_position, head_hash FROM partitions WHERE partition = %(partition)s FOR UPDATE;

-- name: positions
SELECT partition, head_position FROM partitions;

-- name: last_position
SELECT head_position FROM partitions WHERE partition = %(partition)s;

-- name: put_event
INSERT INTO events (partition, position, orchestration, version, topic, state, event_hash, log_hash)
SELECT * FROM unnest(
    %b::smallint[], %b::bigint[], %b::uuid[], %b::integer[], %b::text[], %b::bytea[], %b::bytea[], %b::bytea[]
);

-- name: stream
SELECT position, orchestration, version, topic, state, event_hash, log_hash, state_hash
FROM events
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND version > %(after)s AND version <= %(until)s
ORDER BY version
LIMIT %(limit)s;

-- name: stream_newest_first
SELECT position, orchestration, version, topic, state, event_hash, log_hash, state_hash
FROM events
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND version > %(after)s AND version <= %(until)s
ORDER BY version DESC
LIMIT %(limit)s;

-- name: log
SELECT position, orchestration, version, topic, state, event_hash, log_hash, state_hash
FROM events
WHERE partition = %(partition)s AND position > %(after)s /* where */
ORDER BY position
LIMIT %(limit)s;

-- name: log_until
position <= %(until)s

-- name: log_topics
topic = ANY (ARRAY(SELECT json_array_elements_text(%(topics)s::json)))

-- == Nodes and leases ==================================================================================================

-- name: put_node
INSERT INTO nodes (node, host, pid, process, version, started_at, eligible, lease_until)
VALUES (
    %(node)s, %(host)s, %(pid)s, %(process)s, %(version)s, %(started_at)s, %(eligible)s,
    clock_timestamp() + %(lease_us)s * interval '1 microsecond'
)
ON CONFLICT (node) DO UPDATE SET eligible = excluded.eligible, lease_until = excluded.lease_until;

-- One partition a statement and a transaction: nobody waits for two rows. now() is when the transaction began, so a lease
-- is rather too short than too long; a volatile clock is refused in changes of distributed tables.
-- name: renew_lease
UPDATE partitions SET lease_until = now() + %(lease_us)s * interval '1 microsecond'
WHERE partition = %(partition)s AND epoch = %(epoch)s;

-- name: database_time
SELECT clock_timestamp();

-- name: nodes
SELECT node, host, pid, process, version, started_at, eligible,
       extract(epoch FROM lease_until - clock_timestamp())::double precision
FROM nodes
ORDER BY node;

-- name: holdings
SELECT p.partition, p.epoch, p.owner, coalesce(extract(epoch FROM p.lease_until - clock_timestamp()), 0)::double precision,
       p.head_position, coalesce(t.position, 0)
FROM partitions AS p
LEFT JOIN tracking AS t ON t.partition = p.partition AND t.projection = 'status'
ORDER BY p.partition;

-- Raising the epoch fences off whoever wrote before; the row's lock waits for a transaction in flight.
-- name: claim
UPDATE partitions
SET epoch = epoch + 1, owner = %(node)s, lease_until = now() + %(lease_us)s * interval '1 microsecond'
WHERE partition = %(partition)s AND epoch = %(epoch)s
  AND (%(forced)s OR owner IS NULL OR lease_until <= now())
RETURNING partition, epoch, head_position, head_hash;

-- name: release
UPDATE partitions SET owner = NULL, lease_until = NULL
WHERE partition = %(partition)s AND epoch = %(epoch)s AND owner = %(node)s;

-- name: drop_node
DELETE FROM nodes WHERE node = %(node)s OR lease_until < now() - interval '1 hour';

-- == Inbox =============================================================================================================

-- name: put_command
INSERT INTO inbox (partition, command_id, body, kept, arrived_at)
VALUES (%(partition)s, %(command_id)s, %(body)s, %(kept)s, %(at)s)
ON CONFLICT DO NOTHING
RETURNING partition;

-- name: command_reply
SELECT reply FROM inbox WHERE partition = %(partition)s AND command_id = %(command_id)s;

-- name: pending_commands
SELECT each.arrived_at, each.partition, each.command_id, each.body, each.kept
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT arrived_at, partition, command_id, body, kept FROM inbox AS i
    WHERE i.partition = p.partition AND reply IS NULL
    ORDER BY arrived_at, command_id
    LIMIT %(limit)s
) AS each
WHERE p.partition = ANY (%(partitions)s::smallint[])
ORDER BY each.arrived_at, each.command_id
LIMIT %(limit)s;

-- name: replies
SELECT i.command_id, i.reply
FROM json_to_recordset(%(wanted)s::json) AS wanted (partition smallint, command_id text)
JOIN inbox AS i ON i.partition = wanted.partition AND i.command_id = wanted.command_id
WHERE i.reply IS NOT NULL;

-- name: put_reply
UPDATE inbox AS i SET reply = answer.reply
FROM unnest(%b::smallint[], %b::text[], %b::bytea[]) AS answer (partition, command_id, reply)
WHERE i.partition = answer.partition AND i.command_id = answer.command_id;

-- name: expire_commands
DELETE FROM inbox
WHERE partition = %(partition)s AND kept = %(kept)s AND arrived_at < %(before)s AND reply IS NOT NULL
RETURNING partition;

-- A hint for other nodes; what it says is found in the tables.
-- name: tell
SELECT pg_notify('retrace', %(hint)s);

-- == Work ==============================================================================================================

-- name: drop_agenda
DELETE FROM agenda AS a
USING unnest(%b::smallint[], %b::uuid[]) AS gone (partition, orchestration)
WHERE a.partition = gone.partition AND a.orchestration = gone.orchestration;

-- name: put_agenda
INSERT INTO agenda (partition, orchestration, in_flight, due_at)
SELECT * FROM unnest(%b::smallint[], %b::uuid[], %b::boolean[], %b::timestamptz[])
ON CONFLICT (partition, orchestration) DO UPDATE SET in_flight = excluded.in_flight, due_at = excluded.due_at;

-- name: put_emitted
INSERT INTO emitted (partition, orchestration, number, event)
SELECT * FROM unnest(%b::smallint[], %b::uuid[], %b::integer[], %b::bytea[]);

-- name: drop_emitted
DELETE FROM emitted AS e
USING unnest(%b::smallint[], %b::uuid[], %b::integer[]) AS gone (partition, orchestration, number)
WHERE e.partition = gone.partition AND e.orchestration = gone.orchestration AND e.number = gone.number;

-- name: drop_subscriptions
DELETE FROM subscriptions AS s
USING unnest(%b::smallint[], %b::uuid[], %b::text[]) AS gone (partition, orchestration, run)
WHERE s.partition = gone.partition AND s.orchestration = gone.orchestration AND s.run = gone.run;

-- name: put_subscription
INSERT INTO subscriptions (partition, orchestration, run, slot, event_type)
SELECT * FROM unnest(%b::smallint[], %b::uuid[], %b::text[], %b::integer[], %b::text[])
ON CONFLICT (partition, orchestration, run, slot) DO UPDATE SET event_type = excluded.event_type;

-- name: in_flight
SELECT orchestration FROM agenda
WHERE partition = %(partition)s AND in_flight /* where */
ORDER BY orchestration
LIMIT %(limit)s;

-- name: in_flight_after
orchestration > %(after)s

-- name: due
SELECT each.due_at, p.partition, each.orchestration
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT due_at, orchestration FROM agenda AS a
    WHERE a.partition = p.partition AND due_at <= %(until)s
    ORDER BY due_at, orchestration
    LIMIT %(limit)s
) AS each
WHERE p.partition = ANY (%(partitions)s::smallint[])
ORDER BY each.due_at, p.partition, each.orchestration
LIMIT %(limit)s;

-- name: emitted
SELECT orchestration, number, event FROM emitted
WHERE partition = %(partition)s /* where */
ORDER BY orchestration, number
LIMIT %(limit)s;

-- name: emitted_after
(orchestration, number) > (%(after_orchestration)s, %(after_number)s)

-- name: subscribers
SELECT p.partition, each.orchestration
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT DISTINCT orchestration FROM subscriptions AS s
    WHERE s.partition = p.partition AND event_type IN (%(event_type)s, '') /* where */
    ORDER BY orchestration
    LIMIT %(limit)s
) AS each
WHERE p.partition = ANY (%(partitions)s::smallint[])
ORDER BY p.partition, each.orchestration
LIMIT %(limit)s;

-- name: subscribers_after
(s.partition, orchestration) > (%(after_partition)s, %(after)s)

-- == Snapshots =========================================================================================================

-- name: snapshot
SELECT orchestration, version, format, event_hash, state FROM snapshots
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND format = %(format)s;

-- name: put_snapshot
INSERT INTO snapshots AS known (partition, orchestration, version, format, event_hash, state)
VALUES (%(partition)s, %(orchestration)s, %(version)s, %(format)s, %(event_hash)s, %(state)s)
ON CONFLICT (partition, orchestration) DO UPDATE
SET version = excluded.version, format = excluded.format, event_hash = excluded.event_hash, state = excluded.state
WHERE known.version <= excluded.version OR known.format <> excluded.format;

-- == The archive =======================================================================================================

-- Nobody writes to the partition between this and the commit.
-- name: lock_partition
SELECT partition FROM partitions WHERE partition = %(partition)s AND epoch = %(epoch)s FOR UPDATE;

-- name: last_version
SELECT version, state_hash FROM events
WHERE partition = %(partition)s AND orchestration = %(orchestration)s
ORDER BY version DESC
LIMIT 1;

-- name: strip_event
UPDATE events AS e SET state = '', state_hash = bare.state_hash
FROM unnest(%b::smallint[], %b::bigint[], %b::bytea[]) AS bare (partition, position, state_hash)
WHERE e.partition = bare.partition AND e.position = bare.position;

-- name: put_archived
INSERT INTO archive
    (partition, orchestration, public_id, definition, status, started_at, ended_at, events, archived_at, content)
VALUES (
    %(partition)s, %(orchestration)s, %(public_id)s, %(definition)s, %(status)s, %(started_at)s, %(ended_at)s,
    %(events)s, %(archived_at)s, %(content)s
);

-- name: archived
SELECT orchestration, public_id, definition, status, started_at, ended_at, events, archived_at, content
FROM archive
WHERE partition = %(partition)s AND orchestration = %(orchestration)s;

-- name: drop_status
DELETE FROM status WHERE partition = %(partition)s AND orchestration = %(orchestration)s;

-- name: drop_tags_of
DELETE FROM status_tags WHERE partition = %(partition)s AND orchestration = %(orchestration)s;

-- name: drop_snapshot
DELETE FROM snapshots WHERE partition = %(partition)s AND orchestration = %(orchestration)s;

-- == Definitions =======================================================================================================

-- name: definition
SELECT namespace, name, version, digest, media_type, document, value, resource, warnings, created_at
FROM definitions
WHERE namespace = %(namespace)s AND name = %(name)s AND version = %(version)s
ORDER BY revision DESC
LIMIT 1;

-- name: definition_by_digest
SELECT namespace, name, version, digest, media_type, document, value, resource, warnings, created_at
FROM definitions
WHERE digest = %(digest)s
ORDER BY created_at DESC, namespace, name, version, revision DESC
LIMIT 1;

-- name: definitions
SELECT namespace, name, version, digest, media_type, document, value, resource, warnings, created_at
FROM definitions AS d
WHERE revision = (
    SELECT max(revision) FROM definitions AS newer
    WHERE newer.namespace = d.namespace AND newer.name = d.name AND newer.version = d.version
) /* where */
ORDER BY namespace, name, created_at, version;

-- name: definition_namespace
namespace = %(namespace)s

-- name: definition_name
name = %(name)s

-- name: put_definition
INSERT INTO definitions
    (namespace, name, version, revision, digest, media_type, document, value, resource, warnings, created_at)
SELECT
    %(namespace)s, %(name)s, %(version)s, coalesce(max(revision), 0) + 1,
    %(digest)s, %(media_type)s, %(document)s, %(value)s, %(resource)s, %(warnings)s, %(created_at)s
FROM definitions
WHERE namespace = %(namespace)s AND name = %(name)s AND version = %(version)s
ON CONFLICT DO NOTHING
RETURNING revision;

-- name: claim_resource
INSERT INTO resources (resource, namespace, name) VALUES (%(resource)s, %(namespace)s, %(name)s)
ON CONFLICT DO NOTHING
RETURNING resource;

-- name: resource_owner
SELECT namespace, name FROM resources WHERE resource = %(resource)s FOR UPDATE;

-- name: resource_in_use
SELECT version FROM definitions AS d
WHERE resource = %(resource)s AND namespace = %(namespace)s AND name = %(name)s AND revision = (
    SELECT max(revision) FROM definitions AS newer
    WHERE newer.namespace = d.namespace AND newer.name = d.name AND newer.version = d.version
)
LIMIT 1;

-- name: pass_resource
UPDATE resources SET namespace = %(namespace)s, name = %(name)s WHERE resource = %(resource)s;

-- == Projections =======================================================================================================

-- name: tracked
SELECT partition, position FROM tracking WHERE projection = %(projection)s;

-- name: start_tracking
INSERT INTO tracking (partition, projection, position) VALUES (%(partition)s, %(projection)s, 0) ON CONFLICT DO NOTHING;

-- A partition that is not returned: someone else has projected these events.
-- name: move_tracking
UPDATE tracking AS t SET position = m.until
FROM json_to_recordset(%(moves)s::json) AS m (partition smallint, after bigint, until bigint)
WHERE t.partition = m.partition AND t.projection = %(projection)s AND t.position = m.after
RETURNING t.partition;

-- name: put_status
INSERT INTO status
    (partition, orchestration, public_id, namespace, name, definition_version, status, version, business_key, tags,
     incidents, started_at, updated_at, summary)
SELECT * FROM unnest(
    %b::smallint[], %b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::integer[], %b::text[],
    %b::text[], %b::integer[], %b::timestamptz[], %b::timestamptz[], %b::bytea[]
)
ON CONFLICT (partition, orchestration) DO UPDATE SET
    public_id = excluded.public_id, namespace = excluded.namespace, name = excluded.name,
    definition_version = excluded.definition_version, status = excluded.status, version = excluded.version,
    business_key = excluded.business_key, tags = excluded.tags, incidents = excluded.incidents,
    started_at = excluded.started_at, updated_at = excluded.updated_at, summary = excluded.summary;

-- name: drop_tags
DELETE FROM status_tags AS t
USING unnest(%b::smallint[], %b::uuid[]) AS gone (partition, orchestration)
WHERE t.partition = gone.partition AND t.orchestration = gone.orchestration;

-- name: put_tag
INSERT INTO status_tags (partition, orchestration, key, value)
SELECT * FROM unnest(%b::smallint[], %b::uuid[], %b::text[], %b::text[]);

-- name: list_status
SELECT each.partition, each.orchestration, each.public_id, each.namespace, each.name, each.definition_version,
       each.status, each.version, each.business_key, each.tags, each.incidents, each.started_at, each.updated_at,
       each.summary
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT * FROM status AS s
    WHERE s.partition = p.partition /* where */
    ORDER BY started_at DESC, public_id
    LIMIT %(limit)s
) AS each
ORDER BY each.started_at DESC, each.public_id
LIMIT %(limit)s;

-- name: status_namespace
namespace = %(namespace)s

-- name: status_name
name = %(name)s

-- name: status_definition_version
definition_version = %(definition_version)s

-- name: status_business_key
business_key = %(business_key)s

-- name: status_started_after
started_at > %(started_after)s

-- name: status_started_before
started_at < %(started_before)s

-- name: status_in
status = ANY (ARRAY(SELECT json_array_elements_text(%(statuses)s::json)))

-- name: status_with_incident
incidents > 0

-- name: status_without_incident
incidents = 0

-- name: status_tag
EXISTS (
    SELECT 1 FROM status_tags AS t
    WHERE t.partition = s.partition AND t.orchestration = s.orchestration
      AND t.key = %(tag_key_{n})s AND t.value = %(tag_value_{n})s
)

-- The first condition bounds the index range, the second drops what was seen of its first instant.
-- name: status_page
started_at <= %(last_started_at)s AND (started_at < %(last_started_at)s OR public_id > %(last_public_id)s)

-- name: status_of
SELECT partition, orchestration, public_id, namespace, name, definition_version, status, version, business_key, tags,
       incidents, started_at, updated_at, summary
FROM status
WHERE partition = %(partition)s AND orchestration = %(orchestration)s;

-- Backwards along status_newest: what was started last has not been still for long.
-- name: still
SELECT partition, orchestration, public_id, namespace, name, definition_version, status, version, business_key, tags,
       incidents, started_at, updated_at, summary
FROM status
WHERE partition = %(partition)s AND started_at <= %(before)s AND updated_at <= %(before)s
  AND status = ANY (ARRAY(SELECT json_array_elements_text(%(statuses)s::json))) /* where */
ORDER BY started_at, public_id DESC
LIMIT %(limit)s;

-- name: still_after
started_at >= %(after_started_at)s AND (started_at > %(after_started_at)s OR public_id < %(after_public_id)s)

-- What users' projections are; their own tables are in projections.sql.
-- name: projection_builds
SELECT name, version, number, shape, state, created_at FROM projections ORDER BY name, version, number;

-- name: put_projection_build
INSERT INTO projections (name, version, number, shape, state, created_at)
VALUES (%(name)s, %(version)s, %(number)s, %(shape)s, %(state)s, %(created_at)s)
ON CONFLICT DO NOTHING
RETURNING number;

-- name: move_projection_build
UPDATE projections SET state = %(state)s
WHERE name = %(name)s AND version = %(version)s AND number = %(number)s AND state = %(from_state)s
RETURNING number;

-- name: projection_progress
SELECT partition, position, failure FROM tracking WHERE projection = %(projection)s;

-- No row: someone else has projected these events, it has failed, or it is retired.
-- name: move_projection
UPDATE tracking SET position = %(until)s, failure = %(failure)s
WHERE partition = %(partition)s AND projection = %(projection)s AND position = %(after)s AND failure IS NULL
RETURNING position;

-- name: retry_projection
UPDATE tracking SET failure = NULL
WHERE partition = %(partition)s AND projection = %(projection)s AND failure IS NOT NULL
RETURNING position;

-- name: end_projection
DELETE FROM tracking WHERE partition = %(partition)s AND projection = %(projection)s RETURNING position;

-- name: reset_tracking
DELETE FROM tracking WHERE partition = %(partition)s AND projection = %(projection)s;

-- name: reset_tags
DELETE FROM status_tags WHERE partition = %(partition)s;

-- name: reset_status
DELETE FROM status WHERE partition = %(partition)s;

-- == Registers =========================================================================================================

-- name: begin_request
INSERT INTO requests (partition, caller, key, fingerprint, started_at)
VALUES (%(partition)s, %(caller)s, %(key)s, %(fingerprint)s, %(at)s)
ON CONFLICT DO NOTHING
RETURNING partition;

-- name: request
SELECT fingerprint, status, headers, body, started_at FROM requests
WHERE partition = %(partition)s AND caller = %(caller)s AND key = %(key)s;

-- name: finish_request
UPDATE requests SET status = %(status)s, headers = %(headers)s, body = %(body)s
WHERE partition = %(partition)s AND caller = %(caller)s AND key = %(key)s;

-- name: abandon_request
DELETE FROM requests
WHERE partition = %(partition)s AND caller = %(caller)s AND key = %(key)s AND status IS NULL;

-- name: take_over_request
UPDATE requests SET started_at = %(at)s
WHERE partition = %(partition)s AND caller = %(caller)s AND key = %(key)s AND status IS NULL AND started_at = %(started_at)s
RETURNING partition;

-- name: expire_requests
DELETE FROM requests WHERE partition = %(partition)s AND started_at < %(before)s RETURNING partition;

-- name: reserve_key
INSERT INTO keys (partition, definition, key, holder) VALUES (%(partition)s, %(definition)s, %(key)s, %(holder)s)
ON CONFLICT DO NOTHING;

-- name: holds_key
SELECT partition FROM keys
WHERE partition = %(partition)s AND definition = %(definition)s AND key = %(key)s AND holder = %(holder)s
  AND contender IS NULL;

-- name: contend_for_key
UPDATE keys SET contender = %(contender)s
WHERE partition = %(partition)s AND definition = %(definition)s AND key = %(key)s AND holder = %(holder)s;

-- name: withdraw_from_key
UPDATE keys SET contender = NULL
WHERE partition = %(partition)s AND definition = %(definition)s AND key = %(key)s AND contender = %(contender)s;

-- name: take_over_key
UPDATE keys SET holder = %(public_id)s, contender = NULL
WHERE partition = %(partition)s AND definition = %(definition)s AND key = %(key)s AND holder = %(holder)s
  AND (NOT %(contended)s OR contender = %(public_id)s)
RETURNING partition;

-- name: key_holder
SELECT holder FROM keys WHERE partition = %(partition)s AND definition = %(definition)s AND key = %(key)s;

-- name: hold_event
INSERT INTO held_events (partition, source, id, event_type, digest, event, received_at, taken, looked)
VALUES (%(partition)s, %(source)s, %(id)s, %(event_type)s, %(digest)s, %(event)s, %(received_at)s, %(taken)s, %(looked)s)
ON CONFLICT DO NOTHING
RETURNING partition;

-- name: held_event
SELECT source, id, event_type, digest, event, received_at, taken, looked FROM held_events
WHERE partition = %(partition)s AND source = %(source)s AND id = %(id)s;

-- name: mark_held
UPDATE held_events
SET taken = coalesce(%(taken)s::boolean, taken), looked = coalesce(%(looked)s::boolean, looked)
WHERE partition = %(partition)s AND source = %(source)s AND id = %(id)s;

-- name: waiting
SELECT each.source, each.id, each.event_type, each.digest, each.event, each.received_at, each.taken, each.looked
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT * FROM held_events AS h
    WHERE h.partition = p.partition AND NOT taken /* where */
    ORDER BY received_at, source, id
    LIMIT %(limit)s
) AS each
ORDER BY each.received_at, each.source, each.id
LIMIT %(limit)s;

-- name: held_of_type
event_type = %(event_type)s

-- name: held_of_source
source = %(of_source)s

-- name: held_after
(received_at, source, id) > (%(received_at)s, %(source)s, %(id)s)

-- name: unlooked
SELECT each.source, each.id, each.event_type, each.digest, each.event, each.received_at, each.taken, each.looked
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT * FROM held_events AS h
    WHERE h.partition = p.partition AND NOT looked
    ORDER BY received_at, source, id
    LIMIT %(limit)s
) AS each
WHERE p.partition = ANY (%(partitions)s::smallint[])
ORDER BY each.received_at, each.source, each.id
LIMIT %(limit)s;

-- One whose arrival is not over was acknowledged, and nobody has been asked yet.
-- name: expire_held
DELETE FROM held_events WHERE partition = %(partition)s AND received_at < %(before)s AND looked RETURNING partition;

-- == Who read what ====================================================================================================

-- name: last_access
SELECT number, hash FROM accesses WHERE partition = %(partition)s ORDER BY number DESC LIMIT 1;

-- No row: another node has this number.
-- name: put_access
INSERT INTO accesses
    (partition, number, id, at, actor, what, step, orchestration, filters, request_id, events, previous, hash)
VALUES (
    %(partition)s, %(number)s, %(id)s, %(at)s, %(actor)s, %(what)s, %(step)s, %(orchestration)s, %(filters)s,
    %(request_id)s, %(events)s, %(previous)s, %(hash)s
)
ON CONFLICT DO NOTHING
RETURNING number;

-- name: list_accesses
SELECT each.partition, each.number, each.id, each.at, each.actor, each.what, each.step, each.orchestration,
       each.filters, each.request_id, each.events, each.previous, each.hash
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT * FROM accesses AS a
    WHERE a.partition = p.partition /* where */
    ORDER BY at DESC, number DESC
    LIMIT %(limit)s
) AS each
ORDER BY each.at DESC, each.partition, each.number DESC
LIMIT %(limit)s;

-- name: access_actor
actor = %(actor)s

-- name: access_what
what = %(what)s

-- name: access_orchestration
orchestration = %(orchestration)s

-- name: access_since
at >= %(since)s

-- name: access_until
at <= %(until)s

-- name: access_page
at < %(after_at)s OR (at = %(after_at)s AND (a.partition > %(after_partition)s
                                             OR (a.partition = %(after_partition)s AND number < %(after_number)s)))

-- name: chain_of_accesses
SELECT partition, number, id, at, actor, what, step, orchestration, filters, request_id, events, previous, hash
FROM accesses
WHERE partition = %(partition)s AND number > %(after)s
ORDER BY number
LIMIT %(limit)s;

-- The first that is young enough, or the last of all: the chain goes on from there.
-- name: first_access_to_keep
SELECT coalesce(min(number) FILTER (WHERE at >= %(before)s), max(number)) FROM accesses WHERE partition = %(partition)s;

-- name: drop_accesses
DELETE FROM accesses WHERE partition = %(partition)s AND number < %(kept)s RETURNING number;

-- == Operations ========================================================================================================

-- name: put_operation
INSERT INTO operations
    (operation, kind, actor, request, node, status, done, total, cancel_requested, started_at, updated_at, alive_until)
VALUES (
    %(operation)s, %(kind)s, %(actor)s, %(request)s, %(node)s, 'running', 0, NULL, false, %(at)s, %(at)s,
    now() + %(lease_us)s * interval '1 microsecond'
);

-- name: operation
SELECT operation, kind, actor, request, node, status, done, total, result, error, cancel_requested,
       started_at, updated_at, ended_at, alive_until > now()
FROM operations
WHERE operation = %(operation)s;

-- name: operations
SELECT operation, kind, actor, request, node, status, done, total, NULL::bytea, error, cancel_requested,
       started_at, updated_at, ended_at, alive_until > now()
FROM operations
WHERE operation <> '' /* where */
ORDER BY started_at DESC, operation
LIMIT %(limit)s;

-- name: operations_of_kind
kind = %(kind)s

-- name: operations_page
started_at <= %(last_started_at)s AND (started_at < %(last_started_at)s OR operation > %(last_operation)s)

-- No row: it has ended, or was silent for so long that it counts as dead.
-- name: beat_operation
UPDATE operations
SET done = %(done)s, total = %(total)s::bigint, updated_at = %(at)s,
    alive_until = now() + %(lease_us)s * interval '1 microsecond'
WHERE operation = %(operation)s AND node = %(node)s AND status = 'running' AND alive_until > now()
RETURNING cancel_requested;

-- name: end_operation
UPDATE operations
SET status = %(status)s, done = %(done)s, total = %(total)s::bigint, result = %(result)s::bytea,
    error = %(error)s::bytea, updated_at = %(at)s, ended_at = %(at)s
WHERE operation = %(operation)s AND node = %(node)s AND status = 'running' AND alive_until > now()
RETURNING operation;

-- name: cancel_operation
UPDATE operations SET cancel_requested = true WHERE operation = %(operation)s AND status = 'running';

-- name: expire_operations
DELETE FROM operations
WHERE started_at < %(before)s AND (status <> 'running' OR alive_until < now())
RETURNING operation;

-- == Verification ======================================================================================================

-- One statement, so all of it is as of one instant.
-- name: audit_head
SELECT p.head_position, p.head_hash,
       coalesce((SELECT max(e.position) FROM events AS e WHERE e.partition = %(partition)s), 0),
       coalesce((
           SELECT t.position FROM tracking AS t WHERE t.partition = %(partition)s AND t.projection = 'status'
       ), 0)
FROM partitions AS p
WHERE p.partition = %(partition)s;

-- name: audit_page
SELECT position, uuid_send(orchestration), version, topic, state, event_hash, log_hash, state_hash
FROM events
WHERE partition = %(partition)s AND position > %(after)s AND position <= %(until)s
ORDER BY position
LIMIT %(limit)s;

-- name: audit_event_hash
SELECT event_hash FROM events
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND version = %(version)s;

-- name: audit_unlogged
SELECT uuid_send(s.orchestration), s.public_id, s.version, coalesce(logged.version, 0)
FROM (
    SELECT partition, orchestration, public_id, version FROM status WHERE partition = %(partition)s
    UNION ALL
    SELECT partition, orchestration, public_id, events FROM archive WHERE partition = %(partition)s
) AS s
LEFT JOIN (
    SELECT e.partition, e.orchestration, max(e.version) AS version FROM events AS e
    WHERE e.partition = %(partition)s
    GROUP BY e.partition, e.orchestration
) AS logged ON logged.partition = s.partition AND logged.orchestration = s.orchestration
WHERE s.version > coalesce(logged.version, 0)
ORDER BY s.orchestration
LIMIT %(limit)s;

-- name: audit_archived
SELECT uuid_send(orchestration), public_id, events, content FROM archive
WHERE partition = %(partition)s /* where */
ORDER BY orchestration
LIMIT %(limit)s;

-- name: audit_archived_after
orchestration > %(after)s

-- name: audit_archived_events
SELECT uuid_send(e.orchestration), e.version, e.position, e.state_hash
FROM archive AS a
JOIN events AS e ON e.partition = a.partition AND e.orchestration = a.orchestration
WHERE a.partition = %(partition)s AND a.orchestration >= %(first)s AND a.orchestration <= %(last)s
ORDER BY e.orchestration, e.version;

-- name: audit_unarchived
SELECT uuid_send(e.orchestration), min(e.position)
FROM events AS e
WHERE e.partition = %(partition)s AND e.state_hash IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM archive AS a WHERE a.partition = e.partition AND a.orchestration = e.orchestration
)
GROUP BY e.orchestration
HAVING min(e.position) > %(after)s
ORDER BY min(e.position)
LIMIT %(limit)s;

-- == Checkpoints =======================================================================================================

-- name: put_checkpoint
INSERT INTO checkpoints (partition, position, log_hash, made_at, key_id, signature)
VALUES (%(partition)s, %(position)s, %(log_hash)s, %(made_at)s, %(key_id)s, %(signature)s)
ON CONFLICT DO NOTHING;

-- name: checkpoints
SELECT each.partition, each.position, each.log_hash, each.made_at, each.key_id, each.signature
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT * FROM checkpoints AS c
    WHERE c.partition = p.partition /* where */
    ORDER BY c.position
    LIMIT %(limit)s
) AS each
WHERE p.partition = ANY (%(partitions)s::smallint[])
ORDER BY each.partition, each.position
LIMIT %(limit)s;

-- name: checkpoints_after
(c.partition, c.position) > (%(after_partition)s, %(after_position)s)

-- name: latest_checkpoints
SELECT each.partition, each.position, each.log_hash, each.made_at, each.key_id, each.signature
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT * FROM checkpoints AS c
    WHERE c.partition = p.partition /* where */
    ORDER BY c.position DESC
    LIMIT 1
) AS each
WHERE p.partition = ANY (%(partitions)s::smallint[])
ORDER BY each.partition;

-- name: checkpoints_until
made_at <= %(until)s

-- == Work for remote workers ===========================================================================================

-- An attempt that had ended for workers, since the process carried it out, may be theirs again.
-- name: put_task
INSERT INTO tasks (partition, orchestration, run, number, function, definition, timeout_us, queued_at, held, begun,
                   status)
SELECT partition, orchestration, run, number, function, definition, timeout_us, queued_at, held, begun, 'waiting'
FROM unnest(
    %b::smallint[], %b::uuid[], %b::text[], %b::integer[], %b::text[], %b::text[], %b::bigint[], %b::timestamptz[],
    %b::boolean[], %b::boolean[]
) AS come (partition, orchestration, run, number, function, definition, timeout_us, queued_at, held, begun)
ON CONFLICT (partition, orchestration, run, number) DO UPDATE
SET status = 'waiting', held = excluded.held, begun = excluded.begun, token = NULL, worker = NULL, claimed_at = NULL,
    lease_until = NULL, deadline = NULL, report = NULL, ended_at = NULL
WHERE tasks.status = 'ended';

-- name: hold_task
UPDATE tasks AS t SET held = those.held
FROM unnest(%b::smallint[], %b::uuid[], %b::text[], %b::integer[], %b::boolean[])
    AS those (partition, orchestration, run, number, held)
WHERE t.partition = those.partition AND t.orchestration = those.orchestration AND t.run = those.run
  AND t.number = those.number AND t.status IN ('waiting', 'claimed');

-- name: give_up_task
UPDATE tasks AS t
SET report = CASE WHEN t.status = 'waiting' AND NOT t.begun THEN gone.unsent ELSE gone.lost END, status = 'reported'
FROM unnest(%b::smallint[], %b::uuid[], %b::text[], %b::integer[], %b::bytea[], %b::bytea[])
    AS gone (partition, orchestration, run, number, unsent, lost)
WHERE t.partition = gone.partition AND t.orchestration = gone.orchestration AND t.run = gone.run
  AND t.number = gone.number
  AND ((t.status = 'waiting' AND NOT t.begun) OR (t.status IN ('waiting', 'claimed') AND gone.lost IS NOT NULL));

-- name: end_task
UPDATE tasks AS t SET status = 'ended', ended_at = gone.ended_at
FROM unnest(%b::smallint[], %b::uuid[], %b::text[], %b::integer[], %b::timestamptz[])
    AS gone (partition, orchestration, run, number, ended_at)
WHERE t.partition = gone.partition AND t.orchestration = gone.orchestration AND t.run = gone.run
  AND t.number = gone.number AND t.status <> 'ended';

-- One probe of the index for each place, however much waits there: EXISTS became a join over all of it.
-- name: waiting_functions
SELECT p.partition, each.function
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT f.function
    FROM unnest(%(functions)s::text[]) AS f (function), LATERAL (
        SELECT 1 FROM tasks AS t
        WHERE t.partition = p.partition AND t.function = f.function COLLATE "C" AND t.status = 'waiting' AND NOT t.held
        ORDER BY t.definition, t.queued_at
        LIMIT 1
    ) AS first
) AS each;

-- name: choose_tasks
SELECT orchestration, run, number, definition, timeout_us FROM tasks
WHERE partition = %(partition)s AND function = %(function)s AND definition > %(after)s AND status = 'waiting'
  AND NOT held
  AND NOT EXISTS (SELECT 1 FROM functions AS f WHERE f.function = %(function)s AND (f.paused OR f.draining))
ORDER BY definition, queued_at
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED;

-- name: hand_out_task
UPDATE tasks AS t
SET status = 'claimed', token = out.token, worker = out.worker, claimed_at = out.claimed_at,
    lease_until = out.lease_until, deadline = out.deadline
FROM unnest(
    %b::smallint[], %b::uuid[], %b::text[], %b::integer[], %b::bytea[], %b::text[], %b::timestamptz[], %b::timestamptz[],
    %b::timestamptz[]
) AS out (partition, orchestration, run, number, token, worker, claimed_at, lease_until, deadline)
WHERE t.partition = out.partition AND t.orchestration = out.orchestration AND t.run = out.run AND t.number = out.number;

-- name: task
SELECT partition, orchestration, run, number, function, status, token, worker, deadline, report
FROM tasks
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND run = %(run)s AND number = %(number)s;

-- name: extend_task
UPDATE tasks SET lease_until = LEAST(%(until)s, deadline)
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND run = %(run)s AND number = %(number)s
  AND token = %(token)s AND status = 'claimed'
RETURNING lease_until, deadline;

-- name: report_task
UPDATE tasks SET status = 'reported', report = %(report)s
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND run = %(run)s AND number = %(number)s
  AND token = %(token)s AND status = 'claimed'
RETURNING partition;

-- name: void_task
UPDATE tasks SET status = 'reported', report = %(report)s
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND run = %(run)s AND number = %(number)s
  AND token = %(token)s AND status = 'claimed' AND lease_until <= %(at)s
RETURNING partition;

-- name: give_back_task
UPDATE tasks SET status = 'waiting', token = NULL, worker = NULL, claimed_at = NULL, lease_until = NULL, deadline = NULL
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND run = %(run)s AND number = %(number)s
  AND token = %(token)s AND status = 'claimed';

-- name: discard_task
UPDATE tasks SET status = 'ended', ended_at = %(at)s
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND run = %(run)s AND number = %(number)s
  AND status <> 'ended';

-- name: overdue_tasks
SELECT each.lease_until, each.partition, each.orchestration, each.run, each.number, each.function, each.status, each.token,
       each.worker, each.deadline, each.report
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT lease_until, partition, orchestration, run, number, function, status, token, worker, deadline, report
    FROM tasks AS t
    WHERE t.partition = p.partition AND t.status = 'claimed' AND t.lease_until <= %(at)s
    ORDER BY t.lease_until
    LIMIT %(limit)s
) AS each
WHERE p.partition = ANY (%(partitions)s::smallint[])
ORDER BY each.lease_until
LIMIT %(limit)s;

-- name: reported_tasks
SELECT each.partition, each.orchestration, each.run, each.number, each.function, each.status, each.token, each.worker,
       each.deadline, each.report
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT partition, orchestration, run, number, function, status, token, worker, deadline, report
    FROM tasks AS t
    WHERE t.partition = p.partition AND t.status = 'reported'
    ORDER BY t.orchestration, t.run, t.number
    LIMIT %(limit)s
) AS each
WHERE p.partition = ANY (%(partitions)s::smallint[])
ORDER BY each.partition, each.orchestration, each.run, each.number
LIMIT %(limit)s;

-- name: open_functions
SELECT DISTINCT function FROM tasks
WHERE partition = %(partition)s AND status IN ('waiting', 'claimed')
ORDER BY function;

-- name: open_tasks_of
SELECT partition, orchestration, run, number, function, status, token, worker, deadline, report
FROM tasks
WHERE partition = %(partition)s AND function = %(function)s AND status IN ('waiting', 'claimed')
LIMIT %(limit)s;

-- name: expire_tasks
DELETE FROM tasks
WHERE partition = %(partition)s AND status = 'ended' AND ended_at < %(before)s
RETURNING partition;

-- name: task_loads
SELECT function, CASE WHEN status = 'waiting' AND held THEN 'held' ELSE status END, coalesce(worker, ''), count(*)
FROM tasks
WHERE partition IN (SELECT p.partition FROM partitions AS p) AND status IN ('waiting', 'claimed')
GROUP BY 1, 2, 3
ORDER BY function;

-- name: claimed_of_function
SELECT count(*) FROM tasks
WHERE partition IN (SELECT p.partition FROM partitions AS p) AND function = %(function)s AND status = 'claimed';

-- name: function_controls
SELECT function, paused, draining, max_concurrent, max_per_second, asked_at, last_claimed_at
FROM functions
ORDER BY function;

-- Whoever is about to hand out work of a limited function waits for those who are just doing so.
-- name: hold_function
UPDATE functions SET holders = holders + 1
WHERE function = %(function)s
RETURNING paused, draining, max_concurrent, max_per_second, allowance, allowance_at;

-- name: spend_allowance
UPDATE functions SET allowance = %(allowance)s, allowance_at = %(at)s WHERE function = %(function)s;

-- name: control_function
INSERT INTO functions (function, paused, draining)
VALUES (%(function)s, coalesce(%(paused)s::boolean, false), coalesce(%(draining)s::boolean, false))
ON CONFLICT (function) DO UPDATE
SET paused = coalesce(%(paused)s::boolean, functions.paused),
    draining = coalesce(%(draining)s::boolean, functions.draining);

-- name: limit_function
INSERT INTO functions (function, max_concurrent, max_per_second)
VALUES (%(function)s, %(max_concurrent)s::integer, %(max_per_second)s::float8)
ON CONFLICT (function) DO UPDATE
SET max_concurrent = excluded.max_concurrent, max_per_second = excluded.max_per_second;

-- name: note_function
INSERT INTO functions (function, asked_at, last_claimed_at)
VALUES (%(function)s, %(at)s, CASE WHEN %(claimed)s THEN %(at)s END)
ON CONFLICT (function) DO UPDATE
SET asked_at = excluded.asked_at, last_claimed_at = coalesce(excluded.last_claimed_at, functions.last_claimed_at);

-- == Schedules =========================================================================================================

-- name: put_schedule
INSERT INTO schedules (partition, namespace, name, revision, course)
VALUES (%(partition)s, %(namespace)s, %(name)s, 1, %(course)s)
ON CONFLICT DO NOTHING
RETURNING revision;

-- name: change_schedule
UPDATE schedules SET course = %(course)s, revision = revision + 1
WHERE partition = %(partition)s AND namespace = %(namespace)s AND name = %(name)s AND revision = %(revision)s
RETURNING revision;

-- name: schedule
SELECT namespace, name, revision, course FROM schedules
WHERE partition = %(partition)s AND namespace = %(namespace)s AND name = %(name)s;

-- name: schedules
SELECT namespace, name, revision, course FROM schedules
WHERE partition = ANY (%(partitions)s::smallint[])
ORDER BY namespace, name;

-- Tasks for people ------------------------------------------------------------------------------------------------------

-- name: drop_human_task
DELETE FROM human_tasks AS h
USING unnest(%b::smallint[], %b::uuid[], %b::integer[]) AS gone (partition, orchestration, number)
WHERE h.partition = gone.partition AND h.orchestration = gone.orchestration AND h.number = gone.number;

-- name: put_human_task
INSERT INTO human_tasks (partition, orchestration, number, public_id, namespace, name, status, assignee, rank, due_at,
                         created_at, content)
SELECT partition, orchestration, number, public_id, namespace, name, status, assignee, rank, due_at, created_at,
       content
FROM unnest(
    %b::smallint[], %b::uuid[], %b::integer[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::integer[],
    %b::timestamptz[], %b::timestamptz[], %b::bytea[]
) AS come (
    partition, orchestration, number, public_id, namespace, name, status, assignee, rank, due_at, created_at, content
)
ON CONFLICT (partition, orchestration, number) DO UPDATE
SET status = excluded.status, assignee = excluded.assignee, rank = excluded.rank, due_at = excluded.due_at,
    created_at = excluded.created_at, content = excluded.content;

-- name: drop_human_candidates
DELETE FROM human_candidates AS k
USING unnest(%b::smallint[], %b::uuid[], %b::integer[]) AS gone (partition, orchestration, number)
WHERE k.partition = gone.partition AND k.orchestration = gone.orchestration AND k.number = gone.number;

-- name: put_human_candidate
INSERT INTO human_candidates (partition, orchestration, number, person, rank, created_at, public_id)
SELECT * FROM unnest(
    %b::smallint[], %b::uuid[], %b::integer[], %b::text[], %b::integer[], %b::timestamptz[], %b::text[]
);

-- name: human_tasks
SELECT each.partition, each.public_id, each.number, each.status, each.assignee, each.rank, each.due_at, each.created_at,
       each.content
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT * FROM human_tasks AS h
    WHERE h.partition = p.partition /* where */
    ORDER BY rank, created_at, public_id, number
    LIMIT %(limit)s
) AS each
WHERE p.partition = ANY (%(partitions)s)
ORDER BY each.rank, each.created_at, each.public_id, each.number
LIMIT %(limit)s;

-- name: human_tasks_for
SELECT each.partition, each.public_id, each.number, each.status, each.assignee, each.rank, each.due_at, each.created_at,
       each.content
FROM partitions AS p
CROSS JOIN LATERAL (
    SELECT h.* FROM human_candidates AS k
    JOIN human_tasks AS h ON h.partition = k.partition AND h.orchestration = k.orchestration AND h.number = k.number
    WHERE k.partition = p.partition AND k.person = %(person)s /* where */
    ORDER BY k.rank, k.created_at, k.public_id, k.number
    LIMIT %(limit)s
) AS each
WHERE p.partition = ANY (%(partitions)s)
ORDER BY each.rank, each.created_at, each.public_id, each.number
LIMIT %(limit)s;

-- name: human_assignee
h.assignee = %(assignee)s

-- name: human_status
h.status = %(status)s

-- name: human_namespace
h.namespace = %(namespace)s

-- name: human_name
h.name = %(name)s

-- name: human_orchestration
h.public_id = %(public_id)s

-- name: human_overdue
h.due_at <= %(overdue)s

-- name: human_not_overdue
(h.due_at IS NULL OR h.due_at > %(overdue)s)

-- name: human_page
(h.rank, h.created_at, h.public_id, h.number)
    > (%(last_rank)s, %(last_created_at)s, %(last_public_id)s, %(last_number)s)

-- name: human_page_for
(k.rank, k.created_at, k.public_id, k.number)
    > (%(last_rank)s, %(last_created_at)s, %(last_public_id)s, %(last_number)s)

-- == Blobs =============================================================================================================

-- With the events that refer to them.
-- name: put_blob
INSERT INTO blobs (partition, orchestration, digest, media_type, size, content)
SELECT * FROM unnest(
    %b::smallint[], %b::uuid[], %b::bytea[], %b::text[], %b::bigint[], %b::bytea[]
)
ON CONFLICT (partition, orchestration, digest) DO UPDATE
SET loose_since = NULL, content = coalesce(blobs.content, excluded.content)
WHERE blobs.loose_since IS NOT NULL OR blobs.content IS NULL;

-- name: put_loose_blob
INSERT INTO blobs AS known (partition, orchestration, digest, media_type, size, loose_since, content)
VALUES (%(partition)s, %(orchestration)s, %(digest)s, %(media_type)s, %(size)s, %(at)s, %(content)s)
ON CONFLICT (partition, orchestration, digest) DO UPDATE
SET loose_since = CASE WHEN known.loose_since IS NOT NULL THEN excluded.loose_since END,
    content = coalesce(known.content, excluded.content)
WHERE known.loose_since IS NOT NULL OR known.content IS NULL;

-- name: blob
SELECT media_type, size, content FROM blobs
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND digest = %(digest)s;

-- name: blob_holders
SELECT orchestration FROM blobs
WHERE partition = %(partition)s AND digest = %(digest)s
ORDER BY orchestration
LIMIT %(limit)s;

-- name: blobs
SELECT orchestration, digest, size FROM blobs
WHERE partition = %(partition)s /* where */
ORDER BY orchestration, digest
LIMIT %(limit)s;

-- name: blobs_after
(orchestration, digest) > (%(after_orchestration)s, %(after_digest)s)

-- name: loose_blobs
SELECT orchestration, digest FROM blobs
WHERE partition = %(partition)s AND loose_since < %(before)s
ORDER BY loose_since
LIMIT %(limit)s;

-- name: keep_blob
UPDATE blobs AS b SET loose_since = NULL
FROM unnest(%b::smallint[], %b::uuid[], %b::bytea[]) AS kept (partition, orchestration, digest)
WHERE b.partition = kept.partition AND b.orchestration = kept.orchestration AND b.digest = kept.digest;

-- name: drop_blob
DELETE FROM blobs AS b
USING unnest(%b::smallint[], %b::uuid[], %b::bytea[]) AS gone (partition, orchestration, digest)
WHERE b.partition = gone.partition AND b.orchestration = gone.orchestration AND b.digest = gone.digest;

-- name: drop_loose_blob
DELETE FROM blobs
WHERE partition = %(partition)s AND orchestration = %(orchestration)s AND digest = %(digest)s
  AND loose_since < %(before)s
RETURNING digest;

-- == Followers of the log ==============================================================================================

-- name: put_follower
INSERT INTO followers (partition, name, position)
VALUES (%(partition)s, %(name)s, %(position)s)
ON CONFLICT DO NOTHING
RETURNING position;

-- name: follower
SELECT position FROM followers WHERE partition = %(partition)s AND name = %(name)s;

-- name: move_follower
UPDATE followers SET position = %(until)s
WHERE partition = %(partition)s AND name = %(name)s AND position = %(after)s
RETURNING position;
