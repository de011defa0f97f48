-- Who read what: a chain per partition.

CREATE TABLE accesses (
    partition     INTEGER NOT NULL,
    number        INTEGER NOT NULL CHECK (number > 0),
    id            TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    actor         TEXT    NOT NULL,
    what          TEXT    NOT NULL,
    step          TEXT    NOT NULL,
    orchestration TEXT,
    filters       TEXT    NOT NULL,
    request_id    TEXT,
    events        INTEGER,
    previous      BLOB    NOT NULL CHECK (length(previous) = 32),
    hash          BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (partition, number)
) STRICT;
CREATE INDEX accesses_newest ON accesses (partition, at DESC, number DESC);
