-- Long histories open from snapshots; what has ended long ago keeps its place in the chain and gives up its bytes.

-- A cache, written rarely and read whole. Rows this large are better off in a table with row ids.
CREATE TABLE snapshots (
    partition     INTEGER NOT NULL,
    orchestration BLOB    NOT NULL CHECK (length(orchestration) = 16),
    version       INTEGER NOT NULL CHECK (version > 0),
    format        TEXT    NOT NULL,
    event_hash    BLOB    NOT NULL CHECK (length(event_hash) = 32),
    state         BLOB    NOT NULL,
    PRIMARY KEY (partition, orchestration)
) STRICT;

CREATE TABLE archive (
    partition     INTEGER NOT NULL,
    orchestration BLOB    NOT NULL CHECK (length(orchestration) = 16),
    public_id     TEXT    NOT NULL,
    definition    TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    started_at    INTEGER NOT NULL,
    ended_at      INTEGER NOT NULL,
    events        INTEGER NOT NULL CHECK (events > 0),
    archived_at   INTEGER NOT NULL,
    content       BLOB    NOT NULL,
    PRIMARY KEY (partition, orchestration)
) STRICT;

-- An archived event: its state is empty, and this is the hash of what it was.
ALTER TABLE events ADD COLUMN state_hash BLOB
    CHECK (state_hash IS NULL OR (length(state_hash) = 32 AND length(state) = 0));
