-- Who is there (only ever this process), and commands by id, as on PostgreSQL.

CREATE TABLE nodes (
    node        TEXT    NOT NULL PRIMARY KEY,
    host        TEXT    NOT NULL,
    pid         INTEGER NOT NULL,
    process     TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    started_at  INTEGER NOT NULL,
    eligible    INTEGER NOT NULL CHECK (eligible IN (0, 1)),
    lease_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- kept: the id comes from a client's key, and a repeat has to find the reply for a long time.
CREATE TABLE inbox (
    partition  INTEGER NOT NULL,
    command_id TEXT    NOT NULL,
    body       BLOB    NOT NULL,
    reply      BLOB,
    kept       INTEGER NOT NULL CHECK (kept IN (0, 1)),
    arrived_at INTEGER NOT NULL,
    PRIMARY KEY (partition, command_id)
) STRICT;
CREATE INDEX inbox_pending ON inbox (partition, arrived_at, command_id) WHERE reply IS NULL;
CREATE INDEX inbox_by_age ON inbox (partition, kept, arrived_at) WHERE reply IS NOT NULL;

-- Who wants a business key whose holder never began.
ALTER TABLE keys ADD COLUMN contender TEXT;
