-- Long histories open from snapshots; what has ended long ago keeps its place in the chain and gives up its bytes.

-- A cache, written rarely and read whole: its bytes are packed already, so the server does not try to compress them.
CREATE TABLE snapshots (
    partition     smallint NOT NULL,
    orchestration uuid     NOT NULL,
    version       integer  NOT NULL CHECK (version > 0),
    format        text     NOT NULL,
    event_hash    bytea    NOT NULL CHECK (octet_length(event_hash) = 32),
    state         bytea    NOT NULL,
    PRIMARY KEY (partition, orchestration)
);
ALTER TABLE snapshots ALTER COLUMN state SET STORAGE EXTERNAL;

CREATE TABLE archive (
    partition     smallint    NOT NULL,
    orchestration uuid        NOT NULL,
    public_id     text        NOT NULL,
    definition    text        NOT NULL,
    status        text        NOT NULL,
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz NOT NULL,
    events        integer     NOT NULL CHECK (events > 0),
    archived_at   timestamptz NOT NULL,
    content       bytea       NOT NULL,
    PRIMARY KEY (partition, orchestration)
);
ALTER TABLE archive ALTER COLUMN content SET STORAGE EXTERNAL;

-- An archived event: its state is empty, and this is the hash of what it was. NOT VALID: no table need be read for it.
ALTER TABLE events ADD COLUMN state_hash bytea;
ALTER TABLE events ADD CONSTRAINT events_state_hash
    CHECK (state_hash IS NULL OR (octet_length(state_hash) = 32 AND octet_length(state) = 0)) NOT VALID;
