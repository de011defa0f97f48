-- Schedules: how far that of each definition has come (domain/schedule.py), changed by compare-and-set of the revision.

CREATE TABLE schedules (
    partition INTEGER NOT NULL CHECK (partition >= 0),
    namespace TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    revision  INTEGER NOT NULL CHECK (revision > 0),
    course    BLOB    NOT NULL,
    PRIMARY KEY (partition, namespace, name)
) STRICT;
