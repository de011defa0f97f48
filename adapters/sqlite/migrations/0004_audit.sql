-- Long-running operations, and signed checkpoints of the log.

-- Few rows, which every node reads; one node works on each, and shows by alive_until that it still does.
CREATE TABLE operations (
    operation        TEXT    NOT NULL PRIMARY KEY,
    kind             TEXT    NOT NULL,
    actor            TEXT    NOT NULL,
    request          BLOB    NOT NULL,
    node             TEXT    NOT NULL,
    status           TEXT    NOT NULL CHECK (status IN ('running', 'completed', 'failed', 'cancelled')),
    done             INTEGER NOT NULL CHECK (done >= 0),
    total            INTEGER,
    result           BLOB,
    error            BLOB,
    cancel_requested INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),
    started_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    ended_at         INTEGER,
    alive_until      INTEGER NOT NULL
) STRICT;
CREATE INDEX operations_newest ON operations (started_at DESC, operation);

-- The head of a partition as it was, signed by a key that is not in the database.
CREATE TABLE checkpoints (
    partition INTEGER NOT NULL,
    position  INTEGER NOT NULL CHECK (position > 0),
    log_hash  BLOB    NOT NULL CHECK (length(log_hash) = 32),
    made_at   INTEGER NOT NULL,
    key_id    TEXT    NOT NULL,
    signature BLOB    NOT NULL,
    PRIMARY KEY (partition, position)
) STRICT, WITHOUT ROWID;
