-- Long-running operations, and signed checkpoints of the log.

-- Few rows, which every node reads; one node works on each, and shows by alive_until that it still does.
CREATE TABLE operations (
    operation        text        NOT NULL PRIMARY KEY,
    kind             text        NOT NULL,
    actor            text        NOT NULL,
    request          bytea       NOT NULL,
    node             text        NOT NULL,
    status           text        NOT NULL CHECK (status IN ('running', 'completed', 'failed', 'cancelled')),
    done             bigint      NOT NULL CHECK (done >= 0),
    total            bigint,
    result           bytea,
    error            bytea,
    cancel_requested boolean     NOT NULL,
    started_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    ended_at         timestamptz,
    alive_until      timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX operations_newest ON operations (started_at DESC, operation);

-- The head of a partition as it was, signed by a key that is not in the database.
CREATE TABLE checkpoints (
    partition smallint    NOT NULL,
    position  bigint      NOT NULL CHECK (position > 0),
    log_hash  bytea       NOT NULL CHECK (octet_length(log_hash) = 32),
    made_at   timestamptz NOT NULL,
    key_id    text        NOT NULL,
    signature bytea       NOT NULL,
    PRIMARY KEY (partition, position)
);
