-- Users' projections: which tables there are, and why one stopped where it is. The tables themselves are made when they begin.

CREATE TABLE projections (
    name       TEXT    NOT NULL,
    version    INTEGER NOT NULL CHECK (version > 0),
    number     INTEGER NOT NULL CHECK (number > 0),
    shape      TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('building', 'live', 'retired')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (name, version, number)
) STRICT;

ALTER TABLE tracking ADD COLUMN failure TEXT;
