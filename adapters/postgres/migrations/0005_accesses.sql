-- Who read what: a chain per partition.

CREATE TABLE accesses (
    partition     smallint    NOT NULL,
    number        bigint      NOT NULL CHECK (number > 0),
    id            text        NOT NULL,
    at            timestamptz NOT NULL,
    actor         text        NOT NULL,
    what          text        NOT NULL,
    step          text        NOT NULL,
    orchestration text,
    filters       text        NOT NULL,
    request_id    text,
    events        bigint,
    previous      bytea       NOT NULL CHECK (octet_length(previous) = 32),
    hash          bytea       NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (partition, number)
);
CREATE INDEX accesses_newest ON accesses (partition, at DESC, number DESC);
