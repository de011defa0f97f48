-- Who follows the log beyond it, and up to which position of a partition that is done. Moved by compare-and-set.

CREATE TABLE followers (
    partition INTEGER NOT NULL CHECK (partition >= 0),
    name      TEXT    NOT NULL,
    position  INTEGER NOT NULL CHECK (position >= 0),
    PRIMARY KEY (partition, name)
) STRICT;
