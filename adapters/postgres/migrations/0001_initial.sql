-- The schema on PostgreSQL. The partition leads every key and index of the log and its work, so that the tables can be
-- distributed by it; CHECKs repeat invariants of the domain where they are cheap. Text that is ordered has the collation
-- "C", so that every database lists in the same order. Tables whose rows change often leave room on their pages.

CREATE TABLE settings (
    id         smallint PRIMARY KEY CHECK (id = 1),
    salt       bytea    NOT NULL CHECK (octet_length(salt) = 32),
    partitions smallint NOT NULL CHECK (partitions BETWEEN 1 AND 1024)
);

-- The fence: who may write (epoch) and after which position.
CREATE TABLE partitions (
    partition     smallint    PRIMARY KEY CHECK (partition >= 0),
    epoch         bigint      NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    owner         text,
    lease_until   timestamptz,
    head_position bigint      NOT NULL DEFAULT 0 CHECK (head_position >= 0),
    head_hash     bytea       NOT NULL CHECK (octet_length(head_hash) = 32)
) WITH (fillfactor = 50);

CREATE TABLE events (
    partition     smallint NOT NULL,
    position      bigint   NOT NULL CHECK (position > 0),
    orchestration uuid     NOT NULL,
    version       integer  NOT NULL CHECK (version > 0),
    topic         text     NOT NULL CHECK (topic <> ''),
    state         bytea    NOT NULL,
    event_hash    bytea    NOT NULL CHECK (octet_length(event_hash) = 32),
    log_hash      bytea    NOT NULL CHECK (octet_length(log_hash) = 32),
    PRIMARY KEY (partition, position)
);
CREATE UNIQUE INDEX events_stream ON events (partition, orchestration, version);

-- Work: changes in the transaction of the events that cause it.
CREATE TABLE agenda (
    partition     smallint    NOT NULL,
    orchestration uuid        NOT NULL,
    in_flight     boolean     NOT NULL,
    due_at        timestamptz,
    PRIMARY KEY (partition, orchestration)
) WITH (fillfactor = 80);
CREATE INDEX agenda_in_flight ON agenda (partition, orchestration) WHERE in_flight;
CREATE INDEX agenda_due ON agenda (partition, due_at, orchestration) WHERE due_at IS NOT NULL;

CREATE TABLE emitted (
    partition     smallint NOT NULL,
    orchestration uuid     NOT NULL,
    number        integer  NOT NULL,
    event         bytea    NOT NULL,
    PRIMARY KEY (partition, orchestration, number)
);

-- event_type '': any type.
CREATE TABLE subscriptions (
    partition     smallint NOT NULL,
    orchestration uuid     NOT NULL,
    run           text     NOT NULL,
    slot          integer  NOT NULL,
    event_type    text     NOT NULL,
    PRIMARY KEY (partition, orchestration, run, slot)
);
CREATE INDEX subscriptions_by_type ON subscriptions (partition, event_type, orchestration);

-- Definitions are few and belong to no partition.
CREATE TABLE definitions (
    namespace  text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    version    text COLLATE "C" NOT NULL,
    revision   integer          NOT NULL CHECK (revision > 0),
    digest     text             NOT NULL,
    media_type text             NOT NULL,
    document   bytea            NOT NULL,
    value      bytea            NOT NULL,
    resource   text,
    warnings   bytea            NOT NULL,
    created_at timestamptz      NOT NULL,
    PRIMARY KEY (namespace, name, version, revision)
);
CREATE INDEX definitions_by_digest ON definitions (digest);

CREATE TABLE resources (
    resource  text             NOT NULL PRIMARY KEY,
    namespace text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL
);

-- Projections.
CREATE TABLE tracking (
    partition  smallint NOT NULL,
    projection text     NOT NULL,
    position   bigint   NOT NULL CHECK (position >= 0),
    PRIMARY KEY (partition, projection)
) WITH (fillfactor = 50);

CREATE TABLE status (
    partition          smallint         NOT NULL,
    orchestration      uuid             NOT NULL,
    public_id          text COLLATE "C" NOT NULL,
    namespace          text COLLATE "C" NOT NULL,
    name               text COLLATE "C" NOT NULL,
    definition_version text             NOT NULL,
    status             text             NOT NULL,
    version            integer          NOT NULL CHECK (version > 0),
    business_key       text,
    tags               text             NOT NULL,
    incidents          integer          NOT NULL CHECK (incidents >= 0),
    started_at         timestamptz      NOT NULL,
    updated_at         timestamptz      NOT NULL,
    summary            bytea            NOT NULL,
    PRIMARY KEY (partition, orchestration)
) WITH (fillfactor = 80);
CREATE INDEX status_newest ON status (partition, started_at DESC, public_id);
CREATE INDEX status_incidents ON status (partition, started_at DESC, public_id) WHERE incidents > 0;
CREATE INDEX status_by_business_key ON status (partition, business_key) WHERE business_key IS NOT NULL;

CREATE TABLE status_tags (
    partition     smallint NOT NULL,
    orchestration uuid     NOT NULL,
    key           text     NOT NULL,
    value         text     NOT NULL,
    PRIMARY KEY (partition, orchestration, key)
);
CREATE INDEX status_tags_by_value ON status_tags (partition, key, value, orchestration);

-- Registers; the partition is a hash of the key.
CREATE TABLE requests (
    partition   smallint    NOT NULL,
    caller      text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    status      integer,
    headers     text        NOT NULL DEFAULT '{}',
    body        bytea       NOT NULL DEFAULT '',
    started_at  timestamptz NOT NULL,
    PRIMARY KEY (partition, caller, key)
);
CREATE INDEX requests_by_age ON requests (partition, started_at);

CREATE TABLE keys (
    partition  smallint NOT NULL,
    definition text     NOT NULL,
    key        text     NOT NULL,
    holder     text     NOT NULL,
    PRIMARY KEY (partition, definition, key)
);

CREATE TABLE held_events (
    partition   smallint         NOT NULL,
    source      text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    event_type  text             NOT NULL,
    digest      bytea            NOT NULL,
    event       bytea            NOT NULL,
    received_at timestamptz      NOT NULL,
    taken       boolean          NOT NULL,
    looked      boolean          NOT NULL,
    PRIMARY KEY (partition, source, id)
);
CREATE INDEX held_waiting ON held_events (partition, received_at, source, id) WHERE NOT taken;
CREATE INDEX held_waiting_by_type ON held_events (partition, event_type, received_at, source, id) WHERE NOT taken;
CREATE INDEX held_unlooked ON held_events (partition, received_at, source, id) WHERE NOT looked;
CREATE INDEX held_by_age ON held_events (partition, received_at);
