-- Statements on SQLite. Those that read over all partitions are run once per partition (:partition) and merged.

-- == The log ===========================================================================================================

-- name: create_settings
INSERT INTO settings (id, salt, partitions) VALUES (1, :salt, :partitions) ON CONFLICT DO NOTHING;

-- name: stored_partitions
SELECT partitions FROM settings;

-- name: salt
SELECT salt FROM settings;

-- name: create_partition
INSERT INTO partitions (partition, head_hash) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- No row: the partition is lost, or its head is not what the writer believes.
-- name: fence
UPDATE partitions SET head_position = ?, head_hash = ? WHERE partition = ? AND epoch = ? AND head_position = ?;

-- name: head
SELECT partition, epoch, head_position, head_hash FROM partitions WHERE partition = :partition;

-- name: positions
SELECT partition, head_position FROM partitions;

-- name: last_position
SELECT head_position FROM partitions WHERE partition = :partition;

-- name: put_event
INSERT INTO events (partition, position, orchestration, version, topic, state, event_hash, log_hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: stream
SELECT position, orchestration, version, topic, state, event_hash, log_hash, state_hash
FROM events
WHERE partition = :partition AND orchestration = :orchestration AND version > :after AND version <= :until
ORDER BY version
LIMIT :limit;

-- name: stream_newest_first
SELECT position, orchestration, version, topic, state, event_hash, log_hash, state_hash
FROM events
WHERE partition = :partition AND orchestration = :orchestration AND version > :after AND version <= :until
ORDER BY version DESC
LIMIT :limit;

-- name: log
SELECT position, orchestration, version, topic, state, event_hash, log_hash, state_hash
FROM events
WHERE partition = :partition AND position > :after /* where */
ORDER BY position
LIMIT :limit;

-- name: log_until
position <= :until

-- name: log_topics
topic IN (SELECT value FROM json_each(:topics))

-- == Nodes and leases ==================================================================================================

-- name: put_node
INSERT INTO nodes (node, host, pid, process, version, started_at, eligible, lease_until)
VALUES (
    :node, :host, :pid, :process, :version, :started_at, :eligible,
    CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER) + :lease_us
)
ON CONFLICT (node) DO UPDATE SET eligible = excluded.eligible, lease_until = excluded.lease_until;

-- name: renew_lease
UPDATE partitions SET lease_until = CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER) + :lease_us
WHERE partition = :partition AND epoch = :epoch;

-- name: database_time
SELECT CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER);

-- name: nodes
SELECT node, host, pid, process, version, started_at, eligible,
       (lease_until - CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)) / 1000000.0
FROM nodes
ORDER BY node;

-- name: holdings
SELECT p.partition, p.epoch, p.owner, coalesce((p.lease_until - CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)) / 1000000.0, 0.0),
       p.head_position, coalesce(t.position, 0)
FROM partitions AS p
LEFT JOIN tracking AS t ON t.partition = p.partition AND t.projection = 'status'
ORDER BY p.partition;

-- Raising the epoch fences off whoever wrote before.
-- name: claim
UPDATE partitions
SET epoch = epoch + 1, owner = :node, lease_until = CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER) + :lease_us
WHERE partition = :partition AND epoch = :epoch
  AND (:forced OR owner IS NULL OR lease_until <= CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER))
RETURNING partition, epoch, head_position, head_hash;

-- name: release
UPDATE partitions SET owner = NULL, lease_until = NULL
WHERE partition = :partition AND epoch = :epoch AND owner = :node;

-- name: drop_node
DELETE FROM nodes WHERE node = :node OR lease_until < CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER) - 3600000000;

-- == Inbox =============================================================================================================

-- name: put_command
INSERT INTO inbox (partition, command_id, body, kept, arrived_at)
VALUES (:partition, :command_id, :body, :kept, :at)
ON CONFLICT DO NOTHING
RETURNING partition;

-- name: command_reply
SELECT reply FROM inbox WHERE partition = :partition AND command_id = :command_id;

-- name: pending_commands
SELECT arrived_at, partition, command_id, body, kept FROM inbox
WHERE partition = :partition AND reply IS NULL
ORDER BY arrived_at, command_id
LIMIT :limit;

-- name: replies
SELECT i.command_id, i.reply
FROM json_each(:wanted) AS wanted
JOIN inbox AS i ON i.partition = json_extract(wanted.value, '$.partition')
    AND i.command_id = json_extract(wanted.value, '$.command_id')
WHERE i.reply IS NOT NULL;

-- name: put_reply
UPDATE inbox SET reply = ?3 WHERE partition = ?1 AND command_id = ?2;

-- name: expire_commands
DELETE FROM inbox
WHERE partition = :partition AND kept = :kept AND arrived_at < :before AND reply IS NOT NULL
RETURNING partition;

-- == Work ==============================================================================================================

-- name: drop_agenda
DELETE FROM agenda WHERE partition = ? AND orchestration = ?;

-- name: put_agenda
INSERT INTO agenda (partition, orchestration, in_flight, due_at) VALUES (?, ?, ?, ?)
ON CONFLICT (partition, orchestration) DO UPDATE SET in_flight = excluded.in_flight, due_at = excluded.due_at;

-- name: put_emitted
INSERT INTO emitted (partition, orchestration, number, event) VALUES (?, ?, ?, ?);

-- name: drop_emitted
DELETE FROM emitted WHERE partition = ? AND orchestration = ? AND number = ?;

-- name: drop_subscriptions
DELETE FROM subscriptions WHERE partition = ? AND orchestration = ? AND run = ?;

-- name: put_subscription
INSERT INTO subscriptions (partition, orchestration, run, slot, event_type) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (partition, orchestration, run, slot) DO UPDATE SET event_type = excluded.event_type;

-- name: in_flight
SELECT orchestration FROM agenda
WHERE partition = :partition AND in_flight = 1 /* where */
ORDER BY orchestration
LIMIT :limit;

-- name: in_flight_after
orchestration > :after

-- name: due
SELECT due_at, partition, orchestration FROM agenda
WHERE partition = :partition AND due_at <= :until
ORDER BY due_at, orchestration
LIMIT :limit;

-- name: emitted
SELECT orchestration, number, event FROM emitted
WHERE partition = :partition /* where */
ORDER BY orchestration, number
LIMIT :limit;

-- name: emitted_after
(orchestration, number) > (:after_orchestration, :after_number)

-- name: subscribers
SELECT DISTINCT partition, orchestration FROM subscriptions
WHERE partition = :partition AND event_type IN (:event_type, '') /* where */
ORDER BY orchestration
LIMIT :limit;

-- name: subscribers_after
(partition, orchestration) > (:after_partition, :after)

-- == Snapshots =========================================================================================================

-- name: snapshot
SELECT orchestration, version, format, event_hash, state FROM snapshots
WHERE partition = :partition AND orchestration = :orchestration AND format = :format;

-- name: put_snapshot
INSERT INTO snapshots AS known (partition, orchestration, version, format, event_hash, state)
VALUES (:partition, :orchestration, :version, :format, :event_hash, :state)
ON CONFLICT (partition, orchestration) DO UPDATE
SET version = excluded.version, format = excluded.format, event_hash = excluded.event_hash, state = excluded.state
WHERE known.version <= excluded.version OR known.format <> excluded.format;

-- == The archive =======================================================================================================

-- Nobody writes to the partition between this and the commit.
-- name: lock_partition
SELECT partition FROM partitions WHERE partition = :partition AND epoch = :epoch;

-- name: last_version
SELECT version, state_hash FROM events
WHERE partition = :partition AND orchestration = :orchestration
ORDER BY version DESC
LIMIT 1;

-- name: strip_event
UPDATE events SET state = x'', state_hash = ?3 WHERE partition = ?1 AND position = ?2;

-- name: put_archived
INSERT INTO archive
    (partition, orchestration, public_id, definition, status, started_at, ended_at, events, archived_at, content)
VALUES (
    :partition, :orchestration, :public_id, :definition, :status, :started_at, :ended_at,
    :events, :archived_at, :content
);

-- name: archived
SELECT orchestration, public_id, definition, status, started_at, ended_at, events, archived_at, content
FROM archive
WHERE partition = :partition AND orchestration = :orchestration;

-- name: drop_status
DELETE FROM status WHERE partition = :partition AND orchestration = :orchestration;

-- name: drop_tags_of
DELETE FROM status_tags WHERE partition = :partition AND orchestration = :orchestration;

-- name: drop_snapshot
DELETE FROM snapshots WHERE partition = :partition AND orchestration = :orchestration;

-- == Definitions =======================================================================================================

-- name: definition
SELECT namespace, name, version, digest, media_type, document, value, resource, warnings, created_at
FROM definitions
WHERE namespace = :namespace AND name = :name AND version = :version
ORDER BY revision DESC
LIMIT 1;

-- name: definition_by_digest
SELECT namespace, name, version, digest, media_type, document, value, resource, warnings, created_at
FROM definitions
WHERE digest = :digest
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
namespace = :namespace

-- name: definition_name
name = :name

-- name: put_definition
INSERT INTO definitions
    (namespace, name, version, revision, digest, media_type, document, value, resource, warnings, created_at)
SELECT
    :namespace, :name, :version, coalesce(max(revision), 0) + 1,
    :digest, :media_type, :document, :value, :resource, :warnings, :created_at
FROM definitions
WHERE namespace = :namespace AND name = :name AND version = :version
ON CONFLICT DO NOTHING
RETURNING revision;

-- name: claim_resource
INSERT INTO resources (resource, namespace, name) VALUES (:resource, :namespace, :name)
ON CONFLICT DO NOTHING
RETURNING resource;

-- name: resource_owner
SELECT namespace, name FROM resources WHERE resource = :resource;

-- name: resource_in_use
SELECT version FROM definitions AS d
WHERE resource = :resource AND namespace = :namespace AND name = :name AND revision = (
    SELECT max(revision) FROM definitions AS newer
    WHERE newer.namespace = d.namespace AND newer.name = d.name AND newer.version = d.version
)
LIMIT 1;

-- name: pass_resource
UPDATE resources SET namespace = :namespace, name = :name WHERE resource = :resource;

-- == Projections =======================================================================================================

-- name: tracked
SELECT partition, position FROM tracking WHERE projection = :projection;

-- name: start_tracking
INSERT INTO tracking (partition, projection, position) VALUES (:partition, :projection, 0) ON CONFLICT DO NOTHING;

-- A partition that is not returned: someone else has projected these events.
-- name: move_tracking
UPDATE tracking SET position = json_extract(m.value, '$.until')
FROM json_each(:moves) AS m
WHERE partition = json_extract(m.value, '$.partition') AND projection = :projection
  AND position = json_extract(m.value, '$.after')
RETURNING partition;

-- name: put_status
INSERT INTO status
    (partition, orchestration, public_id, namespace, name, definition_version, status, version, business_key, tags,
     incidents, started_at, updated_at, summary)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (partition, orchestration) DO UPDATE SET
    public_id = excluded.public_id, namespace = excluded.namespace, name = excluded.name,
    definition_version = excluded.definition_version, status = excluded.status, version = excluded.version,
    business_key = excluded.business_key, tags = excluded.tags, incidents = excluded.incidents,
    started_at = excluded.started_at, updated_at = excluded.updated_at, summary = excluded.summary;

-- name: drop_tags
DELETE FROM status_tags WHERE partition = ? AND orchestration = ?;

-- name: put_tag
INSERT INTO status_tags (partition, orchestration, key, value) VALUES (?, ?, ?, ?);

-- name: list_status
SELECT partition, orchestration, public_id, namespace, name, definition_version, status, version, business_key, tags,
       incidents, started_at, updated_at, summary
FROM status AS s
WHERE partition = :partition /* where */
ORDER BY started_at DESC, public_id
LIMIT :limit;

-- name: status_namespace
namespace = :namespace

-- name: status_name
name = :name

-- name: status_definition_version
definition_version = :definition_version

-- name: status_business_key
business_key = :business_key

-- name: status_started_after
started_at > :started_after

-- name: status_started_before
started_at < :started_before

-- name: status_in
status IN (SELECT value FROM json_each(:statuses))

-- name: status_with_incident
incidents > 0

-- name: status_without_incident
incidents = 0

-- name: status_tag
EXISTS (
    SELECT 1 FROM status_tags AS t
    WHERE t.partition = s.partition AND t.orchestration = s.orchestration
      AND t.key = :tag_key_{n} AND t.value = :tag_value_{n}
)

-- The first condition bounds the index range, the second drops what was seen of its first instant.
-- name: status_page
started_at <= :last_started_at AND (started_at < :last_started_at OR public_id > :last_public_id)

-- name: status_of
SELECT partition, orchestration, public_id, namespace, name, definition_version, status, version, business_key, tags,
       incidents, started_at, updated_at, summary
FROM status
WHERE partition = :partition AND orchestration = :orchestration;

-- Backwards along status_newest: what was started last has not been still for long.
-- name: still
SELECT partition, orchestration, public_id, namespace, name, definition_version, status, version, business_key, tags,
       incidents, started_at, updated_at, summary
FROM status
WHERE partition = :partition AND started_at <= :before AND updated_at <= :before
  AND status IN (SELECT value FROM json_each(:statuses)) /* where */
ORDER BY started_at, public_id DESC
LIMIT :limit;

-- name: still_after
started_at >= :after_started_at AND (started_at > :after_started_at OR public_id < :after_public_id)

-- What users' projections are; their own tables are in projections.sql.
-- name: projection_builds
SELECT name, version, number, shape, state, created_at FROM projections ORDER BY name, version, number;

-- name: put_projection_build
INSERT INTO projections (name, version, number, shape, state, created_at)
VALUES (:name, :version, :number, :shape, :state, :created_at)
ON CONFLICT DO NOTHING
RETURNING number;

-- name: move_projection_build
UPDATE projections SET state = :state
WHERE name = :name AND version = :version AND number = :number AND state = :from_state
RETURNING number;

-- name: projection_progress
SELECT partition, position, failure FROM tracking WHERE projection = :projection;

-- No row: someone else has projected these events, it has failed, or it is retired.
-- name: move_projection
UPDATE tracking SET position = :until, failure = :failure
WHERE partition = :partition AND projection = :projection AND position = :after AND failure IS NULL
RETURNING position;

-- name: retry_projection
UPDATE tracking SET failure = NULL
WHERE partition = :partition AND projection = :projection AND failure IS NOT NULL
RETURNING position;

-- name: end_projection
DELETE FROM tracking WHERE partition = :partition AND projection = :projection RETURNING position;

-- name: reset_tracking
DELETE FROM tracking WHERE partition = :partition AND projection = :projection;

-- name: reset_tags
DELETE FROM status_tags WHERE partition = :partition;

-- name: reset_status
DELETE FROM status WHERE partition = :partition;

-- == Registers =========================================================================================================

-- name: begin_request
INSERT INTO requests (partition, caller, key, fingerprint, started_at)
VALUES (:partition, :caller, :key, :fingerprint, :at)
ON CONFLICT DO NOTHING
RETURNING partition;

-- name: request
SELECT fingerprint, status, headers, body, started_at FROM requests
WHERE partition = :partition AND caller = :caller AND key = :key;

-- name: finish_request
UPDATE requests SET status = :status, headers = :headers, body = :body
WHERE partition = :partition AND caller = :caller AND key = :key;

-- name: abandon_request
DELETE FROM requests
WHERE partition = :partition AND caller = :caller AND key = :key AND status IS NULL;

-- name: take_over_request
UPDATE requests SET started_at = :at
WHERE partition = :partition AND caller = :caller AND key = :key AND status IS NULL AND started_at = :started_at
RETURNING partition;

-- name: expire_requests
DELETE FROM requests WHERE partition = :partition AND started_at < :before RETURNING partition;

-- name: reserve_key
INSERT INTO keys (partition, definition, key, holder) VALUES (:partition, :definition, :key, :holder)
ON CONFLICT DO NOTHING;

-- name: holds_key
SELECT partition FROM keys
WHERE partition = :partition AND definition = :definition AND key = :key AND holder = :holder AND contender IS NULL;

-- name: contend_for_key
UPDATE keys SET contender = :contender
WHERE partition = :partition AND definition = :definition AND key = :key AND holder = :holder;

-- name: withdraw_from_key
UPDATE keys SET contender = NULL
WHERE partition = :partition AND definition = :definition AND key = :key AND contender = :contender;

-- name: take_over_key
UPDATE keys SET holder = :public_id, contender = NULL
WHERE partition = :partition AND definition = :definition AND key = :key AND holder = :holder
  AND (NOT :contended OR contender = :public_id)
RETURNING partition;

-- name: key_holder
SELECT holder FROM keys WHERE partition = :partition AND definition = :definition AND key = :key;

-- name: hold_event
INSERT INTO held_events (partition, source, id, event_type, digest, event, received_at, taken, looked)
VALUES (:partition, :source, :id, :event_type, :digest, :event, :received_at, :taken, :looked)
ON CONFLICT DO NOTHING
RETURNING partition;

-- name: held_event
SELECT source, id, event_type, digest, event, received_at, taken, looked FROM held_events
WHERE partition = :partition AND source = :source AND id = :id;

-- name: mark_held
UPDATE held_events SET taken = coalesce(:taken, taken), looked = coalesce(:looked, looked)
WHERE partition = :partition AND source = :source AND id = :id;

-- name: waiting
SELECT source, id, event_type, digest, event, received_at, taken, looked FROM held_events
WHERE partition = :partition AND taken = 0 /* where */
ORDER BY received_at, source, id
LIMIT :limit;

-- name: held_of_type
event_type = :event_type

-- name: held_of_source
source = :of_source

-- name: held_after
(received_at, source, id) > (:received_at, :source, :id)

-- name: unlooked
SELECT source, id, event_type, digest, event, received_at, taken, looked FROM held_events
WHERE partition = :partition AND looked = 0
ORDER BY received_at, source, id
LIMIT :limit;

-- One whose arrival is not over was acknowledged, and nobody has been asked yet.
-- name: expire_held
DELETE FROM held_events WHERE partition = :partition AND received_at < :before AND looked = 1 RETURNING partition;

-- == Who read what ====================================================================================================

-- name: last_access
SELECT number, hash FROM accesses WHERE partition = :partition ORDER BY number DESC LIMIT 1;

-- No row: another node has this number.
-- name: put_access
INSERT INTO accesses
    (partition, number, id, at, actor, what, step, orchestration, filters, request_id, events, previous, hash)
VALUES (
    :partition, :number, :id, :at, :actor, :what, :step, :orchestration, :filters, :request_id, :events, :previous, :hash
)
ON CONFLICT DO NOTHING
RETURNING number;

-- name: list_accesses
SELECT partition, number, id, at, actor, what, step, orchestration, filters, request_id, events, previous, hash
FROM accesses
WHERE partition = :partition /* where */
ORDER BY at DESC, number DESC
LIMIT :limit;

-- name: access_actor
actor = :actor

-- name: access_what
what = :what

-- name: access_orchestration
orchestration = :orchestration

-- name: access_since
at >= :since

-- name: access_until
at <= :until

-- name: access_page
at < :after_at OR (at = :after_at AND (partition > :after_partition
                                       OR (partition = :after_partition AND number < :after_number)))

-- name: chain_of_accesses
SELECT partition, number, id, at, actor, what, step, orchestration, filters, request_id, events, previous, hash
FROM accesses
WHERE partition = :partition AND number > :after
ORDER BY number
LIMIT :limit;

-- The first that is young enough, or the last of all: the chain goes on from there.
-- name: first_access_to_keep
SELECT coalesce(min(CASE WHEN at >= :before THEN number END), max(number)) FROM accesses WHERE partition = :partition;

-- name: drop_accesses
DELETE FROM accesses WHERE partition = :partition AND number < :kept RETURNING number;

-- == Operations ========================================================================================================

-- name: put_operation
INSERT INTO operations
    (operation, kind, actor, request, node, status, done, total, cancel_requested, started_at, updated_at, alive_until)
VALUES (
    :operation, :kind, :actor, :request, :node, 'running', 0, NULL, 0, :at, :at,
    CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER) + :lease_us
);

-- name: operation
SELECT operation, kind, actor, request, node, status, done, total, result, error, cancel_requested,
       started_at, updated_at, ended_at,
       alive_until > CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)
FROM operations
WHERE operation = :operation;

-- name: operations
SELECT operation, kind, actor, request, node, status, done, total, NULL, error, cancel_requested,
       started_at, updated_at, ended_at,
       alive_until > CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)
FROM operations
WHERE operation <> '' /* where */
ORDER BY started_at DESC, operation
LIMIT :limit;

-- name: operations_of_kind
kind = :kind

-- name: operations_page
started_at <= :last_started_at AND (started_at < :last_started_at OR operation > :last_operation)

-- No row: it has ended, or was silent for so long that it counts as dead.
-- name: beat_operation
UPDATE operations
SET done = :done, total = :total, updated_at = :at,
    alive_until = CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER) + :lease_us
WHERE operation = :operation AND node = :node AND status = 'running'
  AND alive_until > CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)
RETURNING cancel_requested;

-- name: end_operation
UPDATE operations
SET status = :status, done = :done, total = :total, result = :result, error = :error, updated_at = :at, ended_at = :at
WHERE operation = :operation AND node = :node AND status = 'running'
  AND alive_until > CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)
RETURNING operation;

-- name: cancel_operation
UPDATE operations SET cancel_requested = 1 WHERE operation = :operation AND status = 'running';

-- name: expire_operations
DELETE FROM operations
WHERE started_at < :before
  AND (status <> 'running' OR alive_until < CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER))
RETURNING operation;

-- == Verification ======================================================================================================

-- One statement, so all of it is as of one instant.
-- name: audit_head
SELECT p.head_position, p.head_hash,
       coalesce((SELECT max(e.position) FROM events AS e WHERE e.partition = p.partition), 0),
       coalesce((SELECT t.position FROM tracking AS t WHERE t.partition = p.partition AND t.projection = 'status'), 0)
FROM partitions AS p
WHERE p.partition = :partition;

-- name: audit_page
SELECT position, orchestration, version, topic, state, event_hash, log_hash, state_hash
FROM events
WHERE partition = :partition AND position > :after AND position <= :until
ORDER BY position
LIMIT :limit;

-- name: audit_event_hash
SELECT event_hash FROM events
WHERE partition = :partition AND orchestration = :orchestration AND version = :version;

-- name: audit_unlogged
SELECT orchestration, public_id, version, logged
FROM (
    SELECT s.orchestration, s.public_id, s.version, coalesce((
        SELECT max(e.version) FROM events AS e
        WHERE e.partition = :partition AND e.orchestration = s.orchestration
    ), 0) AS logged
    FROM (
        SELECT orchestration, public_id, version FROM status WHERE partition = :partition
        UNION ALL
        SELECT orchestration, public_id, events FROM archive WHERE partition = :partition
    ) AS s
)
WHERE version > logged
ORDER BY orchestration
LIMIT :limit;

-- name: audit_archived
SELECT orchestration, public_id, events, content FROM archive
WHERE partition = :partition /* where */
ORDER BY orchestration
LIMIT :limit;

-- name: audit_archived_after
orchestration > :after

-- name: audit_archived_events
SELECT e.orchestration, e.version, e.position, e.state_hash
FROM archive AS a
JOIN events AS e ON e.partition = a.partition AND e.orchestration = a.orchestration
WHERE a.partition = :partition AND a.orchestration >= :first AND a.orchestration <= :last
ORDER BY e.orchestration, e.version;

-- name: audit_unarchived
SELECT e.orchestration, min(e.position)
FROM events AS e
WHERE e.partition = :partition AND e.state_hash IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM archive AS a WHERE a.partition = e.partition AND a.orchestration = e.orchestration
)
GROUP BY e.orchestration
HAVING min(e.position) > :after
ORDER BY min(e.position)
LIMIT :limit;

-- == Checkpoints =======================================================================================================

-- name: put_checkpoint
INSERT INTO checkpoints (partition, position, log_hash, made_at, key_id, signature)
VALUES (:partition, :position, :log_hash, :made_at, :key_id, :signature)
ON CONFLICT DO NOTHING;

-- name: checkpoints
SELECT partition, position, log_hash, made_at, key_id, signature FROM checkpoints
WHERE partition = :partition /* where */
ORDER BY position
LIMIT :limit;

-- name: checkpoints_after
(partition, position) > (:after_partition, :after_position)

-- name: latest_checkpoints
SELECT partition, position, log_hash, made_at, key_id, signature FROM checkpoints
WHERE partition = :partition /* where */
ORDER BY position DESC
LIMIT 1;

-- name: checkpoints_until
made_at <= :until

-- == Work for remote workers ===========================================================================================

-- An attempt that had ended for workers, since the process carried it out, may be theirs again.
-- name: put_task
INSERT INTO tasks (partition, orchestration, run, number, function, definition, timeout_us, queued_at, held, begun,
                   status)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting')
ON CONFLICT DO UPDATE
SET status = 'waiting', held = excluded.held, begun = excluded.begun, token = NULL, worker = NULL, claimed_at = NULL,
    lease_until = NULL, deadline = NULL, report = NULL, ended_at = NULL
WHERE status = 'ended';

-- name: hold_task
UPDATE tasks SET held = ?5
WHERE partition = ?1 AND orchestration = ?2 AND run = ?3 AND number = ?4 AND status IN ('waiting', 'claimed');

-- name: give_up_task
UPDATE tasks SET report = CASE WHEN status = 'waiting' AND begun = 0 THEN ?5 ELSE ?6 END, status = 'reported'
WHERE partition = ?1 AND orchestration = ?2 AND run = ?3 AND number = ?4
  AND ((status = 'waiting' AND begun = 0) OR (status IN ('waiting', 'claimed') AND ?6 IS NOT NULL));

-- name: end_task
UPDATE tasks SET status = 'ended', ended_at = ?5
WHERE partition = ?1 AND orchestration = ?2 AND run = ?3 AND number = ?4 AND status <> 'ended';

-- name: waiting_functions
SELECT p.partition, f.value
FROM partitions AS p
CROSS JOIN json_each(:functions) AS f
WHERE EXISTS (
    SELECT 1 FROM tasks AS t WHERE t.partition = p.partition AND t.function = f.value AND t.status = 'waiting' AND t.held = 0
);

-- name: choose_tasks
SELECT orchestration, run, number, definition, timeout_us FROM tasks
WHERE partition = :partition AND function = :function AND definition > :after AND status = 'waiting'
  AND held = 0
  AND NOT EXISTS (SELECT 1 FROM functions AS f WHERE f.function = :function AND (f.paused <> 0 OR f.draining <> 0))
ORDER BY definition, queued_at
LIMIT :limit;

-- name: hand_out_task
UPDATE tasks
SET status = 'claimed', token = ?5, worker = ?6, claimed_at = ?7, lease_until = ?8, deadline = ?9
WHERE partition = ?1 AND orchestration = ?2 AND run = ?3 AND number = ?4;

-- name: task
SELECT partition, orchestration, run, number, function, status, token, worker, deadline, report
FROM tasks
WHERE partition = :partition AND orchestration = :orchestration AND run = :run AND number = :number;

-- name: extend_task
UPDATE tasks SET lease_until = min(:until, deadline)
WHERE partition = :partition AND orchestration = :orchestration AND run = :run AND number = :number
  AND token = :token AND status = 'claimed'
RETURNING lease_until, deadline;

-- name: report_task
UPDATE tasks SET status = 'reported', report = :report
WHERE partition = :partition AND orchestration = :orchestration AND run = :run AND number = :number
  AND token = :token AND status = 'claimed'
RETURNING partition;

-- name: void_task
UPDATE tasks SET status = 'reported', report = :report
WHERE partition = :partition AND orchestration = :orchestration AND run = :run AND number = :number
  AND token = :token AND status = 'claimed' AND lease_until <= :at
RETURNING partition;

-- name: give_back_task
UPDATE tasks SET status = 'waiting', token = NULL, worker = NULL, claimed_at = NULL, lease_until = NULL, deadline = NULL
WHERE partition = :partition AND orchestration = :orchestration AND run = :run AND number = :number
  AND token = :token AND status = 'claimed';

-- name: discard_task
UPDATE tasks SET status = 'ended', ended_at = :at
WHERE partition = :partition AND orchestration = :orchestration AND run = :run AND number = :number
  AND status <> 'ended';

-- name: overdue_tasks
SELECT lease_until, partition, orchestration, run, number, function, status, token, worker, deadline, report
FROM tasks
WHERE partition = :partition AND status = 'claimed' AND lease_until <= :at
ORDER BY lease_until
LIMIT :limit;

-- name: reported_tasks
SELECT partition, orchestration, run, number, function, status, token, worker, deadline, report
FROM tasks
WHERE partition = :partition AND status = 'reported'
ORDER BY orchestration, run, number
LIMIT :limit;

-- name: open_functions
SELECT DISTINCT function FROM tasks
WHERE partition = :partition AND status IN ('waiting', 'claimed')
ORDER BY function;

-- name: open_tasks_of
SELECT partition, orchestration, run, number, function, status, token, worker, deadline, report
FROM tasks
WHERE partition = :partition AND function = :function AND status IN ('waiting', 'claimed')
LIMIT :limit;

-- name: expire_tasks
DELETE FROM tasks
WHERE partition = :partition AND status = 'ended' AND ended_at < :before
RETURNING partition;

-- name: task_loads
SELECT function, CASE WHEN status = 'waiting' AND held <> 0 THEN 'held' ELSE status END, coalesce(worker, ''), count(*)
FROM tasks
WHERE partition IN (SELECT p.partition FROM partitions AS p) AND status IN ('waiting', 'claimed')
GROUP BY 1, 2, 3
ORDER BY function;

-- name: claimed_of_function
SELECT count(*) FROM tasks
WHERE partition IN (SELECT p.partition FROM partitions AS p) AND function = :function AND status = 'claimed';

-- name: function_controls
SELECT function, paused, draining, max_concurrent, max_per_second, asked_at, last_claimed_at
FROM functions
ORDER BY function;

-- Whoever is about to hand out work of a limited function waits for those who are just doing so.
-- name: hold_function
UPDATE functions SET holders = holders + 1
WHERE function = :function
RETURNING paused, draining, max_concurrent, max_per_second, allowance, allowance_at;

-- name: spend_allowance
UPDATE functions SET allowance = :allowance, allowance_at = :at WHERE function = :function;

-- name: control_function
INSERT INTO functions (function, paused, draining)
VALUES (:function, coalesce(:paused, false), coalesce(:draining, false))
ON CONFLICT (function) DO UPDATE
SET paused = coalesce(:paused, functions.paused),
    draining = coalesce(:draining, functions.draining);

-- name: limit_function
INSERT INTO functions (function, max_concurrent, max_per_second)
VALUES (:function, :max_concurrent, :max_per_second)
ON CONFLICT (function) DO UPDATE
SET max_concurrent = excluded.max_concurrent, max_per_second = excluded.max_per_second;

-- name: note_function
INSERT INTO functions (function, asked_at, last_claimed_at)
VALUES (:function, :at, CASE WHEN :claimed THEN :at END)
ON CONFLICT (function) DO UPDATE
SET asked_at = excluded.asked_at, last_claimed_at = coalesce(excluded.last_claimed_at, functions.last_claimed_at);

-- == Schedules =========================================================================================================

-- name: put_schedule
INSERT INTO schedules (partition, namespace, name, revision, course)
VALUES (:partition, :namespace, :name, 1, :course)
ON CONFLICT DO NOTHING
RETURNING revision;

-- name: change_schedule
UPDATE schedules SET course = :course, revision = revision + 1
WHERE partition = :partition AND namespace = :namespace AND name = :name AND revision = :revision
RETURNING revision;

-- name: schedule
SELECT namespace, name, revision, course FROM schedules
WHERE partition = :partition AND namespace = :namespace AND name = :name;

-- name: schedules
SELECT namespace, name, revision, course FROM schedules WHERE partition = :partition ORDER BY namespace, name;

-- Tasks for people ------------------------------------------------------------------------------------------------------

-- name: drop_human_task
DELETE FROM human_tasks WHERE partition = ? AND orchestration = ? AND number = ?;

-- name: put_human_task
INSERT INTO human_tasks (partition, orchestration, number, public_id, namespace, name, status, assignee, rank, due_at,
                         created_at, content)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (partition, orchestration, number) DO UPDATE
SET status = excluded.status, assignee = excluded.assignee, rank = excluded.rank, due_at = excluded.due_at,
    created_at = excluded.created_at, content = excluded.content;

-- name: drop_human_candidates
DELETE FROM human_candidates WHERE partition = ? AND orchestration = ? AND number = ?;

-- name: put_human_candidate
INSERT INTO human_candidates (partition, orchestration, number, person, rank, created_at, public_id)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: human_tasks
SELECT partition, public_id, number, status, assignee, rank, due_at, created_at, content
FROM human_tasks AS h
WHERE partition = :partition /* where */
ORDER BY rank, created_at, public_id, number
LIMIT :limit;

-- name: human_tasks_for
SELECT h.partition, h.public_id, h.number, h.status, h.assignee, h.rank, h.due_at, h.created_at, h.content
FROM human_candidates AS k
JOIN human_tasks AS h ON h.partition = k.partition AND h.orchestration = k.orchestration AND h.number = k.number
WHERE k.partition = :partition AND k.person = :person /* where */
ORDER BY k.rank, k.created_at, k.public_id, k.number
LIMIT :limit;

-- name: human_assignee
h.assignee = :assignee

-- name: human_status
h.status = :status

-- name: human_namespace
h.namespace = :namespace

-- name: human_name
h.name = :name

-- name: human_orchestration
h.public_id = :public_id

-- name: human_overdue
h.due_at <= :overdue

-- name: human_not_overdue
(h.due_at IS NULL OR h.due_at > :overdue)

-- name: human_page
(h.rank, h.created_at, h.public_id, h.number) > (:last_rank, :last_created_at, :last_public_id, :last_number)

-- name: human_page_for
(k.rank, k.created_at, k.public_id, k.number) > (:last_rank, :last_created_at, :last_public_id, :last_number)

-- == Blobs =============================================================================================================

-- With the events that refer to them.
-- name: put_blob
INSERT INTO blobs (partition, orchestration, digest, media_type, size, content)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (partition, orchestration, digest) DO UPDATE
SET loose_since = NULL, content = coalesce(blobs.content, excluded.content)
WHERE blobs.loose_since IS NOT NULL OR blobs.content IS NULL;

-- name: put_loose_blob
INSERT INTO blobs AS known (partition, orchestration, digest, media_type, size, loose_since, content)
VALUES (:partition, :orchestration, :digest, :media_type, :size, :at, :content)
ON CONFLICT (partition, orchestration, digest) DO UPDATE
SET loose_since = CASE WHEN known.loose_since IS NOT NULL THEN excluded.loose_since END,
    content = coalesce(known.content, excluded.content)
WHERE known.loose_since IS NOT NULL OR known.content IS NULL;

-- name: blob
SELECT media_type, size, content FROM blobs
WHERE partition = :partition AND orchestration = :orchestration AND digest = :digest;

-- name: blob_holders
SELECT orchestration FROM blobs
WHERE partition = :partition AND digest = :digest
ORDER BY orchestration
LIMIT :limit;

-- name: blobs
SELECT orchestration, digest, size FROM blobs
WHERE partition = :partition /* where */
ORDER BY orchestration, digest
LIMIT :limit;

-- name: blobs_after
(orchestration, digest) > (:after_orchestration, :after_digest)

-- name: loose_blobs
SELECT orchestration, digest FROM blobs
WHERE partition = :partition AND loose_since < :before
ORDER BY loose_since
LIMIT :limit;

-- name: keep_blob
UPDATE blobs SET loose_since = NULL WHERE partition = ? AND orchestration = ? AND digest = ?;

-- name: drop_blob
DELETE FROM blobs WHERE partition = ? AND orchestration = ? AND digest = ?;

-- name: drop_loose_blob
DELETE FROM blobs
WHERE partition = :partition AND orchestration = :orchestration AND digest = :digest
  AND loose_since < :before
RETURNING digest;

-- == Followers of the log ==============================================================================================

-- name: put_follower
INSERT INTO followers (partition, name, position)
VALUES (:partition, :name, :position)
ON CONFLICT DO NOTHING
RETURNING position;

-- name: follower
SELECT position FROM followers WHERE partition = :partition AND name = :name;

-- name: move_follower
UPDATE followers SET position = :until
WHERE partition = :partition AND name = :name AND position = :after
RETURNING position;
