-- The schema on SQLite. A UUID is a BLOB of 16 bytes, an instant an INTEGER of microseconds since 1970-01-01 UTC.
-- The partition leads every key and index, as on PostgreSQL; CHECKs repeat invariants of the domain where they are cheap.

CREATE TABLE settings (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    salt       BLOB    NOT NULL CHECK (length(salt) = 32),
    partitions INTEGER NOT NULL CHECK (partitions BETWEEN 1 AND 1024)
) STRICT;

-- The fence: who may write (epoch) and after which position.
CREATE TABLE partitions (
    partition     INTEGER PRIMARY KEY CHECK (partition >= 0),
    epoch         INTEGER NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    owner         TEXT,
    lease_until   INTEGER,
    head_position INTEGER NOT NULL DEFAULT 0 CHECK (head_position >= 0),
    head_hash     BLOB    NOT NULL CHECK (length(head_hash) = 32)
) STRICT;

CREATE TABLE events (
    partition     INTEGER NOT NULL,
    position      INTEGER NOT NULL CHECK (position > 0),
    orchestration BLOB    NOT NULL CHECK (length(orchestration) = 16),
    version       INTEGER NOT NULL CHECK (version > 0),
    topic         TEXT    NOT NULL CHECK (topic <> ''),
    state         BLOB    NOT NULL,
    event_hash    BLOB    NOT NULL CHECK (length(event_hash) = 32),
    log_hash      BLOB    NOT NULL CHECK (length(log_hash) = 32),
    PRIMARY KEY (partition, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX events_stream ON events (partition, orchestration, version);

-- Work: changes in the transaction of the events that cause it.
CREATE TABLE agenda (
    partition     INTEGER NOT NULL,
    orchestration BLOB    NOT NULL CHECK (length(orchestration) = 16),
    in_flight     INTEGER NOT NULL CHECK (in_flight IN (0, 1)),
    due_at        INTEGER,
    PRIMARY KEY (partition, orchestration)
) STRICT, WITHOUT ROWID;
CREATE INDEX agenda_in_flight ON agenda (partition, orchestration) WHERE in_flight = 1;
CREATE INDEX agenda_due ON agenda (partition, due_at, orchestration) WHERE due_at IS NOT NULL;

CREATE TABLE emitted (
    partition     INTEGER NOT NULL,
    orchestration BLOB    NOT NULL CHECK (length(orchestration) = 16),
    number        INTEGER NOT NULL,
    event         BLOB    NOT NULL,
    PRIMARY KEY (partition, orchestration, number)
) STRICT, WITHOUT ROWID;

-- event_type '': any type.
CREATE TABLE subscriptions (
    partition     INTEGER NOT NULL,
    orchestration BLOB    NOT NULL CHECK (length(orchestration) = 16),
    run           TEXT    NOT NULL,
    slot          INTEGER NOT NULL,
    event_type    TEXT    NOT NULL,
    PRIMARY KEY (partition, orchestration, run, slot)
) STRICT, WITHOUT ROWID;
CREATE INDEX subscriptions_by_type ON subscriptions (partition, event_type, orchestration);

-- Definitions are few and belong to no partition.
CREATE TABLE definitions (
    namespace  TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    revision   INTEGER NOT NULL CHECK (revision > 0),
    digest     TEXT    NOT NULL,
    media_type TEXT    NOT NULL,
    document   BLOB    NOT NULL,
    value      BLOB    NOT NULL,
    resource   TEXT,
    warnings   BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, name, version, revision)
) STRICT;
CREATE INDEX definitions_by_digest ON definitions (digest);

CREATE TABLE resources (
    resource  TEXT NOT NULL PRIMARY KEY,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL
) STRICT;

-- Projections.
CREATE TABLE tracking (
    partition  INTEGER NOT NULL,
    projection TEXT    NOT NULL,
    position   INTEGER NOT NULL CHECK (position >= 0),
    PRIMARY KEY (partition, projection)
) STRICT, WITHOUT ROWID;

CREATE TABLE status (
    partition          INTEGER NOT NULL,
    orchestration      BLOB    NOT NULL CHECK (length(orchestration) = 16),
    public_id          TEXT    NOT NULL,
    namespace          TEXT    NOT NULL,
    name               TEXT    NOT NULL,
    definition_version TEXT    NOT NULL,
    status             TEXT    NOT NULL,
    version            INTEGER NOT NULL CHECK (version > 0),
    business_key       TEXT,
    tags               TEXT    NOT NULL,
    incidents          INTEGER NOT NULL CHECK (incidents >= 0),
    started_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    summary            BLOB    NOT NULL,
    PRIMARY KEY (partition, orchestration)
) STRICT;
CREATE INDEX status_newest ON status (partition, started_at DESC, public_id);
CREATE INDEX status_incidents ON status (partition, started_at DESC, public_id) WHERE incidents > 0;
CREATE INDEX status_by_business_key ON status (partition, business_key) WHERE business_key IS NOT NULL;

CREATE TABLE status_tags (
    partition     INTEGER NOT NULL,
    orchestration BLOB    NOT NULL CHECK (length(orchestration) = 16),
    key           TEXT    NOT NULL,
    value         TEXT    NOT NULL,
    PRIMARY KEY (partition, orchestration, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX status_tags_by_value ON status_tags (partition, key, value, orchestration);

-- Registers; the partition is a hash of the key.
CREATE TABLE requests (
    partition   INTEGER NOT NULL,
    caller      TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    status      INTEGER,
    headers     TEXT    NOT NULL DEFAULT '{}',
    body        BLOB    NOT NULL DEFAULT x'',
    started_at  INTEGER NOT NULL,
    PRIMARY KEY (partition, caller, key)
) STRICT;
CREATE INDEX requests_by_age ON requests (partition, started_at);

CREATE TABLE keys (
    partition  INTEGER NOT NULL,
    definition TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    holder     TEXT    NOT NULL,
    PRIMARY KEY (partition, definition, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE held_events (
    partition   INTEGER NOT NULL,
    source      TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    event_type  TEXT    NOT NULL,
    digest      BLOB    NOT NULL,
    event       BLOB    NOT NULL,
    received_at INTEGER NOT NULL,
    taken       INTEGER NOT NULL CHECK (taken IN (0, 1)),
    looked      INTEGER NOT NULL CHECK (looked IN (0, 1)),
    PRIMARY KEY (partition, source, id)
) STRICT;
CREATE INDEX held_waiting ON held_events (partition, received_at, source, id) WHERE taken = 0;
CREATE INDEX held_waiting_by_type ON held_events (partition, event_type, received_at, source, id) WHERE taken = 0;
CREATE INDEX held_unlooked ON held_events (partition, received_at, source, id) WHERE looked = 0;
CREATE INDEX held_by_age ON held_events (partition, received_at);
